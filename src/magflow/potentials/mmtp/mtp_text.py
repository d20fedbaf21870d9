"""Keys, tables and radial blocks of an ``.mtp`` file, each with the line it stands on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from magflow.core.types import FloatArray
from magflow.errors import InputError

_RADIAL = {"min": "min_dist", "max": "max_dist", "size": "radial_basis_size"}
_MAGNETIC = {"min": "min_mag", "max": "max_mag", "size": "mag_basis_size"}
_SECTIONS = {"radial_basis_type": _RADIAL, "magnetic_basis_type": _MAGNETIC}
_SHORT = {"min_val": "min", "max_val": "max", "basis_size": "size"}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_LARGEST = 2**31 - 1


@dataclass
class MtpText:
    """What an ``.mtp`` file says, before it is made a potential.

    The magnetic range has three spellings: ``min_mag``, ``max_mag``, ``mag_basis_size``; after
    ``magnetic_basis_type``, ``min_val``, ``max_val``, ``basis_size``; or there ``min``, ``max``, ``size``, which the
    radial basis may use after its type too. All are kept under the first names.

    Parameters
    ----------
    name
        The file, for errors.
    """

    name: str
    keys: dict[str, tuple[str, int]] = field(default_factory=dict)
    radial: dict[tuple[int, int], list[FloatArray]] = field(default_factory=dict)

    @classmethod
    def parse(cls, name: str, text: str) -> MtpText:
        """The keys and blocks of `text`.

        Raises
        ------
        InputError
            No MTP file, a key or pair given twice, a line that is neither.
        """
        found = cls(name)
        lines = [line.strip() for line in text.splitlines()]
        if not lines or lines[0] != "MTP":
            raise found.error("not an MTP file", 1, seen=lines[0][:60] if lines else "nothing", expected="MTP")
        section: dict[str, str] = {}
        pair: tuple[int, int] | None = None
        for number, line in enumerate(lines[1:], start=2):
            if "=" in line:
                key, value = (part.strip() for part in line.split("=", 1))
                section = _SECTIONS.get(key, section)
                found._add(section.get(_SHORT.get(key, key), key), value, number)
                pair = None
            elif match := re.fullmatch(r"(\d{1,3})-(\d{1,3})", line):
                pair = (int(match[1]), int(match[2]))
                if pair in found.radial:
                    raise found.error("a pair of species is given twice", number, seen=line)
                found.radial[pair] = []
            elif line.startswith("{") and pair is not None:
                found.radial[pair].append(found._numbers(line, number))
            elif line not in ("", "radial_coeffs"):
                raise found.error("a line is neither a key nor coefficients", number, seen=line[:60])
        return found

    def _add(self, key: str, value: str, line: int) -> None:
        if key in self.keys:
            raise self.error("a key is given twice", line, seen=key, expected=f"once, as on line {self.keys[key][1]}")
        self.keys[key] = (value, line)

    def error(self, message: str, line: int | None = None, **kwargs: str) -> InputError:
        """An error at this file, and line if one is known."""
        return InputError(message, where=self.name if line is None else f"{self.name}: line {line}", **kwargs)

    def bad(self, key: str, message: str, **kwargs: str) -> InputError:
        """An error at the line of `key`."""
        return self.error(message, self.keys[key][1] if key in self.keys else None, **kwargs)

    def word(self, key: str, default: str) -> str:
        """A key that is a name."""
        return self.keys[key][0] if key in self.keys else default

    def values(self, key: str) -> FloatArray:
        """A key that is a list of finite numbers, nested or not."""
        if key not in self.keys:
            raise self.error("a key is missing", seen=f"no {key}", expected=key, hint="the file may be truncated")
        value, line = self.keys[key]
        return self._numbers(value, line)

    def _numbers(self, text: str, line: int) -> FloatArray:
        if text.count("{") != text.count("}"):
            raise self.error("a list does not end", line, seen=text[-60:], hint="the file may be truncated")
        words = [word for word in re.split(r"[{},\s]+", text) if word]
        for word in words:
            if not _NUMBER.fullmatch(word) or not np.isfinite(float(word)):
                raise self.error("not a finite number", line, seen=word[:60])
        return np.array([float(word) for word in words])

    def scalar(self, key: str) -> float:
        """A key that is one number."""
        numbers = self.values(key)
        if numbers.size != 1:
            raise self.bad(key, "not one number", seen=f"{key} = {self.keys[key][0][:60]}")
        return float(numbers[0])

    def integers(self, key: str) -> np.ndarray:
        """A key that is a list of integers from 0 up."""
        numbers = self.values(key)
        if np.any(numbers != np.floor(numbers)) or np.any(numbers < 0) or np.any(numbers > _LARGEST):
            raise self.bad(key, "an integer from 0 up was expected", seen=self.keys[key][0][:60])
        return numbers.astype(np.int64)

    def count(self, key: str, smallest: int = 1) -> int:
        """A key that is one integer."""
        numbers = self.integers(key)
        if numbers.size != 1 or numbers[0] < smallest:
            raise self.bad(key, f"{key} is not an integer from {smallest} up", seen=self.keys[key][0][:60])
        return int(numbers[0])

    def table(self, key: str, count_key: str) -> np.ndarray:
        """A key that is rows of four integers, as many as another key says."""
        numbers, rows = self.integers(key), self.count(count_key, 0)
        if numbers.size != 4 * rows:
            raise self.bad(
                key,
                "a table has another size than announced",
                seen=f"{numbers.size} integers",
                expected=f"{count_key} = {rows} rows of four",
            )
        return numbers.reshape(-1, 4)
