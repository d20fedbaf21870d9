"""Credentials never reach a page, a message or a document that is meant to be passed on."""

from __future__ import annotations

import re

MASK = "***"

_WORD = (
    r"(?:pass|authorization|[\w.-]{0,60}?(?:passw(?:or)?d|passphrase|passcode|pwd|secret|credential|token|"
    r"api[_-]?key|access[_-]?key|private[_-]?key)[\w.-]{0,60})[\"']?\s{0,9}"
)
# every pattern starts at the head of a word and is bounded, so that a long line costs linear time
_URI = re.compile(r"(?<![\w+.-])(?P<scheme>[A-Za-z][\w+.-]{0,30}://)[^\s\"'<>]{0,1000}@")
_BLOCK = re.compile(rf"(?P<indent>\s*(?:-\s+)*)(?P<key>[\"']?{_WORD}:)(?=\s|$)", re.IGNORECASE)
_INLINE = re.compile(
    rf"(?<![\w.-])(?P<key>{_WORD}[:=]\s{{0,9}})(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;&}}\]\"']+)", re.IGNORECASE
)
_BEARER = re.compile(r"\b(?P<key>(?:Bearer|Basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE)


def mask(text: str) -> str:
    """`text` without credentials.

    Hidden are the user part of URIs (``mongodb://user:word@host``) and the values of keys that name a secret:
    on a YAML line of their own (with the deeper lines that continue them), in flow mappings, in query strings
    and in ``key=value`` lists. It errs on the side of hiding.
    """
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
        line = _BEARER.sub(lambda m: m["key"] + MASK, line)
        lines.append(_INLINE.sub(lambda m: m["key"] + MASK, line))
    return "\n".join(lines)
