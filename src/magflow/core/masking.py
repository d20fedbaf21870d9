"""Credentials never reach a page, a message or a document that is meant to be passed on."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from magflow.core.credentials import KEY_PATTERN as _WORD
from magflow.core.credentials import MASK, hide_known

# every pattern starts at the head of a word and is bounded, so that a long line costs linear time
_URI = re.compile(r"(?<![\w+.-])(?P<scheme>[A-Za-z][\w+.-]{0,30}://)[^\s\"'<>]{0,1000}@")
# without a scheme, or cut short before the @: what stands where a port would, and is none
_BARE = re.compile(r"(?<![\w.%+/-])[\w.%+-]{0,60}:(?!//)[^\s\"'<>@]{0,1000}@(?=[\w\[])")
_NO_PORT = re.compile(
    r"(?P<scheme>\b[A-Za-z][\w+.-]{0,30}://[^\s\"'<>:/@\[]{1,200}:)(?!\d+(?:[/,?\s\"'<>)\]:;.]|$))[^\s\"'<>/]{1,200}"
)
_BLOCK = re.compile(rf"(?P<indent>\s*(?:-\s+)*)(?P<key>[\"']?{_WORD}:)(?=\s|$)", re.IGNORECASE)
_INLINE = re.compile(
    rf"(?<![\w.-])(?P<key>{_WORD}[:=]\s{{0,9}})(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;&}}\]\"']+)", re.IGNORECASE
)
_BEARER = re.compile(r"\b(?P<key>(?:Bearer|Basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE)


def mask(text: str) -> str:
    """`text` without credentials.

    Hidden are the user part of URIs (``mongodb://user:word@host``) and the values of keys that name a secret:
    on a YAML line of their own (with the deeper lines that continue them), in flow mappings, in query strings
    and in ``key=value`` lists; and what :func:`~magflow.core.credentials.remember` was told, wherever it stands. It
    errs on the side of hiding.
    """
    text = hide_known(text)
    lines = []
    hidden_below: int | None = None
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        if hidden_below is not None and (not line.strip() or indent > hidden_below):
            continue
        hidden_below = None
        match = _BLOCK.match(line)
        if match:
            lines.append(f"{match['indent']}{match['key']} {MASK}")
            hidden_below = len(match["indent"])
            continue
        line = _URI.sub(lambda m: f"{m['scheme']}{MASK}@", line)
        line = _NO_PORT.sub(lambda m: m["scheme"] + MASK, line)
        line = _BARE.sub(f"{MASK}@", line)
        line = _BEARER.sub(lambda m: m["key"] + MASK, line)
        lines.append(_INLINE.sub(lambda m: m["key"] + MASK, line))
    return "\n".join(lines)


class _Masked:
    """A text stream that hides remembered credentials in all that is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(hide_known(text) if isinstance(text, str) else text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def masked_streams() -> Iterator[None]:
    """The door: within the block nothing remembered as a credential leaves by standard output and standard error."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Masked(sys.stdout), _Masked(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
