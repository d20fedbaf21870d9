"""Credentials that this process has met: text that holds one of them, or a part of it, is masked wherever it goes.

Patterns (:mod:`magflow.core.masking`) know a credential by what stands around it. The message of a library may quote a
part of it without that - ``Port could not be cast to integer value as 'SECRET'`` - so whoever reads an address or a
password :func:`remember` s it.

By where it stands a credential is always hidden. By its value only if that tells something: it has eight or more
characters, or six with two kinds among letters, digits and other signs, and is no common word. To hide `test` wherever
it stands would hide nothing of a password that everybody tries first, and spoil every page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, quote_plus, unquote_plus

MASK = "***"

_LONG, _MIXED = 8, 6  # characters of a value that is hidden wherever it stands: any, of two kinds of signs
_WORDS = frozenset(
    (
        *("password", "passwort", "username", "database", "mongodb", "anonymous", "localhost"),
        *("magflow", "fireworks", "launchpad", "campaign"),
    )
)
_MECHANISMS = frozenset(
    (
        *("GSSAPI", "MONGODB-AWS", "MONGODB-CR", "MONGODB-OIDC", "MONGODB-X509", "PLAIN", "DEFAULT"),
        *("SCRAM-SHA-1", "SCRAM-SHA-256"),
    )
)
KEY_PATTERN = (
    r"(?:pass|authorization|[\w.-]{0,60}?(?:passw(?:or)?d|passphrase|passcode|pwd|secret|credential|token|"
    r"api[_-]?key|access[_-]?key|private[_-]?key)[\w.-]{0,60})[\"']?\s{0,9}"
)
"""Regular expression of the names of keys whose values are secrets, with the quote that may close them."""

NAMES_A_SECRET = re.compile(KEY_PATTERN, re.IGNORECASE)
"""Matches the names of keys whose values are secrets."""

_LOOKS_LIKE_ADDRESS = re.compile(r"\A\s*(?:[A-Za-z][\w+.-]*://|[^\s:/@]*:[^@]*@)", re.DOTALL)
_OPTION = re.compile(r"[?&;]([\w.-]+)=([^&;#\s]*)")
_PROPERTY = re.compile(r":([^,:]+)")
_known: dict[str, re.Pattern[str]] = {}


def remember(found: object) -> None:
    """Hide the credentials in `found` from now on: an address, or mappings and lists such as settings."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            if isinstance(value, str | int) and not isinstance(value, bool) and NAMES_A_SECRET.fullmatch(str(key)):
                _hide(str(value))
            else:
                remember(value)
    elif isinstance(found, str):
        for secret in _in_address(found):
            _hide(secret)
    elif isinstance(found, Sequence):
        for value in found:
            remember(value)


def hide_known(text: str) -> str:
    """`text` without the credentials that were remembered, and without their parts."""
    for part, pattern in _known.items():
        if part in text:
            text = pattern.sub(MASK, text)
    return text


def _in_address(text: str) -> list[str]:
    """The credentials in an address, however badly it is written; empty if this is none."""
    if not _LOOKS_LIKE_ADDRESS.match(text):
        return []
    place, _, _ = text.partition("?") if "@" in text.partition("?")[0] else (text, "", "")
    user, at, _ = place.rpartition("://")[2].rpartition("@")
    name, colon, password = user.partition(":")
    found = [password if colon else name] if at else []
    for key, value in _OPTION.findall(text):
        if NAMES_A_SECRET.fullmatch(key):
            found.append(value)
        elif key.lower() == "authmechanism" and unquote_plus(value).upper() not in _MECHANISMS:
            found.append(value)  # no name of a mechanism: who knows what was pasted there
        elif key.lower() == "authmechanismproperties":
            found += _PROPERTY.findall(unquote_plus(value))
    return found


def _tells(part: str) -> bool:
    """Whether text that holds `part` would give it away, rather than hold a word of the language."""
    kinds = (str.isalpha, str.isdigit, lambda sign: not sign.isalnum())
    mixed = sum(any(map(kind, part)) for kind in kinds) > 1
    return (len(part) >= _LONG or (len(part) >= _MIXED and mixed)) and part.lower() not in _WORDS


def _hide(secret: str) -> None:
    plain = unquote_plus(secret)
    whole = {secret, plain, quote(plain, safe=""), quote_plus(plain)}
    parts = whole | {part for text in whole for part in re.split(r"[^\w.!$*~+-]+", text)}
    for part in parts:
        if _tells(part) and part not in _known:
            _known[part] = re.compile(rf"(?<!\w){re.escape(part)}(?!\w)")
    longest_first = sorted(_known.items(), key=lambda item: -len(item[0]))  # a part must not leave the rest standing
    _known.clear()
    _known.update(longest_first)
