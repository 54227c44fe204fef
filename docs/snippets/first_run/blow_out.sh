megabar run deformation --simulate --seed 1 --set world.blow_out_at_s=5400
