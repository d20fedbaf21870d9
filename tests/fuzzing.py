"""Damage that knows what it damages: trees of values, lines of text, archives of arrays, conditions, plain bytes.

Everything is drawn from one `random.Random`; what tries to run a program names the file it would make.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**70), 10**400, 0.0, -0.0, 1e-320, 1e308, -1e300),
    *(float("nan"), float("inf"), "", " ", "x", "Fe", "FeAl", "Xx", "nan", "1e999", "../../etc/passwd", "/dev/null"),
    *("\x00", "\u202e", "\ud800", "[/x]", "{0}", "%s%n", "a" * 5000, "[" * 3000, "spin-lattice", "mmtp", "sqlite"),
    *([], {}, [[]], [None], {"": None}, [0.0, 2.8], [2.8, 0.0], {"Fe": [0.0, 1.0]}, [1] * 300, {"a": {"b": {"c": 1}}}),
)
"""Values that a reader may not have thought of."""

WORDS = (
    *("", " ", "\t", "\n", "\r", "0", "-1", "nan", "inf", "1e400", "T", "F", "Fe", "Qq", "=", '"', "'", "\\", ":", ","),
    *("[", "]", "{", "}", "&a", "*a", "!!", "<<: *a", "%YAML 9.9", "---", "...", "|", ">", "#", "\x00", "\ufeff", "é"),
    *(
        "1_000",
        "0x1f",
        "1:30",
        "~",
        "null",
        "Lattice=",
        "Properties=",
        "species:S:1",
        "pos:R:3",
        "pos:R:999999",
        "S:-1",
    ),
)
"""Pieces of text that mean something to some reader."""


class _Runs:
    """Unpickled, makes a file."""

    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        import os

        return os.mkdir, (self.canary,)


class Damage:
    """Draws damage from `rng`; `canary` is what would be made if anything in an input were executed."""

    def __init__(self, rng: Random, canary: str) -> None:
        self.rng, self.canary = rng, canary

    def code(self) -> str:
        """Text that makes `canary` where it is evaluated."""
        path = self.canary
        return self.rng.choice(
            [
                f"!!python/object/apply:os.mkdir [{path}]",
                f"!!python/object/new:os.mkdir {{args: [{path}]}}",
                f"__import__('os').mkdir('{path}')",
                f"$(mkdir {path})",
                f"`mkdir {path}`",
                f"; mkdir {path};",
                f"{{{{ ''.__class__.__import__('os').mkdir('{path}') }}}}",
            ]
        )

    def odd(self) -> Any:
        """Any value."""
        if self.rng.random() < 0.08:
            return self.code()
        return copy.deepcopy(self.rng.choice(ODD))

    def tree(self, value: Any) -> Any:
        """A copy of mappings, lists and values, with one to four things changed in it."""
        value = copy.deepcopy(value)
        for _ in range(self.rng.choice((1, 1, 1, 2, 4))):
            places = list(_places(value))
            if not places:
                return self.odd()
            self._change(*self.rng.choice(places), places)
        return value

    def _change(self, holder: Any, key: Any, places: list[tuple[Any, Any]]) -> None:
        rng = self.rng
        match rng.randrange(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                name = rng.choice(
                    [str(key) + "s", str(key)[1:], str(key).upper(), self.rng.choice(WORDS), str(key) * 40]
                )
                holder[name] = holder.pop(key)
            case 2:
                other, at = rng.choice(places)
                holder[key] = copy.deepcopy(other[at]) if _depth(other[at]) < 20 else None
            case 3:
                deep: Any = holder[key]
                for _ in range(rng.choice((1, 2, 25, 200))):
                    deep = [deep] if rng.random() < 0.5 else {"a": deep}
                holder[key] = deep
            case 4 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = rng.choice([-holder[key], holder[key] * 1e6, holder[key] * 1e-9, str(holder[key])])
            case 5 if isinstance(holder, list) and holder:
                holder.extend(copy.deepcopy(rng.choice(holder)) for _ in range(rng.choice((1, 50))))
            case _:
                holder[key] = self.odd()

    def text(self, text: str) -> str:
        """`text` with lines, words or characters changed."""
        rng = self.rng
        for _ in range(rng.choice((1, 1, 2, 4))):
            lines = text.split("\n")
            at = rng.randrange(len(lines))
            match rng.randrange(8):
                case 0:
                    del lines[at]
                case 1:
                    lines.insert(rng.randrange(len(lines) + 1), lines[at])
                case 2:
                    lines[at] = " " * rng.randrange(1, 5) + lines[at]
                case 3:
                    words = lines[at].split(" ")
                    words[rng.randrange(len(words))] = str(self.odd()) if rng.random() < 0.5 else rng.choice(WORDS)
                    lines[at] = " ".join(words)
                case 4:
                    lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
                    if rng.random() < 0.3:
                        lines = lines[: at + 1]
                case 5:
                    lines[at] = lines[at].replace(rng.choice("0123456789.:=, "), rng.choice(WORDS))
                case 6:
                    here = rng.randrange(len(lines[at]) + 1)
                    lines[at] = lines[at][:here] + rng.choice((*WORDS, self.code())) + lines[at][here:]
                case _:
                    lines[at] = lines[at] * rng.choice((2, 200))
            text = "\n".join(lines)
        return text

    def bytes(self, data: bytes) -> bytes:
        """`data` with bytes turned, cut out or repeated."""
        rng, changed = self.rng, bytearray(data)
        for _ in range(rng.choice((1, 3, 20))):
            at = rng.randrange(len(changed) + 1)
            match rng.randrange(4):
                case 0 if at < len(changed):
                    changed[at] ^= 1 << rng.randrange(8)
                case 1:
                    del changed[at : at + rng.choice((1, 8, len(changed)))]
                case 2:
                    changed[at:at] = changed[max(0, at - 64) : at]
                case _:
                    changed[at : at + 4] = rng.randbytes(4)
        return bytes(changed)

    def yaml_or_json(self, data: Any, text: str) -> bytes:
        """Text of a changed tree, or changed text, or changed bytes."""
        match self.rng.randrange(4):
            case 0:
                return self.bytes(text.encode())
            case 1:
                return self.text(text).encode(errors="surrogatepass")
            case _:
                return json.dumps(self.tree(data), indent=1).encode()

    def archive(self, data: bytes) -> bytes:
        """An ``.npz`` with arrays changed, left out or added, its JSON header changed, objects pickled into it."""
        if self.rng.random() < 0.2:
            return self.bytes(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        for _ in range(self.rng.choice((1, 1, 2))):
            name = self.rng.choice(list(entries))
            changed = self._entry(entries[name])
            entries.pop(name)
            if changed is not None:
                entries[self.rng.choice((name, name, name, name, "../" + name, "x.npy"))] = changed
            if not entries:
                break
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        return out.getvalue()

    def _entry(self, content: bytes) -> bytes | None:
        rng = self.rng
        match rng.randrange(6):
            case 0:
                return None
            case 1:
                return self.bytes(content)
            case 2:
                return _saved(np.array([_Runs(self.canary)], dtype=object))
            case 3:
                return pickle.dumps(_Runs(self.canary))
        try:
            array = np.load(io.BytesIO(content), allow_pickle=False)
        except ValueError:
            return self.bytes(content)
        if array.dtype == np.uint8 and array.ndim == 1:  # a header in JSON
            try:
                header = json.loads(array.tobytes())
            except ValueError:
                return self.bytes(content)
            return _saved(np.frombuffer(json.dumps(self.tree(header)).encode(), np.uint8))
        return _saved(self._array(array))

    def _array(self, array: np.ndarray) -> np.ndarray:
        rng = self.rng
        kinds = [np.int64, np.float32, np.complex128, "S8", "U4", np.int8]
        with np.errstate(all="ignore"):
            match rng.randrange(6):
                case 0:
                    return array.astype(rng.choice(kinds))
                case 1:
                    return array.reshape(-1)
                case 2:
                    return array[:0] if array.ndim else np.zeros((0, 3))
                case 3:
                    return np.concatenate([np.atleast_1d(array)] * 2)
                case 4:
                    return np.full_like(array, rng.choice((-1, 0, 1, 100)))
                case _:
                    changed = np.atleast_1d(array).copy()
                    if changed.size and changed.dtype.kind in "fiu":
                        value = rng.choice((np.nan, np.inf, -1e300)) if changed.dtype.kind == "f" else 99
                        changed.reshape(-1)[rng.randrange(changed.size)] = value
                    return changed

    def condition(self, keys: tuple[str, ...]) -> str:
        """``KEY OP VALUE``, or what looks like it."""
        rng = self.rng
        key = rng.choice((*keys, "nothing", "a.b.c", "$where", "output.$ne", "__class__", ""))
        operator = rng.choice(("=", "!=", "<", "<=", ">", ">=", "~", " in ", "==", "<>", "", "~~", "$regex"))
        value = (
            str(self.odd())
            if rng.random() < 0.6
            else rng.choice((*WORDS, "(a+)+$", "Fe,Al,,", "{'$gt': ''}", "a" * 99))
        )
        text = f"{key} {operator} {value}"
        return self.text(text) if rng.random() < 0.25 else text


def _places(value: Any, depth: int = 0) -> Any:
    """Holder and key of every value below, the deepest not."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        if depth < 30:
            yield from _places(inner, depth + 1)


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, dict | list) and value and depth < 50:
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
        depth += 1
    return depth


def _saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()
