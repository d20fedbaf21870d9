"""Labelled frames in the format of another program: what it cannot hold is counted before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from magflow.core.dataset import Dataset
from magflow.errors import InputError
from magflow.io.deepmd_writer import losses_deepmd, write_deepmd
from magflow.io.extxyz import write_extxyz
from magflow.io.extxyz_writer import losses_extxyz
from magflow.io.findings import Fate, Findings
from magflow.io.mlip_cfg import ENERGY_DERIVATIVE
from magflow.io.mlip_cfg_writer import losses_cfg, write_cfg
from magflow.io.records import Record, as_record


@dataclass(frozen=True)
class Target:
    """Where labels go, and how.

    Parameters
    ----------
    path
        File to write, or a folder.
    form
        One of :data:`FORMATS`.
    elements
        Element of type 0, 1, ... in formats that number them. None: alphabetical.
    en_der_sign
        Sign of ``en_der_m*`` in a .cfg. None: +dE/dm.
    """

    path: Path
    form: str
    elements: tuple[str, ...] | None = None
    en_der_sign: int | None = None


@dataclass(frozen=True)
class Form:
    """A format that labels are written in.

    Parameters
    ----------
    endings
        Ends of names that mean it; none: a folder.
    losses
        What of a record it cannot hold, as phrases.
    write
        Writes records; returns what is to be said about the outcome.
    numbered, signed
        Whether it numbers elements, and whether the sign of its magnetic forces has to be told.
    """

    endings: tuple[str, ...]
    losses: Callable[[Record], list[str]]
    write: Callable[[Target, Sequence[Record], tuple[str, ...]], str]
    numbered: bool = False
    signed: bool = False


def form_of(path: Path) -> str:
    """The format the name of `path` asks for: its ending, or a folder for a name without one.

    Raises
    ------
    InputError
        If the ending means no format.
    """
    if path.is_dir() or not path.suffix:
        return "deepmd"
    for name, form in FORMATS.items():
        if path.name.endswith(form.endings):
            return name
    endings = ", ".join(e for form in FORMATS.values() for e in form.endings)
    raise InputError(
        "the name of the output ends like no format that can be written",
        where=str(path),
        seen=path.suffix,
        expected=f"{endings}, or a name without an ending: a folder of DeePMD npy",
    )


def heeded(form: str) -> tuple[str, ...]:
    """What of :class:`magflow.io.sources.Wish` means something to the format written."""
    wanted = _form(form)
    return (*(("elements",) if wanted.numbered else ()), *(("en_der_sign",) if wanted.signed else ()))


def losses(records: Sequence[Record], form: str) -> Findings:
    """What of `records` the format cannot hold, counted in frames."""
    findings = Findings()
    for record in records:
        for what in _form(form).losses(record):
            findings.note(Fate.LEFT_OUT, f"{what}: {form} has no place for it")
    return findings


def write_records(target: Target, records: Sequence[Record]) -> str:
    """Write `records`; returns one sentence about what was written.

    Raises
    ------
    InputError
        If there is nothing to write, an element has no type, or the output cannot be written.
    """
    form = _form(target.form)
    if not records:
        raise InputError("there are no frames to write", where=str(target.path))
    present = tuple(sorted({s for record in records for s in record.frame.species}))
    elements = target.elements or present
    labels = sum(record.label is not None for record in records)
    unlabelled = f" and {len(records) - labels} frames without a label" if labels < len(records) else ""
    return f"wrote {labels} labelled frames{unlabelled} to {target.path}" + form.write(target, records, elements)


def write_dataset(path: Path, dataset: Dataset, form: str) -> str:
    """Write `dataset` as ``extxyz``, ``mlip-cfg`` or ``deepmd``; returns one sentence about what was written.

    Raises
    ------
    InputError
        If there is nothing to write, the format is unknown, or the output cannot be written.
    """
    _form(form)
    if not len(dataset):
        raise InputError("there are no usable labels yet", hint="`magflow status` says where the campaign stands")
    return write_records(Target(path, form), [as_record(item) for item in dataset])


def _form(name: str) -> Form:
    if name not in FORMATS:
        raise InputError("unknown format", seen=name, expected=", ".join(FORMATS))
    return FORMATS[name]


def _extxyz(target: Target, records: Sequence[Record], elements: tuple[str, ...]) -> str:
    write_extxyz(target.path, records)
    return ""


def _mlip_cfg(target: Target, records: Sequence[Record], elements: tuple[str, ...]) -> str:
    sign = target.en_der_sign or ENERGY_DERIVATIVE
    write_cfg(target.path, records, elements, en_der_sign=sign)
    types = ", ".join(f"type {i} = {element}" for i, element in enumerate(elements))
    return f"; {types}; en_der_m* = {'+' if sign == ENERGY_DERIVATIVE else '-'}dE/dm"


def _deepmd(target: Target, records: Sequence[Record], elements: tuple[str, ...]) -> str:
    systems = write_deepmd(target.path, records, elements)
    types = ", ".join(f"type {i} = {element}" for i, element in enumerate(elements))
    return f"; {len(systems)} systems; {types}"


FORMATS = {
    "extxyz": Form((".extxyz", ".xyz"), losses_extxyz, _extxyz),
    "mlip-cfg": Form((".cfg",), losses_cfg, _mlip_cfg, numbered=True, signed=True),
    "deepmd": Form((), losses_deepmd, _deepmd, numbered=True),
}
