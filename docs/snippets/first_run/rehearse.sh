megabar run deformation --simulate --seed 1 --set strain=0.06
