"""Rules that hold for the whole tree."""

import importlib
import importlib.util
import inspect
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ophyd import Signal

from megabar.acquisition import experiments
from megabar.acquisition.rig import load_class, load_rig, shipped
from megabar.devices.instrument import Instrument, Reading, Setpoint
from megabar.plans.safety import ORDER, Hazardous

from . import fault_matrix

ROOT = Path(__file__).parents[1]
ROOMS = ("acquisition", "analysis", "devices", "plans", "simulators")


def modules_of(room: str) -> list[str]:
    package = importlib.import_module(f"megabar.{room}")
    return [found.name for found in pkgutil.walk_packages(package.__path__, f"megabar.{room}.")]


def device_classes() -> list[type[Instrument]]:
    for name in modules_of("devices"):
        importlib.import_module(name)
    found: list[type[Instrument]] = []
    todo = [Instrument]
    while todo:
        for cls in todo.pop().__subclasses__():
            todo.append(cls)
            if cls.__module__.startswith("megabar.devices."):
                found.append(cls)
    return [cls for cls in found if cls.component_names]


@pytest.mark.parametrize("room", ROOMS)
def test_room_cannot_be_imported_under_its_bare_name(room: str) -> None:
    assert importlib.util.find_spec(room) is None


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_has_a_docstring(room: str) -> None:
    for name in modules_of(room):
        assert importlib.import_module(name).__doc__, name


def test_wheel_holds_every_module_and_they_import_from_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w"]
    subprocess.run([*command, str(tmp_path), str(ROOT)], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    names = [name for room in ROOMS for name in modules_of(room)]
    code = f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)"
    code += "\nimport megabar.acquisition as a; print(a.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
    assert (tmp_path / "installed/megabar/acquisition/rigs/d111.toml").exists()


def test_every_numeric_signal_has_a_unit_and_every_setpoint_limits() -> None:
    rig = load_rig("d111")
    assert device_classes()
    for cls in device_classes():
        for walk in cls.walk_components():
            component = walk.item
            if issubclass(component.cls, Reading):
                default = inspect.signature(component.cls).parameters.get("unit")
                given = component.kwargs.get("unit", default.default if default is not None else None)
                assert isinstance(given, str), f"{cls.__name__}.{walk.dotted_name}"
            if issubclass(component.cls, Setpoint):
                low, high = component.kwargs["limits"]
                assert low < high, f"{cls.__name__}.{walk.dotted_name}"
            assert issubclass(component.cls, Signal) or component.cls.__doc__
    assert rig.content.instruments


@pytest.mark.parametrize("name", shipped())
def test_every_instrument_of_a_shipped_rig_has_its_twin(name: str) -> None:
    for instrument, entry in load_rig(name).content.instruments.items():
        assert load_class(entry.device, instrument).__doc__
        assert entry.simulated is not None
        assert load_class(entry.simulated, instrument).__name__.startswith("Simulated")


def test_every_hazardous_device_declares_its_safe_state() -> None:
    hazardous = [cls for cls in device_classes() if cls.hazard]
    assert hazardous
    for cls in hazardous:
        assert cls.hazard in ORDER
        assert cls.safe_state is not Instrument.safe_state, cls.__name__
    assert {"thermal", "pressure", "radiation"} <= {cls.hazard for cls in hazardous}
    assert isinstance(Hazardous, type)


def test_the_guard_imports_the_standard_library_alone() -> None:
    told = "import sys, megabar.acquisition.guard.keeper; print('\\n'.join(sys.modules))"
    before = "import sys, megabar.acquisition; print('\\n'.join(sys.modules))"
    with_guard, without = (
        set(
            subprocess.run(
                [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
            ).stdout.split()
        )
        for code in (told, before)
    )
    new = {name for name in with_guard - without if not name.startswith("megabar.acquisition.guard")}
    assert {name.partition(".")[0] for name in new} <= sys.stdlib_module_names


@pytest.mark.parametrize("name", experiments.names())
def test_every_experiment_has_a_story_and_a_rig_that_fills_its_roles(name: str) -> None:
    experiment = experiments.find(name)
    rig = load_rig(experiment.rig)
    for role in experiment.role_names:
        rig.instrument_for(role)
    assert (ROOT / "tests/stories" / f"test_{name}.py").exists()


def test_every_row_of_the_fault_matrix_is_shown_by_a_test_and_has_its_control() -> None:
    """Or says where its tests are, or why it cannot be shown here."""
    table, marked = fault_matrix.rows(), list(fault_matrix.marks())
    assert sorted(table) == list(range(1, 39))
    assert {mark.row for mark in marked} <= table.keys()
    for number, row in table.items():
        ours = [mark for mark in marked if mark.row == number]
        controls = [mark.control for mark in ours if mark.control]
        assert controls or not ours, f"row {number} has no control"
        assert ours or row.not_here, f"row {number} is shown by no test"
        for control in controls:
            file, _, test = control.partition("::")
            assert f"\ndef {test}(" in (fault_matrix.TESTS / file).read_text(encoding="utf-8"), control


def test_the_page_of_the_fault_matrix_has_every_row() -> None:
    page = (ROOT / "docs/explanations/fault-matrix.md").read_text(encoding="utf-8")
    for number, row in fault_matrix.rows().items():
        assert f"\n| {number} | {row.fault} | " in page, f"run make faults: row {number} is another"
    assert fault_matrix.FAILED not in page, "mend what has failed, then run make faults on a machine that is idle"
