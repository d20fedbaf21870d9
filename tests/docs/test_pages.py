"""README and docs: every block of code is run, parsed or says why not; links lead somewhere; lines are short."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import pytest
from pages import PAGES, README, ROOT, WIDTH, Block, blocks
from ruamel.yaml import YAML

from magflow.campaign.schema import CampaignSpec
from magflow.core.frame import Frame
from magflow.io.extxyz import read_extxyz, write_extxyz

LANGUAGES = {
    "run": {"bash", "python"},
    "slow": {"bash", "python"},
    "example": {"bash"},
    "parsed": {"yaml", "toml", "ini"},
    "campaign": {"yaml"},
    "excerpt": {"bash", "python", "console", "text"},
}
ALL = [block for page in PAGES for block in blocks(page)]
RUN = sorted({block.page for block in ALL if block.mark == "run"} - {README})
SLOW = sorted({block.page for block in ALL if block.mark == "slow"})
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def marked(mark: str) -> list[Block]:
    return [block for block in ALL if block.mark == mark]


def run_bash(block: Block, directory: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {k: v for k, v in os.environ.items() if k != "MAGFLOW_MONGO_URI"} | {"PATH": path, "HOME": str(directory)}
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


def run_page(page: Path, directory: Path, marks: tuple[str, ...] = ("run",)) -> None:
    """All blocks with such a mark, in order; those in Python share their names, as in a notebook."""
    module = ModuleType(f"page_{page.stem}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)  # where pickle looks for the classes of a page
        for block in (block for block in blocks(page) if block.mark in marks):
            if block.language == "bash":
                run_bash(block, directory)
            else:
                exec(compile(block.text, str(page), "exec", dont_inherit=True), module.__dict__)


@pytest.fixture(scope="module")
def readme(tmp_path_factory):
    """The directory in which the blocks of the README were run."""
    directory = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        run_page(README, directory)
    records = read_extxyz(directory / "labels.extxyz")
    write_extxyz(
        directory / "start.extxyz", [Frame(("Fe", "Fe"), 2.836 * np.eye(3), [[0] * 3, [1.418] * 3], [2.2, 2.2])]
    )
    write_extxyz(directory / "unseen.extxyz", records[-10:])
    return directory


@pytest.mark.timeout(600)
def test_what_the_readme_says_works(readme):
    assert (readme / "report.html").stat().st_size > 10_000
    assert "model Hamiltonian" in (readme / "report.html").read_text()
    assert "magnetic_forces_deviation" in (readme / "predicted.extxyz").read_text()
    assert json.loads((readme / "iterations.json").read_text())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_what_the_page_says_works(page, readme, tmp_path, monkeypatch):
    shutil.copytree(readme, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", SLOW, ids=lambda page: page.name)
def test_what_takes_longer_works(page, readme, tmp_path, monkeypatch):
    shutil.copytree(readme, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path, ("run", "slow"))


def cells(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_notebooks_run(notebook, readme, tmp_path, monkeypatch):
    shutil.copytree(readme, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict = {"__name__": "__main__"}
    for cell in cells(notebook):
        exec(compile("".join(cell["source"]), notebook.name, "exec", dont_inherit=True), names)
        plt.close("all")  # as a notebook does


def test_notebooks_hold_no_output():
    assert len(NOTEBOOKS) == 2
    assert not any(cell["outputs"] for notebook in NOTEBOOKS for cell in cells(notebook))


@pytest.mark.parametrize("block", ALL, ids=str)
def test_every_block_is_run_or_says_why_not(block):
    assert block.mark is not None, f"{block}: the line before the fence says nothing"
    assert block.language in LANGUAGES[block.mark]
    assert block.about or block.mark in ("run", "slow", "example", "parsed")


def test_most_of_what_can_be_run_is_run():
    assert len(marked("run")) >= 20
    not_run = [block for block in marked("excerpt") if block.language != "text"]
    assert len(marked("run")) + len(marked("slow")) + len(marked("parsed")) + len(marked("campaign")) > len(not_run)


def test_no_command_hides_in_an_indented_block():
    for page in PAGES:
        text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.M | re.S)
        assert not re.search(r"^    (magflow|pip|make|python|export) ", text, re.M), page.name


@pytest.mark.parametrize("block", marked("parsed"), ids=str)
def test_what_other_programs_read_can_be_parsed(block):
    if block.language == "yaml":
        assert YAML(typ="safe").load(block.text)
    elif block.language == "toml":
        assert tomllib.loads(block.text)
    else:
        parser = configparser.RawConfigParser()
        parser.read_string(block.text)
        assert parser.sections()


@pytest.mark.parametrize("block", marked("campaign"), ids=str)
def test_parts_of_a_campaign_file_are_valid(block):
    template, _, key = block.about.partition(" ")
    folder = ROOT / "src" / "magflow" / "campaign" / "templates"
    whole = YAML(typ="safe").load((folder / f"{template}.yaml").read_text())
    part = YAML(typ="safe").load(block.text)
    if key:
        *above, last = key.split(".")
        place = whole
        for name in above:
            place = place[name]
        place[last] = part
    else:
        whole |= part
    CampaignSpec.model_validate_json(json.dumps(whole), strict=True)


def test_every_link_and_file_it_names_is_there():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} names {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short(page):
    long = [f"{n}: {line}" for n, line in enumerate(page.read_text().splitlines(), 1) if len(line) > WIDTH]
    assert not long, "\n".join(long)


def test_no_figure_is_a_placeholder():
    assert "@@" not in README.read_text()
