"""The centring of the sample from the command line."""

from pathlib import Path

from megabar.acquisition.run import read_run

from .conftest import rehearse


def test_sample_comes_to_the_centre(tmp_path: Path) -> None:
    command = rehearse(tmp_path, "--seed", "4", "--set", "world.misalignment_mm=0.06", experiment="centring")
    assert command.code == 0, command.messages
    run = read_run(Path(command.told["journal"]))
    offsets = run.streams["position"].data
    assert max(abs(offsets["offset_x"][0]), abs(offsets["offset_y"][0])) > 10.0
    assert max(abs(offsets["offset_x"][-1]), abs(offsets["offset_y"][-1])) <= 10.0
