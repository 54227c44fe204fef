megabar run heater_curve --simulate --seed 3
