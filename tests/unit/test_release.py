"""What a release is made by: one version everywhere, notes out of the change log, a workflow that can be read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import release_notes

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]


def test_the_notes_are_the_section_of_the_version():
    text = release_notes.notes(VERSION)
    assert text.startswith("### ")
    assert "\n## " not in text
    assert f"## {VERSION}\n\n{text}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("CHANGELOG.md", f"## {VERSION}", "## 9", f"CHANGELOG.md says nothing of {VERSION}"),
        ("CITATION.cff", f"version: {VERSION}", "version: 9", f"CITATION.cff says version 9; expected: {VERSION}"),
        (
            "pyproject.toml",
            f'version = "{VERSION}"',
            'version = "9"',
            f"pyproject.toml says version 9; expected: {VERSION}",
        ),
    ],
)
def test_a_version_that_is_not_the_same_everywhere_is_not_released(tmp_path, monkeypatch, file, old, new, said):
    for name in ("CHANGELOG.md", "CITATION.cff", "pyproject.toml"):
        text = (ROOT / name).read_text()
        assert old in text or name != file
        (tmp_path / name).write_text(text.replace(old, new) if name == file else text)
    monkeypatch.setattr(release_notes, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=re.escape(said)):
        release_notes.notes(VERSION)


def test_what_the_workflows_call_is_there():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = path.read_text()
        workflow = YAML(typ="safe").load(text)
        for job in workflow["jobs"].values():
            needed = job.get("needs", [])
            assert {needed} if isinstance(needed, str) else set(needed) <= workflow["jobs"].keys()
        for script in re.findall(r"\bscripts/\w+\.\w+", text + PROJECT["tool"]["cibuildwheel"]["test-command"]):
            assert (ROOT / script).is_file(), script
        for target in re.findall(r"\bmake (\w[\w-]*)", text):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target


def test_wheels_are_made_for_every_python_that_is_promised():
    promised = {c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"] if re.search(r"Python :: 3\.\d+$", c)}
    made = {f"3.{n}" for n in re.findall(r"cp3(\d+)-", " ".join(PROJECT["tool"]["cibuildwheel"]["build"]))}
    assert made == promised
