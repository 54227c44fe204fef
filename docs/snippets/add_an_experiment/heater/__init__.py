"""An experiment in a package of its own: how hot a furnace gets for its output."""
