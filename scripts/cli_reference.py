"""Prints docs/cli.md: every command, argument and option, from the command line itself."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any

import typer

from magflow.cli.app import COMMANDS, app
from page_text import escaped, filled

HEAD = """# The command line

`magflow COMMAND --help` prints the same. Exit codes: 0 done, 1 something else, 2 bad input, 3 a program or dataset is
missing, 4 the store cannot be used, 5 the campaign cannot go on, 130 interrupted. What is wrong is told in one line on
standard error ([errors](errors.md)).

(This page is printed by `scripts/cli_reference.py`; a test keeps the two equal.)
"""

WORDS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
"""What stands for a value whose option names no placeholder."""

EXAMPLES = "Examples:"
MARK = "<!-- example -->"
"""Above a block of commands: a test looks whether commands and options are there."""


def page() -> str:
    """The whole page."""
    group = typer.main.get_command(app)
    commands = group.commands
    index = "\n".join(f"- [`{name}`](#magflow-{name}): {_first_sentence(commands[name])}" for name in COMMANDS)
    parts = [HEAD, "\n".join(filled(line, "  ") for line in index.splitlines()) + "\n"]
    for name in COMMANDS:
        parts.extend(sections(commands[name], f"magflow {name}", 2))
    return "\n".join(parts)


def sections(command: Any, path: str, depth: int) -> Iterator[str]:
    """The section of a command, and those of the commands below it."""
    yield f"{'#' * depth} {path}\n"
    yield prose(command.help) + "\n"
    listed = [_item(command, parameter) for parameter in command.params]
    if listed and not hasattr(command, "commands"):
        yield _usage(command, path)
        yield "\n".join(listed) + "\n"
    for name, inner in getattr(command, "commands", {}).items():
        yield from sections(inner, f"{path} {name}", depth + 1)


def prose(text: str) -> str:
    """A help text as Markdown: what is indented in it becomes blocks of commands, or of text."""
    parts, commands = [], False
    for indented, lines in _runs(inspect.cleandoc(text)):
        if not indented:
            commands = lines[-1].strip() == EXAMPLES
            parts.append("\n\n".join(filled(_written(p.replace("\n", " "))) for p in "\n".join(lines).split("\n\n")))
        else:
            mark, language = (MARK, "bash") if commands else ("<!-- excerpt: part of an input -->", "text")
            block = "\n".join(line[4:] for line in lines if line)
            parts.append(f"{mark}\n```{language}\n{block}\n```")
    return "\n\n".join(parts)


def _runs(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Lines in runs that are indented, or are not; blank lines go with what is before them."""
    run: list[str] = []
    indented = False
    for line in text.splitlines():
        if line and line.startswith("    ") != indented:
            if run:
                yield indented, _trimmed(run)
            run, indented = [], not indented
        run.append(line)
    yield indented, _trimmed(run)


def _trimmed(lines: list[str]) -> list[str]:
    return "\n".join(lines).rstrip().splitlines()


def _usage(command: Any, path: str) -> str:
    arguments = [_argument(p) for p in command.params if p.param_type_name == "argument"]
    return f"`{' '.join((path, *arguments, '[OPTIONS]'))}`\n"


def _item(command: Any, parameter: Any) -> str:
    context = typer.Context(command)
    told = re.sub(r" {2,}", " ", (parameter.get_help_record(context) or ("", ""))[1])
    placeholder = _placeholder(command, parameter)
    if parameter.param_type_name == "argument":
        name = _argument(parameter)
        told += f" One of `{'`, `'.join(placeholder.split('|'))}`." if "|" in placeholder else ""
    else:
        names = ", ".join(sorted((*parameter.opts, *parameter.secondary_opts), key=len))
        name = f"{names} {placeholder}".strip()
    return filled(f"- `{name}`: {_written(told)}", "  ")


def _argument(parameter: Any) -> str:
    """An argument as it is called, in brackets if it may be left out."""
    name = str(parameter.metavar or parameter.name.upper())
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _placeholder(command: Any, parameter: Any) -> str:
    """What stands for the value: the one the option names, else a word for its type."""
    if parameter.metavar:
        return str(parameter.metavar)
    hint = typing.get_type_hints(inspect.unwrap(command.callback))[parameter.name]
    hint = next((part for part in _parts(hint) if part is not type(None)), hint)
    if hint is bool:
        return ""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "|".join(str(choice.value) for choice in hint)
    return WORDS[hint]


def _parts(hint: Any) -> Iterator[Any]:
    """The types that a hint is made of: of ``list[str] | None`` str and None."""
    if typing.get_origin(hint) in (typing.Union, UnionType, list, tuple):
        for part in typing.get_args(hint):
            yield from _parts(part)
    else:
        yield hint


def _written(text: str) -> str:
    """`text` as Markdown, the options it names as code."""
    pieces = re.split(r"(`[^`]*`)", text)
    pieces[::2] = [re.sub(r"(?<![\w-])--[a-z][a-z-]*\w", r"`\g<0>`", piece) for piece in pieces[::2]]
    return escaped("".join(pieces))


def _first_sentence(command: Any) -> str:
    first = re.split(r"(?<=[.;:])\s", inspect.cleandoc(command.help).replace("\n", " "), maxsplit=1)[0]
    return _written(first.rstrip(".;:") + ".")


if __name__ == "__main__":
    print(page(), end="")
