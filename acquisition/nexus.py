"""Writes groups, fields and stacks of images the NeXus way."""

import re
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from .columns import ArrayStack

TEXT = h5py.string_dtype("utf-8")


def valid_name(name: str) -> str:
    """The name with everything that NeXus does not allow in one replaced by an underscore."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name) or "_"


def free_name(parent: h5py.Group, name: str) -> str:
    """The valid name that is nearest to `name` and not taken in `parent`."""
    unique = wanted = valid_name(name)
    number = 1
    while unique in parent:
        number += 1
        unique = f"{wanted}_{number}"
    return unique


def clean(text: Any) -> str:
    """Text that HDF5 can hold: valid UTF-8 without NUL."""
    return str(text).replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def group(parent: h5py.Group, name: str, nx_class: str, **attributes: Any) -> h5py.Group:
    """A new group of a NeXus class; a number is appended to its name when that is taken."""
    unique = free_name(parent, name)
    made = parent.create_group(unique)
    made.attrs["NX_class"] = nx_class
    if unique != name:
        made.attrs["recorded_as"] = clean(name)
    _attributes(made, attributes)
    return made


def field(parent: h5py.Group, name: str, value: Any, unit: str = "", **attributes: Any) -> h5py.Dataset | None:
    """A new field; numbers and arrays of numbers as they are, text and lists of text as UTF-8. None for no value."""
    if value is None:
        return None
    unique = free_name(parent, name)
    array = np.asarray(value)
    if array.dtype.kind == "b":
        array = array.astype(np.int8)
    if array.dtype.kind in "iufc":
        made = parent.create_dataset(unique, data=array)
    else:
        texts = np.vectorize(clean, otypes=[object])(array) if array.size else array.astype(object)
        made = parent.create_dataset(unique, data=texts[()], dtype=TEXT)
    if unit:
        made.attrs["units"] = clean(unit)
    if unique != name:
        made.attrs["recorded_as"] = clean(name)
    _attributes(made, attributes)
    return made


def tree(parent: h5py.Group, name: str, values: Mapping[str, Any], units: Mapping[str, str]) -> h5py.Group:
    """Nested mappings as nested collections; a field gets the unit that `units` has for its name."""
    made = group(parent, name, "NXcollection")
    for key, value in values.items():
        if isinstance(value, Mapping):
            tree(made, key, value, units)
        else:
            field(made, key, _plain(value), units.get(key, ""))
    return made


def stack(parent: h5py.Group, name: str, arrays: ArrayStack, unit: str) -> h5py.Dataset:
    """The arrays of all events as one field (n, ...), in the chunks in which they were recorded, packed or not."""
    made = parent.create_dataset(
        free_name(parent, name),
        arrays.shape,
        arrays.dtype,
        chunks=(1, *arrays.shape[1:]),
        shuffle=True,
        compression="gzip",
        compression_opts=1,
    )
    for index, (mask, chunk) in enumerate(arrays.chunks()):
        made.id.write_direct_chunk((index,) + (0,) * (arrays.ndim - 1), chunk, filter_mask=mask)
    if unit:
        made.attrs["units"] = clean(unit)
    return made


def _plain(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    try:
        array = np.asarray([np.nan if item is None else item for item in value])
    except ValueError:
        return repr(value)
    return repr(value) if array.dtype.kind == "O" else array


def _attributes(target: h5py.Group | h5py.Dataset, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        if value is not None:
            target.attrs[name] = value
