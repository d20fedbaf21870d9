"""What a study is, and where the studies are found.

A study is a folder: ``task.py`` (frozen input, ``run(progress) -> result``), ``result.py`` (``as_dict``, ``from_dict``,
a form with a version), ``section.py`` (its tables and figures, and the :class:`Study` that ties them together). One
line in the entry-point group ``magflow.studies`` makes it known, to the report as to everybody else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from magflow.core import plugins
from magflow.core.protocols import WorkProgress, silent
from magflow.core.versions import Mark
from magflow.errors import InputError, MagflowError
from magflow.presentation.page import fragment
from magflow.presentation.sections import Section


class ShownInNotebooks:
    """A result that a notebook shows by the section of its study: ``section.py`` beside its ``result.py``."""

    def _repr_html_(self) -> str:
        package = type(self).__module__.rpartition(".")[0]
        return fragment(import_module(f"{package}.section").section(self))


class Result(Protocol):
    """What a task found."""

    form: ClassVar[Mark]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; begins with the stamp of its form: ``magflow-<noun>-<number>``."""

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`as_dict`, of older forms too."""


R = TypeVar("R", bound=Result)
R_co = TypeVar("R_co", bound=Result, covariant=True)


class Task(Protocol[R_co]):
    """The question: a frozen dataclass of everything that decides the answer."""

    def run(self, progress: WorkProgress = silent) -> R_co:
        """The answer; what an earlier run has finished is kept."""


@dataclass(frozen=True)
class Traces:
    """Where a study may have left something.

    Parameters
    ----------
    directory
        Directory of a campaign.
    documents
        The campaign's documents of one type, by iteration, without their arrays.
    """

    directory: Path
    documents: Callable[[str], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Study(Generic[R]):
    """One question asked of potentials.

    Parameters
    ----------
    name
        As it is registered, and as the command is called.
    task, result
        The question and the answer.
    left_in
        What the study left in a campaign; None if nothing.
    section
        The result as a person reads it.
    """

    name: str
    task: type[Task[R]]
    result: type[R]
    left_in: Callable[[Traces], R | None]
    section: Callable[[R], Section]


def registered() -> list[Study[Any]]:
    """All studies, by name.

    Raises
    ------
    MissingToolError
        If one does not import.
    """
    return [plugins.load(plugins.STUDIES, name) for name in plugins.names(plugins.STUDIES)]


def results_left_in(traces: Traces) -> dict[str, Any]:
    """Name of a study to what it left in a campaign, of those that left something.

    Raises
    ------
    InputError
        If what a study left cannot be read.
    """
    found = {study.name: study.left_in(traces) for study in registered()}
    return {name: result for name, result in found.items() if result is not None}


def sections_of(results: Mapping[str, Any]) -> list[Section]:
    """What studies have to say, from the name of each to its result."""
    return [study.section(results[study.name]) for study in registered() if study.name in results]


def read_result(path: Path, kind: type[R]) -> R | None:
    """The result in a file; None if there is no such file.

    Raises
    ------
    InputError
        If it is damaged, something else, or of a newer magflow.
    """
    if not path.is_file():
        return None
    try:
        return kind.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except MagflowError as error:
        error.where = error.where or str(path)
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            "results cannot be read", where=str(path), seen=str(error), hint="remove them, and ask again"
        ) from error
