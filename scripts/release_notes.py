"""Print the section of CHANGELOG.md for one version: python scripts/release_notes.py 0.2.0.

The version has to be that of pyproject.toml, CITATION.cff and the conda recipe, so that a tag names what it releases.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONED = {
    "pyproject.toml": r'^version = "(\S+)"$',
    "CITATION.cff": r"^version: (\S+)$",
    "config/conda/recipe.yaml": r'^  version: "(\S+)"$',
}
"""Files that name the version, and the line that does."""


def notes(version: str) -> str:
    """The section, without its head.

    Raises
    ------
    ValueError
        If the version is not the one that is here, or has no section, or an empty one.
    """
    for file, pattern in VERSIONED.items():
        (found,) = re.findall(pattern, (ROOT / file).read_text(), re.M)
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
