"""Parameters of plans: each has a unit, a range, a default and a sentence that says what it is."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field


class Parameters(BaseModel):
    """The parameters of one plan; unknown names and values out of range are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def described(self) -> dict[str, dict[str, Any]]:
        """Every parameter with its value and unit, for the start document."""
        return {
            name: {"value": getattr(self, name), "unit": unit_of(field)}
            for name, field in type(self).model_fields.items()
        }


def quantity(default: float, unit: str, low: float, high: float, description: str) -> Any:
    """A number in `unit` from `low` to `high`."""
    return Field(default, ge=low, le=high, description=description, json_schema_extra={"unit": unit})


def unit_of(field: Any) -> str:
    """The unit of a field of `Parameters`; empty where it has none."""
    return str((field.json_schema_extra or {}).get("unit", ""))


def parameter_rows(parameters: type[Parameters]) -> list[tuple[str, str, str, str, str]]:
    """Name, default, accepted range, unit and meaning of every parameter."""
    rows = []
    for name, field in parameters.model_fields.items():
        bounds = {type(item).__name__: item for item in field.metadata}
        accepted = f"{bounds['Ge'].ge:g}..{bounds['Le'].le:g}" if "Ge" in bounds else _words(field.annotation)
        rows.append((name, str(field.default), accepted, unit_of(field), field.description or ""))
    return rows


def _words(annotation: Any) -> str:
    choices = get_args(annotation)
    return " | ".join(str(choice) for choice in choices) if choices else annotation.__name__
