"""The site has every page, its reference is current, and it can be built without a warning."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pages import PAGES, README, ROOT, blocks

import cli_reference
import documents_page
import loop_picture
import magflow
import magflow.testing
from magflow.cli.app import app

DOCS = ROOT / "docs"
FRONT = DOCS / "index.md"
_TREE = re.compile(r"^:::\{toctree\}\n(?P<inside>.*?)^:::$", re.M | re.S)


def in_the_navigation(page: Path) -> Iterator[Path]:
    """The pages that the lists of contents on `page` name, and those on these, as files."""
    for tree in _TREE.finditer(page.read_text()):
        for line in tree["inside"].splitlines():
            name = line.rpartition("<")[2].rstrip("> ")
            if name and not name.startswith(":"):
                inner = page.parent / f"{name}.md"
                yield inner
                yield from in_the_navigation(inner)


def test_every_page_is_in_the_navigation_once():
    listed = [page.resolve() for page in in_the_navigation(FRONT)]
    assert sorted(listed) == sorted({*PAGES} - {README, FRONT})


def test_the_command_line_is_as_it_is_described():
    page = (DOCS / "cli.md").read_text()
    assert page == cli_reference.page(), "run: python scripts/cli_reference.py > docs/cli.md"


def test_documents_are_as_they_are_described():
    page = (DOCS / "documents.md").read_text()
    assert page == documents_page.page(), "run: python scripts/documents_page.py > docs/documents.md"


def test_the_picture_shows_the_jobs_of_an_iteration():
    picture = (DOCS / "images" / "loop.svg").read_text()
    assert picture == loop_picture.picture(), "run: python scripts/loop_picture.py > docs/images/loop.svg"


def test_every_public_name_is_described():
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    said = set(re.findall(r"^\.\. auto(?:class|function):: (\S+)$", pages, re.M))
    public = {f"magflow.{name}" for name in magflow.__all__ if not name.startswith("_")}
    assert public | {f"magflow.testing.{name}" for name in magflow.testing.__all__} <= said


def test_pictures_are_small():
    assert all(picture.stat().st_size < 150_000 for picture in (DOCS / "images").iterdir())


def commands(text: str) -> Iterator[list[str]]:
    """The words of every call of magflow in lines of bash."""
    lexer = shlex.shlex(text.replace("\\\n", " ").replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set(";|&()<>"):
            words.append(word)
            continue
        if "magflow" in words:
            yield words[words.index("magflow") + 1 :]
        words = []


MAGFLOW = typer.main.get_command(app)
BASH = [block for page in PAGES for block in blocks(page) if block.language == "bash"]


@pytest.mark.parametrize("block", BASH, ids=str)
def test_commands_and_options_that_are_shown_are_there(block):
    for words in commands(block.text):
        command = MAGFLOW
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert command.name != "magflow" or words[0].startswith("-"), f"no command {words[0]}"
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"-h", "--help"}
        asked = {word.partition("=")[0] for word in words if re.match(r"--[a-z]|-[a-zA-Z]$", word)}
        assert asked <= known, f"magflow {command.name}: {asked - known}"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    build = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--builder", "html"]
    done = subprocess.run([*build, str(DOCS), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fetched = re.compile(r"""<(?:script|link|img)[^>]+(?:src|href)=["'](?:https?:)?//""")
    for page in tmp_path.rglob("*.html"):
        assert not fetched.search(page.read_text()), f"{page.name} fetches something from elsewhere"
