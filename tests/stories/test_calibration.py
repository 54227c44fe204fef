"""The calibration of the detector from the command line."""

from pathlib import Path

import numpy as np

from megabar.acquisition.run import read_run

from .conftest import rehearse


def test_angles_of_all_elements_are_found(tmp_path: Path) -> None:
    command = rehearse(tmp_path, "--seed", "4", experiment="calibration")
    assert command.code == 0, command.messages
    run = read_run(Path(command.told["journal"]))
    found = run.streams["detector_calibration"].data
    true = 6.5 + np.asarray(run.truth["systematics"]["two_theta_error_deg"])
    angles = np.array([found[f"two_theta_{i}"][0] for i in range(1, 11)])
    errors = np.array([found[f"two_theta_{i}_error"][0] for i in range(1, 11)])
    assert np.all(errors < 2e-3)
    assert np.all(np.abs(angles - true) < 5.0 * errors + 1e-3)
