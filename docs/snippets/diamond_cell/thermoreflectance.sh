megabar analyse thermoreflectance "$MEGABAR_DATA"/thermoreflectance/Si_100nmSiO2_2MHz_180423_180256_FIN_NoNaNs.mat \
    --set layers=Al:237:2.42e6:77.34e-9,G:1.29e8,SiO2:1.4:1.86e6:1e-7,Si:124:1.63e6 --set fit=thermal_conductivity_SiO2 \
    --set modulation_hz=2e6 --set repetition_hz=75.8e6 --set pump_radius_um=36 --set probe_radius_um=14.7
