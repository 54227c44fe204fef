import numpy as np
import pytest

from megabar.analysis.estimate import Estimate, Quantity


def estimate(**changes) -> Estimate:
    fields = {
        "names": ("a", "b"),
        "values": [1.0, 2.0],
        "covariance": [[0.09, 0.0], [0.0, 0.16]],
        "systematic": [0.4, 0.0],
        "units": ("GPa", "K"),
        "model": "test",
        "chi2_red": 1.0,
        "n_points": 7,
    }
    return Estimate(**(fields | changes))


def test_combined_adds_statistical_and_systematic_in_quadrature():
    assert estimate().quantity("a").combined == pytest.approx(0.5)
    assert estimate().quantity("b") == Quantity(2.0, pytest.approx(0.4), 0.0, "K", "test")


def test_quantities_keeps_the_order_of_names():
    assert list(estimate().quantities()) == ["a", "b"]


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no quantity 'c'.*a, b"):
        estimate().quantity("c")


@pytest.mark.parametrize(
    "changes",
    [{"values": [1.0]}, {"covariance": np.eye(3)}, {"systematic": [0.1]}, {"units": ("K",)}, {"names": ("a", "a")}],
)
def test_shapes_that_disagree_are_refused(changes):
    with pytest.raises(ValueError, match="Estimate"):
        estimate(**changes)
