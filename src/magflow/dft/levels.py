"""The level of theory a label is asked at against the one an engine works at now."""

from __future__ import annotations

from magflow.core.label import LevelOfTheory
from magflow.errors import InputError


def check_level(own: LevelOfTheory, asked: LevelOfTheory) -> None:
    """Refuse to label when a program, a dataset or a setting has changed since the campaign began.

    Raises
    ------
    InputError
        Naming what differs.
    """
    if own.fingerprint == asked.fingerprint:
        return
    mine, theirs = own.as_dict(), asked.as_dict()
    raise InputError(
        "this engine works at another level of theory than was asked for",
        seen={k: v for k, v in mine.items() if v != theirs[k]},
        expected=str({k: v for k, v in theirs.items() if v != mine[k]}),
        hint="the program, a dataset or a setting has changed since the campaign began",
    )
