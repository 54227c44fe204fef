"""Every command and script of the tutorial and the guides is run, as the reader would run it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest

from megabar.acquisition.commands.main import main
from megabar.acquisition.rig import load_rig
from megabar.acquisition.run import read_run
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation

ROOT = Path(__file__).parents[2]
SNIPPETS = ROOT / "docs" / "snippets"
SCRIPTS = Path(sys.executable).parent

READERS = ("first_run/open_file.py", "journal/read_journal.py")
CLIENTS = {
    "other_clients/meter_with_pyvisa.py": "pyvisa",
    "other_clients/press_with_caproto.py": "caproto",
    "other_clients/meter_with_pymeasure.py": "pymeasure",
    "other_clients/furnace_with_minimalmodbus.py": "minimalmodbus",
}
OTHERS = (
    "first_run/rehearse.sh",
    "first_run/look_again.sh",
    "first_run/change_a_parameter.sh",
    "first_run/refused.sh",
    "first_run/blow_out.sh",
    "first_run/analyse.sh",
    "first_run/analyse_image.sh",
    "first_run/stress_history.py",
    "diamond_cell/temperature.sh",
    "diamond_cell/pressure.sh",
    "diamond_cell/thermoreflectance.sh",
    "laser_heating/rehearse.sh",
    "rig_files/check.sh",
    "other_clients/serve.sh",
    "add_an_experiment/run.sh",
)


def execute(snippet: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a snippet in a folder, with the `megabar` of this environment."""
    file = SNIPPETS / snippet
    command = ["bash", "-e", str(file)] if file.suffix == ".sh" else [sys.executable, "-P", str(file)]
    return run(command, folder, **environment)


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the reader's environment."""
    return subprocess.run(command, cwd=folder, env=reader(**environment), capture_output=True, text=True, timeout=300)


