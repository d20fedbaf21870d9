"""Format versions: what magflow keeps says how it is laid out, and one reader brings older layouts up to date.

Every kind of thing that is kept - a kind of document, a job's payload, the tables of the queue, ``campaign.json`` -
has a :class:`Format`. Its number grows by one with each step that older things need to be read as new ones; a field
more that may be absent needs no step, because readers ignore fields they do not know. What magflow 0.1 wrote has no
number and counts as format 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from magflow.core.release import __version__
from magflow.errors import InputError, MagflowError, StoreError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

FORMAT, WRITER = "format", "magflow"
"""Keys under which a mapping holds the number of its format and the version of magflow that wrote it."""


class NewerFormatError(MagflowError):
    """Written by a newer magflow, in a format this one does not know.

    No :class:`~magflow.errors.StoreError`: who goes on without a store that cannot be read must not go on here.
    """

    exit_code = StoreError.exit_code


@dataclass(frozen=True)
class Format(Generic[T]):
    """The layout of one kind of thing that is kept.

    Parameters
    ----------
    noun
        What it is, for people.
    steps
        Functions that make of format 1 format 2, of format 2 format 3, and so on. Steps are only ever added.
    """

    noun: str
    steps: tuple[Callable[[T], T], ...] = ()

    @property
    def number(self) -> int:
        """The format that this magflow writes."""
        return 1 + len(self.steps)

    @property
    def stamp(self) -> dict[str, Any]:
        """What a mapping of this kind says of itself."""
        return {FORMAT: self.number, WRITER: __version__}

    def require(self, found: object, writer: object = None, where: str | None = None) -> int:
        """The number `found`, if it is one that this magflow can read.

        Raises
        ------
        NewerFormatError
            If a newer magflow wrote it; its version, if known, is `writer`.
        StoreError
            If `found` is no number of a format.
        """
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise StoreError(
                f"this {self.noun} is damaged", where=where, seen=f"{FORMAT}: {found!r}", expected="a number from 1"
            )
        if found > self.number:
            by = f"magflow {writer}" if writer else "a newer magflow"
            raise NewerFormatError(
                f"this {self.noun} was written by {by}, this is {__version__}",
                where=where,
                seen=f"format {found}",
                expected=f"format {self.number}" if self.number == 1 else f"format 1 to {self.number}",
                hint="upgrade magflow",
            )
        return found

    def upgraded(self, content: T, found: object, writer: object = None, where: str | None = None) -> T:
        """`content`, which is of format `found`, as this magflow would have written it.

        Raises
        ------
        NewerFormatError, StoreError
            As :meth:`require`.
        """
        for step in self.steps[self.require(found, writer, where) - 1 :]:
            content = step(content)
        return content


@dataclass(frozen=True)
class Mark:
    """The word by which a file says what it is and in which format: ``magflow-ensemble-1``.

    Parameters
    ----------
    noun
        What it is, for people.
    name
        The word without the number.
    steps
        See :class:`Format`.
    """

    noun: str
    name: str
    steps: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = ()

    @property
    def layout(self) -> Format[dict[str, Any]]:
        """How what bears the mark is laid out."""
        return Format(self.noun, self.steps)

    @property
    def stamp(self) -> dict[str, str]:
        """What a mapping of this kind begins with."""
        return {FORMAT: str(self), WRITER: __version__}

    def __str__(self) -> str:
        return f"{self.name}-{self.layout.number}"

    def upgraded(self, content: Mapping[str, Any], where: str | None = None) -> dict[str, Any]:
        """`content`, which bears a mark, as this magflow would have written it; its stamp stays as it is.

        Raises
        ------
        NewerFormatError
            If a newer magflow wrote it.
        InputError
            If it bears no mark of this kind.
        """
        found = content.get(FORMAT)
        name, _, number = str(found).rpartition("-")
        if name != self.name or not number.isdecimal() or int(number) < 1:
            raise InputError(f"this is no {self.noun}", where=where, seen=f"{FORMAT}: {found}", expected=str(self))
        return self.layout.upgraded(dict(content), int(number), content.get(WRITER), where)


def read_stamped(
    layout: Format[dict[str, Any]], content: Mapping[str, Any], where: str | None = None
) -> dict[str, Any]:
    """A mapping that bears its own stamp, or none if magflow 0.1 wrote it, in the present format.

    The version of magflow that wrote it stays as it is.

    Raises
    ------
    NewerFormatError, StoreError
        As :meth:`Format.require`.
    """
    found = content.get(FORMAT, 1)
    return {**layout.upgraded(dict(content), found, content.get(WRITER), where), FORMAT: layout.number}


def known_fields(kind: type[DataclassInstance], content: Mapping[str, Any]) -> dict[str, Any]:
    """What `content` says of the fields of a dataclass; fields that a newer magflow added are left out."""
    return {field.name: content[field.name] for field in fields(kind) if field.name in content}
