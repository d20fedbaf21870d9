"""Print the section of CHANGELOG.md for one version: python scripts/release_notes.py 0.2.0.

The version has to be that of pyproject.toml and of CITATION.cff, so that a tag names what it releases.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def notes(version: str) -> str:
    """The section, without its head.

    Raises
    ------
    ValueError
        If the version is not the one that is here, or has no section, or an empty one.
    """
    seen = {
        "pyproject.toml": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
        "CITATION.cff": re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)[0],
    }
    for file, found in seen.items():
        if found != version:
            raise ValueError(f"{file} says version {found}; expected: {version}")
    changes = (ROOT / "CHANGELOG.md").read_text()
    section = re.search(rf"^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)", changes, re.M | re.S)
    if section is None or not section[1].strip():
        raise ValueError(f"CHANGELOG.md says nothing of {version}")
    return section[1].strip()


if __name__ == "__main__":
    try:
        print(notes(sys.argv[1].removeprefix("v")))
    except ValueError as error:
        raise SystemExit(str(error)) from None
