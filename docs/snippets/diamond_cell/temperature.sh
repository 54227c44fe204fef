megabar analyse laser_heating "$MEGABAR_DATA"/pyrometry/test_measurement.spe --set rows=152-163 --set range_nm=666-836 \
    --set calibration="$MEGABAR_DATA"/pyrometry/ds_calibration.spe --set lamp="$MEGABAR_DATA"/pyrometry/15A_lamp.txt
