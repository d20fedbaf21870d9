"""What a user writes on the command line, read, and what is to be known of files that were read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from magflow.io.findings import Findings


def say(line: str) -> None:
    """A line for the person who started the command."""
    typer.echo(line, err=True)


def tell(findings: Findings, *, extras: bool = True) -> None:
    """Print what was read under another name, guessed, not used or left out; with `extras` what is no quantity, too."""
    for line in [*findings.lines(), *(findings.extra_lines() if extras else [])]:
        say(line)


def require_extxyz(output: Path | None, hint: str = "`magflow convert` makes other formats of it") -> None:
    """Refuse a name whose ending says that it is no extended XYZ, which is what is written.

    Raises
    ------
    InputError
        Names the endings that fit.
    """
    _require_ending(output, "extended XYZ", (".extxyz", ".xyz"), hint)


def require_html(output: Path | None) -> None:
    """The same for a page.

    Raises
    ------
    InputError
        Names the endings that fit.
    """
    _require_ending(output, "HTML", (".html", ".htm"), "a browser prints it to other formats")


def _require_ending(output: Path | None, written: str, endings: Sequence[str], hint: str) -> None:
    from magflow.errors import InputError

    if output is not None and output.suffix not in ("", *endings):
        expected = ", ".join(endings)
        raise InputError(f"{written} is written here", where="--out", seen=output.suffix, expected=expected, hint=hint)


def settings_of(assignments: Sequence[str]) -> dict[str, Any]:
    """Settings as a mapping, from ``KEY=VALUE`` texts; dots in a key lead into it, numbers between commas are a list.

    Raises
    ------
    InputError
        If a text cannot be read.
    """
    from magflow.errors import InputError

    given: dict[str, Any] = {}
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise InputError("a setting cannot be read", where="--set", seen=text, expected="KEY=VALUE")
        place = given
        *above, last = key.strip().split(".")
        for part in above:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise InputError("a setting is given in whole and in part", where="--set", seen=text)
        place[last] = _setting(value.strip())
    return given


def _setting(text: str) -> Any:
    found = value_of(text)
    if found == text and "," in text:
        listed = value_of(f"[{text}]")
        return listed if isinstance(listed, list) else text
    return found


def value_of(text: str) -> Any:
    """A value as JSON reads it, or the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def moments_of(texts: Sequence[str], option: str) -> dict[str, float]:
    """``EL=MUB`` texts of an option, muB by element; several may stand in one, between commas.

    Raises
    ------
    InputError
        If one cannot be read.
    """
    from magflow.errors import InputError

    found = {}
    for text in [part for given in texts for part in given.split(",")]:
        element, _, number = text.partition("=")
        try:
            found[element.strip()] = float(number)
        except ValueError as error:
            raise InputError("not the moment of an element", where=option, seen=text, expected="EL=MUB") from error
    return found


def magmoms_of(texts: Sequence[str] | None) -> dict[str, float] | None:
    """What ``--magmoms`` gives; None if it is not there."""
    return moments_of(texts, "--magmoms") if texts else None
