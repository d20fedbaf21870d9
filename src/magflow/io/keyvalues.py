"""The comment line of an extended XYZ frame: ``key=value`` pairs, in and out.

Written by hand because the reader of ASE refuses a six-component stress and moves keys it knows elsewhere;
what is written here is read by ASE, and what ASE writes is read here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from magflow.errors import InputError

_PAIR = re.compile(
    r"""\s*(?P<key>"(?:[^"\\]|\\.)*"|[^\s="]+)
        (?:\s*=(?:\s+(?![^\s="']+\s*=))?(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\{[^{}]*\}|\[(?:[^\[\]]|\[[^\[\]]*\])*\]|[^\s"']*))?(?=\s|$)""",
    re.VERBOSE,
)
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FORTRAN = re.compile(r"[+-]?[0-9]*\.?[0-9]*[dD][+-]?[0-9]+")
_WORDS = re.compile(r"[^\s,]+")
_ESCAPED = re.compile(r"\\(.)")
_BOOLEANS = {
    **dict.fromkeys(("T", "True", "true", "TRUE"), True),
    **dict.fromkeys(("F", "False", "false", "FALSE"), False),
}
_JSON = "_JSON "


def real(word: str) -> float:
    """A number as Python or Fortran (``1.5D-3``) writes it.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return float(word)
    except ValueError:
        if _FORTRAN.fullmatch(word):
            return float(word.upper().replace("D", "E"))
        raise


def _unquote(text: str) -> str:
    ends = text[:1] + text[-1:] if len(text) >= 2 else ""
    if ends in ('""', "''"):
        return _ESCAPED.sub(_unescaped, text[1:-1]) if "\\" in text else text[1:-1]
    if ends == "{}":
        return text[1:-1]
    # a matrix in brackets of brackets: rows one after the other
    return text.translate(_NO_BRACKETS).strip() if ends == "[]" else text


_NO_BRACKETS = str.maketrans("[]", "  ")


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def _scalar(word: str) -> int | float | None:
    if _INTEGER.fullmatch(word):
        return int(word)
    if "_" in word or word.isdigit():  # 007 is a name, 1_000 a Python habit
        return None
    try:
        return real(word)
    except ValueError:
        return None


def scalar(text: str) -> int | float | str:
    """A number if `text` is one, else `text`."""
    number = _scalar(text)
    return text if number is None else number


def _typed(text: str) -> Any:
    """`text` as JSON, numbers, booleans, or itself."""
    if text.startswith(_JSON):
        try:
            return json.loads(text[len(_JSON) :])
        except ValueError as error:
            raise InputError(f"a JSON value is damaged: {error}", seen=text[:80]) from error
    words = _WORDS.findall(text)
    if words and words[0] in _BOOLEANS and all(w in _BOOLEANS for w in words):
        flags = [_BOOLEANS[w] for w in words]
        return flags[0] if len(flags) == 1 else np.array(flags)
    numbers = []
    for word in words:
        number = _scalar(word)
        if number is None:
            return text
        numbers.append(number)
    if not numbers:
        return text
    return numbers[0] if len(numbers) == 1 else np.array(numbers)


def parse_comment(line: str) -> dict[str, Any]:
    """Pairs of a comment line; numbers, arrays of numbers, booleans and ``_JSON`` values are converted.

    A key without a value is True. Nine numbers stay a flat array of nine.

    Raises
    ------
    InputError
        If the line is not a list of pairs or names a key twice.
    """
    pairs: dict[str, Any] = {}
    line = line.strip()
    position = 0
    while position < len(line):
        match = _PAIR.match(line, position)
        if match is None:
            raise InputError(
                "the comment line is not a list of key=value pairs",
                seen=line[position : position + 60],
                expected='key=value or key="several values"',
            )
        key = _unquote(match["key"])
        if key in pairs:
            raise InputError("a key is given twice in the comment line", seen=key)
        pairs[key] = True if match["value"] is None else _typed(_unquote(match["value"]))
        position = match.end()
    return pairs


def _quote(text: str) -> str:
    if not text or re.search(r"""[\s"'{}\[\]=\\,]""", text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def number(value: float | int | bool | np.generic) -> str:
    """Shortest text that reads back as the same number (T or F for a boolean)."""
    if isinstance(value, bool | np.bool_):
        return "T" if value else "F"
    return str(int(value)) if isinstance(value, int | np.integer) else repr(float(value))


def _text(value: Any) -> str:
    if isinstance(value, str):
        # A string that would come back as something else travels as JSON.
        plain = not value.startswith(_JSON) and isinstance(_typed(value), str) and value.isprintable()
        return value if plain else _JSON + json.dumps(value)
    if isinstance(value, np.ndarray) and value.ndim <= 1 and value.size > 1 and value.dtype.kind in "ifb":
        return " ".join(number(v) for v in value)
    if isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating):
        return number(value)
    return _JSON + json.dumps(value.tolist() if isinstance(value, np.ndarray) else value, sort_keys=True)


def format_comment(pairs: Mapping[str, Any]) -> str:
    """Inverse of :func:`parse_comment`: one line, floats with all their digits."""
    return " ".join(f"{_quote(key)}={_quote(_text(value))}" for key, value in pairs.items())
