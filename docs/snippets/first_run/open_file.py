from pathlib import Path

import h5py

folder = sorted(Path("data").glob("*-deformation"))[-1]
with h5py.File(folder / "deformation.nxs") as file:
    entry = file[file.attrs["default"]]
    plot = entry[entry.attrs["default"]]
    print("opens on:", plot["title"][()].decode())
    for name in (plot.attrs["axes"][0], plot.attrs["signal"]):
        print(f"  {name} from {plot[name][0]:.3g} to {plot[name][-1]:.3g}")
    stress = entry["results/differential_stress"]
    print("result:", round(float(stress[()]), 3), stress.attrs["units"])
    print("truth: ", round(float(entry["truth/differential_stress"][()]), 3))
    print("spectra:", entry["streams/diffraction/detector_spectra"].shape)
