"""The console script. Each command is a function of the same name in a module of the same name in this package
(``import_`` for ``import``, which Python keeps for itself).

A command's module is imported when it is asked for, and imports only typer at its top: ``magflow --help`` answers at
once, and no command waits for what another needs.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib import import_module
from keyword import iskeyword
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from magflow.core.credentials import remember
from magflow.core.masking import mask, masked_streams
from magflow.errors import MagflowError

COMMANDS = (
    *("init", "check", "run", "cluster", "submit", "daemon", "status", "query", "retry", "sync", "db"),
    *("report", "serve", "import", "label", "export", "convert"),
    *("train", "displace", "finetune", "compare", "transfer", "benchmark", "validate", "phonons", "dichotomy"),
    *("predict", "relax", "md", "compile", "lammps", "schema", "execute"),
)
"""In the order of ``magflow --help``."""

DEBUG = "MAGFLOW_DEBUG"
"""Environment variable that shows tracebacks."""

INTERNAL_ERROR = 70


_MARKUP: Any = "markdown"
"""Of the texts that typer draws."""


class _Commands(Mapping[str, Any]):
    """The commands of typer by name, each made when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = _command(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _command(name: str) -> Any:
    """The command `name`, or the group of commands, from its module."""
    python = name + "_" * iskeyword(name)
    found = getattr(import_module(f"magflow.cli.{python}"), python)
    alone = typer.Typer(add_completion=False, rich_markup_mode=_MARKUP)
    alone.callback()(lambda: None)  # so that typer makes a group of it, however few commands are in it
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    return typer.main.get_group(alone).commands[name]


class _Group(TyperGroup):
    """Finds commands by name; turns errors into one message and an exit code."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]  # nothing is ever added

    def invoke(self, ctx: Any) -> Any:
        remember(os.environ.get("MAGFLOW_MONGO_URI"))
        with masked_streams():
            return self._invoke(ctx)

    def _invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MagflowError as error:
            _say(_traceback(error) if os.environ.get(DEBUG) else mask(str(error)))
            raise typer.Exit(error.exit_code) from None
        except (typer.Exit, typer.Abort, typer.TyperException, KeyboardInterrupt, BrokenPipeError):
            raise
        except Exception as error:
            text = " ".join(mask(f"{type(error).__name__}: {error}").split())
            hinted = f"internal error: {text}; hint: report it with what {DEBUG}=1 shows"
            _say(_traceback(error) if os.environ.get(DEBUG) else hinted)
            raise typer.Exit(INTERNAL_ERROR) from None


def _say(text: str) -> None:
    """On standard error; half characters, as in names of files that are not text, are written as escapes."""
    typer.echo(text.encode(errors="backslashreplace").decode(), err=True)


def _traceback(error: Exception) -> str:
    """As Python would print it, but without credentials."""
    return mask("".join(traceback.format_exception(error)).rstrip())


app = typer.Typer(
    cls=_Group,
    name="magflow",
    help="Active learning of magnetic interatomic potentials on constrained DFT.",
    epilog="Start with `magflow init`, then `magflow check FILE`, then `magflow run FILE`.",
    no_args_is_help=True,
    rich_markup_mode=_MARKUP,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from magflow.core.release import __version__

        typer.echo(f"magflow {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Entry point of the console script."""
    sys.exit(app())
