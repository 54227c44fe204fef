megabar analyse deformation "$MEGABAR_DATA"/diffraction-2d/CeO2_Pil207_E30_2Nov2016_001.tif \
    --set calibration="$MEGABAR_DATA"/diffraction-2d/CeO2_cal_Dioptas.poni
