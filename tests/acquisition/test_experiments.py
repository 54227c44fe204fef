"""What an experiment says of itself is taken from its modules."""

import types
from typing import Any

import pytest

from megabar.acquisition import experiments
from megabar.acquisition.errors import InputError

SHIPPED = experiments.find("centring")


def with_durability(**declared: Any) -> experiments.Experiment:
    plan = types.ModuleType("a_plan")
    plan.a_plan, plan.Roles, plan.Parameters = SHIPPED.plan, SHIPPED.roles, SHIPPED.parameters
    plan.expected_duration_s, plan.RIG = SHIPPED.expected_duration_s, SHIPPED.rig
    live = types.ModuleType("live")
    live.analyses, live.FIGURES = SHIPPED.analyses, SHIPPED.figures
    vars(plan).update(declared)
    return experiments._experiment("a_plan", plan, live)


def test_a_plan_chooses_how_durable_its_events_are() -> None:
    assert with_durability().durability == SHIPPED.durability == "group"
    assert with_durability(DURABILITY="event").durability == "event"


def test_another_durability_is_refused() -> None:
    with pytest.raises(InputError, match=r"a_plan.DURABILITY = 'always'; accepted are 'group' and 'event'"):
        with_durability(DURABILITY="always")
