from pathlib import Path

from megabar.acquisition.run import read_run

folder = sorted(Path("data").glob("*-deformation"))[-1]
run = read_run(folder)
print(run.uid, run.exit_status, run.start["parameters"]["load_mn"])
patterns = run.streams["patterns"]
value, unit = patterns.data["differential_stress"][-1], patterns.units["differential_stress"]
print(f"{len(patterns)} patterns, stress of the last one {value:.3f} {unit}")
print("first radiograph:", run.streams["radiograph"].data["camera_image"][0].shape)
