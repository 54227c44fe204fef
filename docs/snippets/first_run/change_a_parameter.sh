megabar list deformation
megabar check d111 deformation --simulate --set temperature_k=650 --set strain=0.06
