"""A data set in the format of another program."""

from __future__ import annotations

from pathlib import Path

from magflow.core.dataset import Dataset
from magflow.errors import InputError
from magflow.io.deepmd_npy import write_deepmd
from magflow.io.extxyz import write_extxyz
from magflow.io.mlip_cfg import write_cfg


def write_dataset(path: Path, dataset: Dataset, form: str) -> str:
    """Write `dataset` as ``extxyz``, ``mlip-cfg`` or ``deepmd``; returns one sentence about what was written.

    Raises
    ------
    InputError
        If there is nothing to write, the format is unknown, or the output cannot be written.
    """
    if form not in _WRITERS:
        raise InputError("unknown format", seen=form, expected=", ".join(_WRITERS))
    if not len(dataset):
        raise InputError("there are no usable labels yet", hint="`magflow status` says where the campaign stands")
    return f"wrote {len(dataset)} labelled frames to {path}" + _WRITERS[form](path, dataset)


def _extxyz(path: Path, dataset: Dataset) -> str:
    write_extxyz(path, dataset)
    return ""


def _mlip_cfg(path: Path, dataset: Dataset) -> str:
    write_cfg(path, dataset, dataset.elements)
    types = ", ".join(f"type {i} = {element}" for i, element in enumerate(dataset.elements))
    return f"; {types}; en_der_m* = +dE/dm"


def _deepmd(path: Path, dataset: Dataset) -> str:
    systems = write_deepmd(path, dataset, dataset.elements)
    return f"; {len(systems)} systems"


_WRITERS = {"extxyz": _extxyz, "mlip-cfg": _mlip_cfg, "deepmd": _deepmd}
