run=$(ls -d data/*-deformation | tail -n 1)
megabar report "$run" --out again.png
megabar export "$run" --out again.nxs
megabar runs
