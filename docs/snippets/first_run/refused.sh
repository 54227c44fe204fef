megabar run deformation --simulate --set temperature_c=500
megabar run deformation --simulate --set load_mn=9.8
