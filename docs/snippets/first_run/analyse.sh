megabar analyse deformation "$MEGABAR_DATA"/diffraction-ed/COSI_022_0019.med
megabar analyse deformation "$MEGABAR_DATA"/diffraction-ed/COSI_022_00*.med --json > history.json
