"""Answers about several files of one kind: the mean of what all have, and which quantities make the history."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

HISTORY = ("temperature", "pressure", "lattice_parameter", "differential_stress")
"""What is worth following through a series."""


def answer_of(files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`results` {name: {value, error, systematic, unit}}, means of what all files have; `history` names; `files`.

    The error of a mean is that of the files' own errors, or of their scatter where it is larger; systematic terms are
    common to a series and stay.
    """
    found = [file["results"] for file in files]
    names = [name for name in found[0] if all(name in results for results in found)]
    return {
        "results": {name: _mean([results[name] for results in found]) for name in names},
        "history": [name for name in HISTORY if any(name in results for results in found)],
        "files": list(files),
    }


def _mean(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values, errors, systematic = (
        np.array([entry[part] for entry in entries]) for part in ("value", "error", "systematic")
    )
    scatter = float(values.std(ddof=1)) if len(entries) > 1 else 0.0
    error = max(float(np.sqrt(np.mean(errors**2))), scatter) / len(entries) ** 0.5
    return {
        "value": float(values.mean()),
        "error": error,
        "systematic": float(systematic.mean()),
        "unit": entries[0]["unit"],
    }
