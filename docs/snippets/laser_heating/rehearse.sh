megabar run laser_heating --simulate --seed 1 --set pressure_gpa=50 --set temperature_k=2500
