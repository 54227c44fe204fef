"""Cells under load and heat that several tests start from."""

from collections.abc import Callable

import pytest

from megabar.simulators.worlds.d111.world import D111

START_S = 4000.0


@pytest.fixture
def hot_cell() -> Callable[..., D111]:
    """A maker of cells that are at 25 GPa and 800 K from 4000 s on, shutter open, slits as given."""

    def make(seed: int = 1, slits_mm: float = 0.2, **parameters: object) -> D111:
        world = D111(seed, slit_gap_mm=slits_mm, shutter_open_at_start=True, **parameters)
        world.ramp_load(0.0, 7.0, 10.0)
        world.set_furnace(2600.0, 526.85, 100.0)
        return world

    return make
