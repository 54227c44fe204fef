"""A diamond anvil cell heated by lasers from both sides: `world.LaserHeatedCell` has a part for each instrument."""