def reader(**environment: str) -> dict[str, str]:
    """Environment variables: an activated environment, a wide terminal, nothing of the test runner's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "COV"))}
    return {**kept, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "160", **environment}


def test_every_snippet_is_run_here() -> None:
    scripts = {str(path.relative_to(SNIPPETS)) for suffix in ("sh", "py") for path in SNIPPETS.rglob(f"*.{suffix}")}
    modules = {name for name in scripts if name.startswith("add_") and name.endswith(".py")}
    assert scripts - modules == {*READERS, *CLIENTS, *OTHERS}


def test_pages_include_their_commands_and_scripts_from_files() -> None:
    by_hand = {"make demo", ". .venv/bin/activate"}
    fence = re.compile(
        r"^```(?:\{code-block\} *)?(?:sh|bash|console|python)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE
    )
    for page in [page for folder in ("tutorials", "how-to", "ja") for page in (ROOT / "docs" / folder).glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        assert {block.strip() for block in fence.findall(text)} <= by_hand, page
        for name in re.findall(r"\{literalinclude\} (\S+)", text):
            assert (page.parent / name).is_file(), f"{page}: {name}"


def test_parameters_are_listed_and_checked_without_a_run(tmp_path: Path) -> None:
    done = execute("first_run/change_a_parameter.sh", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "strain_rate_per_s" in done.stdout
    assert "within limits" in done.stdout
    assert not list(tmp_path.rglob("run.journal"))


def test_what_cannot_be_done_is_refused_in_one_line(tmp_path: Path) -> None:
    done = run(["bash", str(SNIPPETS / "first_run/refused.sh")], tmp_path)  # goes on after the first refusal
    lines = [line for line in done.stderr.splitlines() if line.startswith("megabar: ")]
    assert done.returncode == 2
    assert "did you mean temperature_k?" in lines[0]
    assert "accepted are 0..9.5 MN" in lines[1]


def test_a_blow_out_ends_as_the_tutorial_says(tmp_path: Path) -> None:
    done = execute("first_run/blow_out.sh", tmp_path)
    assert done.returncode == 1
    steps = [line for line in done.stdout.splitlines() if "CONFIRMED" in line]
    assert [line.split()[1].rstrip(":") for line in steps] == ["furnace", "press", "shutter"]
    assert len(list((tmp_path / "data").glob("*/deformation.nxs"))) == 1


def test_a_sample_is_heated_as_the_guide_says(tmp_path: Path) -> None:
    done = execute("laser_heating/rehearse.sh", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cold_pressure" in done.stdout
    assert len(list((tmp_path / "data").glob("*/laser_heating.nxs"))) == 1


def test_measured_files_become_a_stress_history(tmp_path: Path, data: Path) -> None:
    assert execute("first_run/analyse.sh", tmp_path, MEGABAR_DATA=str(data)).returncode == 0
    done = execute("first_run/stress_history.py", tmp_path)
    stresses = [float(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(stresses) == 13
    assert 0.0 < stresses[-1] < stresses[0]


@pytest.mark.parametrize(
    ("what", "result", "low", "high"),
    [
        ("temperature", "temperature", 1046.5, 1047.5),
        ("pressure", "wavelength", 694.315, 694.325),
        ("thermoreflectance", "thermal_conductivity_SiO2", 0.936, 1.144),
    ],
)
def test_measured_files_of_a_diamond_cell_give_what_is_known(
    tmp_path: Path, data: Path, what: str, result: str, low: float, high: float
) -> None:
    done = execute(f"diamond_cell/{what}.sh", tmp_path, MEGABAR_DATA=str(data))
    assert done.returncode == 0, done.stderr
    (value,) = re.findall(rf" {result} +\S +(\S+)", done.stdout)
    assert low <= float(value) <= high


def test_a_measured_image_gives_the_lattice_parameter_of_its_standard(tmp_path: Path, data: Path) -> None:
    pytest.importorskip("pyFAI", reason="the extra images is not installed")
    done = execute("first_run/analyse_image.sh", tmp_path, MEGABAR_DATA=str(data))
    assert done.returncode == 0, done.stderr
    (value,) = re.findall(r"lattice_parameter +\S +(\S+)", done.stdout)[:1]
    assert abs(float(value) / 5.4115 - 1.0) < 2e-4
    assert "flipped" in done.stderr


def test_rig_files_are_checked(tmp_path: Path) -> None:
    shutil.copy(SNIPPETS / "rig_files/bench.toml", tmp_path)
    done = execute("rig_files/check.sh", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "answers as Eurotherm3504" in done.stdout


def test_a_misspelt_key_is_told_as_the_guide_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(SNIPPETS / "rig_files")
    with pytest.raises(SystemExit, match="2"):
        main(["check", "misspelt.toml", "--simulate"])
    assert capsys.readouterr().err == (SNIPPETS / "rig_files/misspelt.txt").read_text(encoding="utf-8")


def test_a_rig_with_faults_can_be_simulated() -> None:
    faulty = load_rig(str(SNIPPETS / "rig_files/faults.toml"))
    with Simulation(faulty, seed=1) as simulation, Session(faulty, simulation=simulation) as session:
        meter = session.devices["thermocouple"]
        meter.link.call(meter.acquire)
        assert abs(meter.emf.get()) < 1e-3


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which a rig is being served."""
    folder = tmp_path_factory.mktemp("serving")
    server = subprocess.Popen(
        ["bash", str(SNIPPETS / "other_clients/serve.sh")], cwd=folder, env=reader(), start_new_session=True
    )
    addresses = folder / "addresses.json"
    deadline = time.monotonic() + 60.0
    while not (addresses.exists() and addresses.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "thermocouple" in json.loads(addresses.read_text())["addresses"]
    yield folder
    os.killpg(server.pid, signal.SIGINT)
    server.wait(20)


@pytest.mark.parametrize("snippet", CLIENTS)
def test_other_clients_read_the_simulated_instruments(serving: Path, snippet: str) -> None:
    found = run([sys.executable, "-P", "-c", f"import {CLIENTS[snippet]}"], serving)
    if found.returncode:
        pytest.skip(f"{CLIENTS[snippet]} is not installed (make clients installs it)")
    done = execute(snippet, serving)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d", done.stdout)


def test_the_example_of_a_device_passes_its_own_tests(tmp_path: Path) -> None:
    folder = SNIPPETS / "add_a_device"
    done = pytest_on(folder / "test_flow_meter.py", tmp_path, folder)
    assert done.returncode == 0, done.stdout


def test_the_example_of_an_experiment_passes_its_own_tests_and_runs(tmp_path: Path) -> None:
    site = installed(SNIPPETS / "add_an_experiment", tmp_path / "site")
    done = pytest_on(SNIPPETS / "add_an_experiment/test_heater_curve.py", tmp_path, site)
    assert done.returncode == 0, done.stdout
    done = execute("add_an_experiment/run.sh", tmp_path, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert "gain" in done.stdout


@pytest.fixture(scope="module", autouse=True)
def rehearsing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The tutorial's first run, made beside the other tests: it takes longest."""
    folder = tmp_path_factory.mktemp("tutorial")
    command = ["bash", "-e", str(SNIPPETS / "first_run/rehearse.sh")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=reader(), text=True, **pipes) as process:
        yield process, folder
        process.kill()


@pytest.fixture(scope="module")
def rehearsed(rehearsing: tuple[subprocess.Popen[str], Path]) -> Path:
    """The folder in which the tutorial's first run was made."""
    process, folder = rehearsing
    told, complained = process.communicate(timeout=300)
    assert process.returncode == 0, complained
    for result in ("pressure", "temperature", "strain_rate", "differential_stress", "truth"):
        assert result in told
    return folder


def test_the_first_run_leaves_what_the_tutorial_says(rehearsed: Path) -> None:
    (kept,) = (rehearsed / "data").iterdir()
    names = {path.name for path in kept.iterdir()}
    assert names == {"run.journal", "frames", "deformation.nxs", "report.png"}


def test_the_journal_page_names_the_streams_that_there_are(rehearsed: Path) -> None:
    page = (ROOT / "docs/reference/journal.md").read_text(encoding="utf-8")
    table = page.partition("| stream | keys |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.partition(" | ")[0])}
    (kept,) = (rehearsed / "data").iterdir()
    assert named == set(read_run(kept).streams)


@pytest.mark.parametrize("snippet", READERS)
def test_a_run_can_be_read(rehearsed: Path, snippet: str) -> None:
    done = execute(snippet, rehearsed)
    assert done.returncode == 0, done.stderr
    assert "GPa" in done.stdout


def test_file_and_picture_can_be_made_again_from_the_journal(rehearsed: Path) -> None:
    done = execute("first_run/look_again.sh", rehearsed)
    assert done.returncode == 0, done.stderr
    assert "success" in done.stdout
    (kept,) = (rehearsed / "data").iterdir()
    with h5py.File(kept / "deformation.nxs") as first, h5py.File(rehearsed / "again.nxs") as again:
        assert first["entry/results/strain"][()] == again["entry/results/strain"][()]
    assert (rehearsed / "again.png").stat().st_size > 50_000


def pytest_on(file: Path, folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a test file of the guides with `path` to import from."""
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    return run([*command, str(file)], folder, PYTHONPATH=str(path), PYTHONDONTWRITEBYTECODE="1")


def installed(project: Path, site: Path) -> Path:
    """What an installer makes of a project: its package and its entry points. Needs no network."""
    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    (package,) = described["tool"]["setuptools"]["packages"]
    shutil.copytree(project / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    name, version = described["project"]["name"].replace("-", "_"), described["project"]["version"]
    about = site / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    groups = described["project"]["entry-points"].items()
    text = "\n".join(f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in points.items()) for group, points in groups)
    (about / "entry_points.txt").write_text(text + "\n", encoding="utf-8")
    return site
