"""Every error a user can meet: where it happened, what was seen, what was expected, what to do next.

Only :class:`MagflowError` and its children are meant for people. The command line prints their
text and exits with their ``exit_code``; anything else that escapes is a bug.
"""

from __future__ import annotations


class MagflowError(Exception):
    """Base of all errors meant for a person.

    Parameters
    ----------
    message
        What happened, in one sentence.
    where
        File, line, key, frame or job it happened at.
    seen, expected
        The offending value and what would have been accepted.
    hint
        What to do next.

    Examples
    --------
    >>> from magflow import Frame, MagflowError
    >>> try:
    ...     Frame(("Fa",), [[2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.5]], [[0, 0, 0]])
    ... except MagflowError as error:
    ...     print(error)
    frame: unknown element; seen: Fa; expected: chemical symbols
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        seen: object = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = message
        self.where = where
        self.seen = seen
        self.expected = expected
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        where = f"{_cut(self.where, MAX_PART)}: " if self.where else ""
        parts = [where + _cut(self.message, MAX_PART)]
        if self.seen is not None:
            parts.append(f"seen: {_short(self.seen)}")
        if self.expected is not None:
            parts.append(f"expected: {_cut(self.expected, MAX_PART)}")
        if self.hint is not None:
            parts.append(f"hint: {_cut(self.hint, MAX_PART)}")
        return "; ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.where, self.seen, self.expected, self.hint))


MAX_SEEN = 300
"""Characters of an offending value that are shown."""

MAX_PART = 2000
"""Characters of each other part: names out of a file may stand in it."""


def _short(seen: object) -> str:
    """One line of bounded length."""
    return _cut(" ".join(str(seen).split()), MAX_SEEN)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def _rebuild(
    kind: type[MagflowError],
    message: str,
    where: str | None,
    seen: object,
    expected: str | None,
    hint: str | None,
) -> MagflowError:
    return kind(message, where=where, seen=seen, expected=expected, hint=hint)


class InputError(MagflowError):
    """A file, option or array given by the user is not acceptable."""

    exit_code = 2


class MissingToolError(MagflowError):
    """A program, dataset or optional package is absent."""

    exit_code = 3


class StoreError(MagflowError):
    """The store cannot be read or written (disk full, read-only, locked, damaged)."""

    exit_code = 4


class StoreUnusableError(StoreError):
    """Nothing can be written to the campaign's store or directory, whatever the job: not the job's fault."""


class CampaignError(MagflowError):
    """The campaign cannot go on: a whole batch failed, a directory belongs to another campaign."""

    exit_code = 5
