"""The pages of README and docs as blocks of code, and the mark that says what a test does with each.

A block is fenced, and the line before its fence is one of

``<!-- run -->``
    bash or Python; run in order, page by page, in a directory with what the README leaves.
``<!-- slow -->``
    As run, but in the slow tests alone: those of a page are run there together with what is run by default.
``<!-- example -->``
    bash, not run: its ``magflow`` commands and their options are those of the command line.
``<!-- parsed -->``
    yaml, toml or ini that is parsed.
``<!-- campaign: TEMPLATE [KEY] -->``
    A part of a campaign file, put into a template at KEY (the top, if left out), which has to be valid then.
``<!-- excerpt: REASON -->``
    Not run, and why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
WIDTH = 119
"""Characters a line may have."""

_FENCE = re.compile(
    r"^(?P<before>[^\n]*)\n(?P<indent> *)```(?P<language>[\w{}-]*)[^\n`]*\n(?P<text>.*?)^ *```$", re.M | re.S
)
_MARK = re.compile(r"<!-- (?P<mark>run|slow|example|parsed|campaign|excerpt)(?:: (?P<about>.+))? -->")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language and text, what is done with it, and what the mark says besides."""

    page: Path
    language: str
    text: str
    mark: str | None
    about: str

    def __str__(self) -> str:
        first = self.text.strip().splitlines()[0] if self.text.strip() else "nothing"
        return f"{self.page.name}: {first}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer("\n" + page.read_text(encoding="utf-8")):
        if match["language"].startswith("{"):  # an instruction to Sphinx
            continue
        mark = _MARK.fullmatch(match["before"].strip())
        kind, about = (mark["mark"], mark["about"] or "") if mark else (None, "")
        found.append(Block(page, match["language"], match["text"], kind, about))
    return found
