"""Detectors and monitors under EPICS, on the simulated station."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bluesky.protocols import Readable, Triggerable

from megabar.devices.detectors import Detector
from megabar.devices.detectors.mca import MultiElementDetector
from megabar.devices.errors import GarbledReply, LimitError, LinkTimeout
from megabar.devices.monitors import RateMonitor, RingCurrent
from megabar.simulators.noise import Noise


@pytest.fixture
def station(make_station: Callable[..., Any]) -> Any:
    return make_station(shutter_open_at_start=True, slit_gap_mm=0.2)


@pytest.mark.parametrize(("name", "protocol"), [("detector", Detector), ("camera", Detector)])
def test_detectors_are_what_plans_expect(station: Any, name: str, protocol: type) -> None:
    device = station.device(name)
    assert isinstance(device, protocol)
    assert isinstance(device, Readable)
    assert isinstance(device, Triggerable)
    assert isinstance(station.device("ring"), RingCurrent)
    assert isinstance(station.device("i0"), RateMonitor)


def test_an_exposure_brings_spectra_and_times(station: Any) -> None:
    detector = station.device("detector")
    station.finish(detector.exposure.set(60.0))
    started = station.clock.monotonic()
    values = station.read("detector")
    assert 60.0 <= station.clock.monotonic() - started < 61.0
    assert list(values) == ["detector_spectra", "detector_live_time", "detector_real_time"]
    spectra = values["detector_spectra"]
    assert spectra.shape == (10, 2048)
    assert np.issubdtype(spectra.dtype, np.integer)
    assert values["detector_real_time"] == pytest.approx(np.full(10, 60.0))
    assert np.all(values["detector_live_time"] < 60.0)
    same, live, _ = station.world.spectra(
        started, started + 60.0, Noise(1, "detector").generator(("exposure", 1, 60.0))
    )
    assert np.array_equal(spectra, same)
    assert np.array_equal(values["detector_live_time"], live)


def test_the_readout_is_one_request(station: Any) -> None:
    detector = station.device("detector")
    station.finish(detector.exposure.set(10.0))
    before = station.server.n_commands
    station.finish(detector.trigger())
    n_channels_made_for_the_first_use = 2  # EraseStart, Acquiring
    assert station.server.n_commands - before == 30 + 1 + 2 + 1 + n_channels_made_for_the_first_use


def test_data_keys_carry_shape_and_unit(station: Any) -> None:
    keys = station.device("detector").describe() | station.device("camera").describe()
    assert keys["detector_spectra"]["shape"] == [10, 2048]
    assert keys["camera_image"]["shape"] == [512, 512]
    units = {name: key["units"] for name, key in keys.items()}
    assert (units["detector_live_time"], units["camera_exposure"]) == ("s", "s")


def test_the_calibration_stands_in_the_configuration(station: Any) -> None:
    detector = station.device("detector")
    configuration = {name: reading["value"] for name, reading in detector.read_configuration().items()}
    believed = station.world.element_calibration()
    for name, key in (
        ("offset", "offset_kev"),
        ("slope", "slope_kev"),
        ("quad", "quad_kev"),
        ("two_theta", "two_theta_deg"),
        ("azimuth", "azimuth_deg"),
    ):
        assert list(configuration[f"detector_{name}"]) == list(believed[key]), name
    assert detector.describe_configuration()["detector_azimuth"]["units"] == "deg"
    pixel = station.device("camera").read_configuration()["camera_pixel_size"]["value"]
    assert pixel == 2.0


def test_the_number_of_azimuths_must_fit(station: Any) -> None:
    with pytest.raises(ValueError, match="accepted is one for each of 10"):
        MultiElementDetector(
            name="d", link=station.link, address=station.server.addresses["detector"], azimuths_deg=[0.0]
        )


@pytest.mark.parametrize(
    ("name", "wrong"), [("detector", 0.0), ("detector", 3601.0), ("camera", 0.0), ("camera", 601.0)]
)
def test_an_exposure_beyond_its_limits_is_refused_before_a_byte(station: Any, name: str, wrong: float) -> None:
    before = station.server.n_commands
    with pytest.raises(LimitError, match="accepted are"):
        station.device(name).exposure.set(wrong)
    assert station.server.n_commands == before


def test_a_detector_that_would_count_for_ever_is_not_started(station: Any) -> None:
    detector = station.device("detector")
    station.job(lambda: detector.put("PresetReal", 0.0))
    with pytest.raises(LimitError, match="would count for ever"):
        station.finish(detector.trigger())
    assert station.job(lambda: detector.ask("Acquiring")) == [0]


def test_a_detector_that_does_not_end_is_stopped_and_said_so(station: Any) -> None:
    detector = station.device("detector")
    station.finish(detector.exposure.set(10.0))
    exposure = detector.trigger()
    station.wait(5.0)
    station.instruments["detector"]._stop_s = float("inf")  # the module hangs
    with pytest.raises(LinkTimeout, match="still acquiring"):
        station.finish(exposure)
    assert station.job(lambda: detector.ask("Acquiring")) == [0]


def test_a_frame_arrives_unharmed(make_station: Callable[..., Any]) -> None:
    station = make_station(shutter_open_at_start=True, camera_counts_per_s=80_000.0)
    camera = station.device("camera")
    station.finish(camera.exposure.set(0.6))
    values = station.read("camera")
    assert list(values) == ["camera_image", "camera_exposure"]
    assert values["camera_exposure"] == pytest.approx(0.6)
    image = values["camera_image"]
    assert (image.dtype, image.shape) == (np.uint16, (512, 512))
    assert image.max() > 2**15, "beyond what a signed 16-bit integer holds"
    same = station.world.image(0.0, 0.6, Noise(1, "camera").generator(("image", 1)))
    assert np.array_equal(image, same)


def test_counts_are_taken_as_either_type_that_the_array_plugin_has_for_them(station: Any) -> None:
    image, counts = station.device("camera").image, np.array([0, 1, 40_000, 65_535])
    for served, data_type in ((counts.astype(np.uint16).view(np.int16), "UInt16"), (counts.astype(np.int32), "UInt16")):
        image.take((served, 2, 2, data_type), 0.0)
        assert image.get().dtype == np.uint16
        assert image.get().tolist() == [[0, 1], [40_000, 65_535]]
    for wrong in (np.array([0, 1, 2, -3], np.int16), np.array([0, 1, 2, 70_000], np.int32)):
        with pytest.raises(GarbledReply, match="counts outside"):
            image.take((wrong, 2, 2, "Int16"), 0.0)


def test_an_exposure_without_a_frame_is_no_image(station: Any) -> None:
    camera = station.device("camera")
    station.finish(camera.exposure.set(10.0))
    frame = camera.trigger()
    station.wait(3.0)
    station.job(lambda: camera.start("cam1:Acquire", 0))
    with pytest.raises(GarbledReply, match="without a frame"):
        station.finish(frame)


def test_two_detectors_expose_at_the_same_time(station: Any) -> None:
    detector, camera = station.device("detector"), station.device("camera")
    station.finish(detector.exposure.set(30.0))
    station.finish(camera.exposure.set(2.0))
    started = station.clock.monotonic()
    both = [detector.trigger(), camera.trigger()]
    for status in both:
        station.finish(status)
    assert station.clock.monotonic() - started < 31.0


def test_monitors_read_current_and_rate(make_station: Callable[..., Any]) -> None:
    station = make_station(shutter_open_at_start=True, slit_gap_mm=0.2, beam_losses=((100.0, 50.0),))
    station.wait(50.0)
    current, rate = station.read("ring")["ring_current"], station.read("i0")["i0_rate"]
    assert current == pytest.approx(station.world.ring_current_ma(50.0), abs=0.1)
    assert rate == pytest.approx(station.world.i0_rate(49.5), rel=0.02)
    station.wait(60.0)
    assert station.read("ring")["ring_current"] == 0.0
    assert station.read("i0")["i0_rate"] < 0.01 * rate


def test_a_scaler_that_never_counted_gives_no_rate(station: Any) -> None:
    scaler = station.instruments["i0"]
    scaler._continuous, scaler._window = 0, (0.0, 0.0)
    with pytest.raises(GarbledReply, match="AutoCount"):
        station.read("i0")
