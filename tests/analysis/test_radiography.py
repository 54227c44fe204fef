"""Radiographs: foils measured without pixel locking, honest errors, strain, strain rate, offset of the sample."""

import functools
import math
import time

import numpy as np
import pytest

from megabar.analysis import markers, radiography

SIZE, FINE = 512, 32
PIXEL_UM = 2.0


@functools.lru_cache(maxsize=16)
def _foil(shape: str, blur_px: float, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance (px) and transmission of a foil between unlike materials: absorbed first, then blurred and pixelated."""
    z = np.arange(-40 * FINE, 40 * FINE + 1) / FINE
    inside = {
        "slab": np.clip((1.25 - np.abs(z)) * FINE + 0.5, 0.0, 1.0),
        "gauss": 4.0 * np.exp(-((z / 1.4) ** 2)),
        "round": 4.0 * np.sqrt(np.clip(1.0 - (z / 2.0) ** 2, 0.0, None)),
    }[shape]
    absorbed = 0.97 * inside if shape == "slab" else 1.0 - np.exp(-inside)
    sharp = (1.0 + step * (z > 0)) * (1.0 - absorbed)
    reach = np.arange(-8 * FINE, 8 * FINE + 1) / FINE
    camera = np.exp(-0.5 * (reach / blur_px) ** 2)
    kernel = np.convolve(camera / camera.sum(), np.full(FINE + 1, 1.0 / (FINE + 1)))
    pad = kernel.size // 2
    return z, np.convolve(np.pad(sharp, pad, mode="edge"), kernel, mode="valid")


def scene(
    separation_px,
    *,
    middle=(255.5, 255.5),
    counts=20000.0,
    shape="slab",
    blur_px=1.2,
    step=-0.3,
    bow=(0.0, 0.0),
    half=140,
):
    """Expected counts (512, 512): beam profile, sample wider than the field is not, two foils that may bow."""
    across = np.arange(SIZE) - middle[0]
    within = 1.0 / (1.0 + np.exp((np.abs(across) - half) / 0.8))
    beam = 1.0 - 0.1 * ((np.arange(SIZE) - 270) / 256) ** 2
    light = np.outer(1.0 - 0.1 * ((np.arange(SIZE) - 240) / 256) ** 2, counts * beam)
    image = light * np.where(np.abs(np.arange(SIZE)[:, None] - middle[1]) < 0.5 * separation_px, 1.0 + step, 1.0)
    z, transmission = _foil(shape, blur_px, step)
    for side, bend, sign in ((-0.5, bow[0], 1.0), (0.5, bow[1], -1.0)):
        place = middle[1] + side * separation_px
        rows = slice(int(place) - 25, int(place) + 26)
        distance = np.arange(SIZE)[rows, None] - place - bend * (across / half) ** 2
        image[rows] = light[rows] * np.interp(sign * distance, z, transmission)
    return light * (1.0 - within) + 0.7 * within * image


@pytest.fixture(scope="module")
def reference():
    return markers.measure_markers(scene(206.0))


@pytest.mark.parametrize(("shape", "blur_px"), [("slab", 0.8), ("slab", 1.5), ("gauss", 1.0), ("round", 1.0)])
def test_separation_has_no_bias_within_a_pixel(shape, blur_px):
    kind = {"shape": shape, "blur_px": blur_px, "step": 0.0}
    first = markers.measure_markers(scene(206.0, **kind))
    errors = []
    for shift in np.linspace(0.0, 1.0, 9):
        image = scene(150.0 + shift, middle=(250.0, 256.0 + 0.37 * shift), **kind)
        errors.append(markers.measure_markers(image, first.templates).separation_px - 150.0 - shift)
    assert np.ptp(errors) < 0.003
    assert np.max(np.abs(errors)) < 0.005


def test_separation_is_unbiased_while_the_sample_shortens_moves_bends_and_brightens(reference):
    worst = 0.0
    for strain, x, y, bow in zip(
        np.linspace(0.0, 0.5, 7), (0, -100, 100, 50, -50, 20, 100), (0, 60, -60, 30, 0, -30, 60), range(7), strict=True
    ):
        separation = 206.0 * math.exp(-strain)
        image = scene(
            separation,
            middle=(255.5 + x, 255.5 + y + 0.1 * strain),
            counts=20000.0 * (0.6 + 0.1 * bow),
            bow=(0.5 * bow, 0.5 * bow),
            half=140 * math.exp(0.5 * strain) if abs(x) < 60 else 140,
        )
        found = markers.measure_markers(image, reference.templates)
        worst = max(worst, abs(found.separation_px - separation))
    # foils between unlike materials: the camera blurs the step and the foil together, the model apart
    assert worst < 0.03


def test_foils_that_bow_apart_show_in_the_blocks(reference):
    found = markers.measure_markers(scene(200.0, bow=(-2.0, 2.0)), reference.templates)
    distance = found.block_rows[1] - found.block_rows[0]
    expected = 200.0 + 4.0 * ((found.block_columns - 255.5) / 140) ** 2
    np.testing.assert_allclose(distance, expected, atol=0.05)


def test_pulls_of_separation_over_200_draws_are_normal():
    rng = np.random.default_rng(8)
    plain = {"step": 0.0, "blur_px": 1.2}
    templates = markers.measure_markers(scene(206.0, **plain)).templates
    pulls = []
    for separation, x, y in zip(
        rng.uniform(124, 206, 200), rng.uniform(-100, 100, 200), rng.uniform(-60, 60, 200), strict=True
    ):
        expected = scene(separation, middle=(255.5 + x, 255.5 + y), counts=rng.uniform(1000, 30000), **plain)
        image = np.rint(rng.normal(expected, np.sqrt(expected))).astype(np.uint16)
        found = markers.measure_markers(image, templates)
        pulls.append((found.separation_px - separation) / found.separation_error_px)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_error_follows_the_noise_that_the_camera_has(reference):
    rng = np.random.default_rng(2)
    expected = scene(180.0, counts=8000.0)
    quiet = markers.measure_markers(rng.poisson(expected).astype(np.uint16), reference.templates)
    loud = markers.measure_markers(4 * rng.poisson(expected / 4).astype(np.uint16), reference.templates)
    assert quiet.counts_per_quantum == pytest.approx(1.0, rel=0.05)
    assert loud.counts_per_quantum == pytest.approx(4.0, rel=0.05)
    assert loud.separation_error_px == pytest.approx(2.0 * quiet.separation_error_px, rel=0.15)


def test_template_error_is_the_scatter_that_noisy_references_bring():
    rng = np.random.default_rng(4)
    expected, target = scene(206.0), scene(170.0)
    references = [markers.measure_markers(rng.poisson(expected).astype(np.uint16)) for _ in range(5)]
    found = [markers.measure_markers(target, r.templates).separation_px for r in references]
    predicted = np.mean([r.template_error_px for r in references])
    assert 0.4 < np.std(found, ddof=1) / predicted < 1.7


def test_dark_counts_are_taken_off(reference):
    image = scene(170.0, counts=500.0) + 100.0
    with_dark = markers.measure_markers(image, reference.templates, dark_counts=100.0)
    without = markers.measure_markers(image, reference.templates)
    assert abs(with_dark.separation_px - 170.0) < 0.03 < abs(without.separation_px - 170.0)


def test_one_image_takes_milliseconds(reference):
    image = scene(180.0).astype(np.uint16)
    took = []
    for _ in range(30):
        start = time.perf_counter()
        markers.measure_markers(image, reference.templates)
        took.append(time.perf_counter() - start)
    assert min(took) < 4e-3  # 2 ms on an idle core


def test_markers_are_found_to_the_nearest_row():
    rng = np.random.default_rng(1)
    image = rng.poisson(scene(150.0, middle=(200.0, 270.0), counts=300.0)).astype(np.uint16)
    np.testing.assert_allclose(markers.find_markers(image), [195, 345], atol=1)
    assert markers.find_markers(image, count=1)[0] in (194, 195, 196, 344, 345, 346)


@pytest.mark.parametrize("size", [(400, 512), (512, 300), (1024, 1024)])
def test_other_image_sizes_are_measured(size, reference):
    image = np.full(size, 20000.0)
    rows, columns = min(size[0], SIZE), min(size[1], SIZE)
    image[:rows, :columns] = scene(150.0, middle=(150.0, 200.0), half=100)[:rows, :columns]
    assert markers.measure_markers(image, reference.templates).separation_px == pytest.approx(150.0, abs=0.03)


def test_images_without_two_foils_are_refused():
    rng = np.random.default_rng(3)
    one = scene(206.0)
    one[:256] = one[256:][::-1].max(axis=0)
    for image in (rng.poisson(20000, (512, 512)), np.zeros((512, 512)), rng.poisson(3, (512, 512)), one):
        with pytest.raises(ValueError, match="of 2 horizontal foils") as failure:
            markers.measure_markers(image.astype(np.uint16))
        assert "\n" not in str(failure.value)
    for image in (np.zeros((512, 512, 3)), np.zeros((20, 512)), np.zeros((512, 512), complex)):
        with pytest.raises(ValueError, match="two dimensions"):
            markers.measure_markers(image)
    with pytest.raises(ValueError, match="saturated"):
        markers.measure_markers(np.minimum(scene(200.0, counts=150000.0), 65535).astype(np.uint16))
    with pytest.raises(ValueError, match="of the rim"):
        markers.measure_markers(np.roll(scene(200.0, middle=(255.5, 140.0)), -25, axis=0).astype(np.uint16))


def test_true_strain_and_its_error_agree_with_the_reference_check():
    # physics.md D 5.3
    found = radiography.strain(412.0, 0.5, 371.5, 0.5, foil_bending=0.0).quantity("strain")
    assert found.value == pytest.approx(0.103474, abs=1e-6)
    assert found.combined == pytest.approx(0.00181225, rel=1e-5)
    separations = np.array([412.0, 371.5])
    rate = radiography.strain_rate([0.0, 7200.0], -np.log(separations / 412.0), 0.5 / separations, foil_bending=0.0)
    assert rate.quantity("strain_rate").value == pytest.approx(1.43715e-5, rel=1e-5)
    assert rate.quantity("strain_rate").error == pytest.approx(2.51701e-7, rel=1e-5)


def test_strain_carries_reference_template_and_bending_as_common_terms():
    found = radiography.strain(206.0, 0.01, 150.0, 0.02, template_error_px=0.1).quantity("strain")
    assert found.error == pytest.approx(0.02 / 150.0)
    bending = 0.005 * math.log(206.0 / 150.0)
    expected = math.sqrt((0.01 / 206) ** 2 + (0.1 * (1 / 150 - 1 / 206)) ** 2 + bending**2)
    assert found.systematic == pytest.approx(expected)
    assert radiography.strain(150.0, 0.0, 206.0, 0.0).quantity("strain").value < 0  # extension is negative
    for bad in ((0.0, 0.1, 10.0, 0.1), (10.0, 0.1, float("nan"), 0.1), (10.0, -0.1, 10.0, 0.1)):
        with pytest.raises(ValueError, match="positive separations"):
            radiography.strain(*bad)


def test_strain_rate_uses_the_last_window_only():
    t = np.arange(0.0, 1000.0, 10.0)
    strains = np.where(t < 500, 0.0, 2e-5 * (t - 500))
    rate = radiography.strain_rate(t, strains, np.full(t.size, 1e-5), window_s=400.0)
    assert rate.quantity("strain_rate").value == pytest.approx(2e-5, rel=1e-9)
    assert rate.quantity("strain_rate").systematic == pytest.approx(1e-7)
    assert rate.quantity("strain").value == pytest.approx(strains[-1])
    assert rate.n_points == 41


def test_pulls_of_strain_rate_over_200_draws_are_normal():
    rng = np.random.default_rng(6)
    t = np.arange(0.0, 600.0, 20.0)
    error = rng.uniform(1e-5, 4e-5, t.size)
    found = [radiography.strain_rate(t, 1e-5 * t + rng.normal(0, error), error) for _ in range(200)]
    pulls = [(f.values - (1e-5, 1e-5 * t[-1])) / np.sqrt(np.diag(f.covariance)) for f in found]
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.25)
    assert np.all((np.std(pulls, axis=0) > 0.85) & (np.std(pulls, axis=0) < 1.15))
    assert found[0].covariance[0, 1] > 0


def test_strain_that_is_no_line_enlarges_the_error_of_the_rate():
    t = np.linspace(0.0, 100.0, 50)
    straight = radiography.strain_rate(t, 1e-5 * t, np.full(50, 1e-6))
    wavy = radiography.strain_rate(t, 1e-5 * t + 1e-4 * np.sin(t), np.full(50, 1e-6))
    assert wavy.quantity("strain_rate").error > 20 * straight.quantity("strain_rate").error


def test_strain_rate_refuses_what_gives_none():
    with pytest.raises(ValueError, match="two points"):
        radiography.strain_rate([1.0, 1.0], [0.0, 0.1], [1e-3, 1e-3])
    with pytest.raises(ValueError, match="two points"):
        radiography.strain_rate([1.0, 2.0], [0.0, np.nan], [1e-3, 1e-3])
    with pytest.raises(ValueError, match="one length"):
        radiography.strain_rate([1.0, 2.0], [0.0], [1e-3])


@pytest.mark.parametrize(("x", "y"), [(0, 0), (100, 60), (-100, -60), (37.3, -12.6)])
def test_offset_of_the_sample_is_found(x, y):
    rng = np.random.default_rng(9)
    image = rng.poisson(scene(200.0, middle=(255.5 + x, 255.5 + y), step=-0.2)).astype(np.uint16)
    offset = radiography.sample_offset(image, PIXEL_UM)
    assert offset.model == "lateral edges and foils"
    across, up = offset.quantity("offset_x"), offset.quantity("offset_y")
    assert abs(across.value - PIXEL_UM * x) < 3 * across.combined < 4.0
    assert abs(up.value + PIXEL_UM * y) < 3 * up.combined < 4.0


def test_offset_of_a_sample_half_out_of_the_field_comes_from_the_foils_with_a_large_error():
    image = np.random.default_rng(7).poisson(scene(200.0, middle=(455.0, 255.5))).astype(np.uint16)
    offset = radiography.sample_offset(image, PIXEL_UM)
    assert offset.model == "foils alone"
    assert offset.quantity("offset_x").value > 200
    assert abs(offset.quantity("offset_x").value - 399.0) < 3 * offset.quantity("offset_x").error
    with pytest.raises(ValueError, match="pixel size"):
        radiography.sample_offset(image, 0.0)
