"""Many seeds: the results' pulls have mean 0 and width 1, and the strain rate is always held."""

import concurrent.futures
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from .conftest import pulls, rehearse
from .test_deformation import worst_strain_rate

SEEDS = range(int(os.environ.get("MEGABAR_FIRST_SEED", "1000")), int(os.environ.get("MEGABAR_FIRST_SEED", "1000")) + 40)
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
NAMES = ("pressure", "temperature", "strain", "strain_rate", "differential_stress")


def one(folder: Path, seed: int) -> dict[str, Any]:
    if CORES:
        os.sched_setaffinity(0, {CORES[seed % len(CORES)]})  # of this thread: runs at once would meet on one core
    command = rehearse(folder, "--seed", str(seed))
    told = command.told if command.output else {"reason": command.messages}
    if command.code != 0 and not told["reason"].startswith("blow-out"):  # which a world may have, while unloading
        return {"seed": seed, "failed": told["reason"]}
    held = worst_strain_rate(Path(told["journal"]), 1e-5)
    shutil.rmtree(told["journal"])
    return {"seed": seed, "pulls": pulls(told), "held": held}


@pytest.mark.soak
def test_pulls_of_forty_runs(tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(tqdm(pool.map(lambda seed: one(tmp_path, seed), SEEDS), total=len(SEEDS)))
    assert not [run for run in runs if "failed" in run]
    table = np.array([[run["pulls"][name] for name in NAMES] for run in runs])
    for name, column in zip(NAMES, table.T, strict=True):
        print(f"{name:20} mean {column.mean():+.2f} width {column.std(ddof=1):.2f} largest {np.abs(column).max():.2f}")
    print(f"strain rate: largest deviation over 1,800 s {max(run['held'] for run in runs):.1%}")
    assert np.all(np.abs(table) < 3.0)
    assert np.all(np.abs(table.mean(axis=0)) < 0.5)
    assert np.all((table.std(axis=0, ddof=1) > 0.7) & (table.std(axis=0, ddof=1) < 1.35))
    assert max(run["held"] for run in runs) < 0.10


def dose_of(folder: Path, seed: int) -> dict[str, Any]:
    if CORES:
        os.sched_setaffinity(0, {CORES[seed % len(CORES)]})
    command = rehearse(folder, "--seed", str(seed), experiment="irradiation")
    assert command.code == 0, command.messages
    shutil.rmtree(command.told["journal"])
    return pulls(command.told)


@pytest.mark.soak
def test_pulls_of_forty_irradiations(tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(tqdm(pool.map(lambda seed: dose_of(tmp_path, seed), SEEDS), total=len(SEEDS)))
    for name in ("power", "energy"):
        column = np.array([run[name] for run in runs])
        print(f"{name:20} mean {column.mean():+.2f} width {column.std(ddof=1):.2f} largest {np.abs(column).max():.2f}")
        assert np.all(np.abs(column) < 3.0)
        assert abs(column.mean()) < 0.5
        assert 0.7 < column.std(ddof=1) < 1.35
