"""What a release is made by: one version everywhere, notes out of the change log, a workflow that can be read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ruamel.yaml import YAML

import release_notes

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]
IN_CONDA = {"matplotlib": "matplotlib-base", "netCDF4": "netcdf4", "vesin": "python-vesin"}
"""What conda-forge calls otherwise."""
OF_DEBIAN = {"bookworm": "3.11", "trixie": "3.13"}
"""Python of the releases."""


def test_the_notes_are_the_section_of_the_version():
    text = release_notes.notes(VERSION)
    assert text.startswith("### ")
    assert "\n## " not in text
    assert f"## {VERSION}\n\n{text}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("file", ["CHANGELOG.md", *release_notes.VERSIONED])
def test_a_version_that_is_not_the_same_everywhere_is_not_released(tmp_path, monkeypatch, file):
    for name in ("CHANGELOG.md", *release_notes.VERSIONED):
        text = (ROOT / name).read_text()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace(VERSION, "9.9.9") if name == file else text)
    monkeypatch.setattr(release_notes, "ROOT", tmp_path)
    said = f"says nothing of {VERSION}" if file == "CHANGELOG.md" else f"says version 9.9.9; expected: {VERSION}"
    with pytest.raises(ValueError, match=re.escape(f"{file} {said}")):
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


def requirements(lines: list[str], names: dict[str, str] | None = None) -> dict[str, SpecifierSet]:
    """By name, as pip and conda write them."""
    found = [Requirement(line) for line in lines]
    return {(names or {}).get(r.name, r.name): r.specifier for r in found}


def test_the_conda_recipe_asks_for_what_the_project_asks_for():
    recipe = YAML(typ="safe").load((ROOT / "config" / "conda" / "recipe.yaml").read_text())
    of = recipe["requirements"]
    assert recipe["context"]["version"] == VERSION
    assert requirements(of["run"]) == requirements(["python", *PROJECT["project"]["dependencies"]], IN_CONDA)
    assert requirements(of["host"]) == requirements(["python", "pip", *PROJECT["build-system"]["requires"]])
    floor = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f'match(python, "<{floor}")' in recipe["build"]["skip"]
    assert recipe["about"]["license"] == PROJECT["project"]["license"]
    assert recipe["about"]["summary"] == PROJECT["project"]["description"]


def test_the_container_is_made_of_what_is_there():
    text = (ROOT / "Containerfile").read_text()
    asked = PROJECT["project"]["requires-python"]
    (debian,) = re.findall(r"debian:(\w+)-slim", text)
    assert OF_DEBIAN[debian] in SpecifierSet(asked)
    for copied in re.findall(r"^COPY (?!--from)(.+) /source\S*$", text, re.M):
        assert all((ROOT / name).exists() for name in copied.split())
    # the engines come from where `make engines` takes them
    engines = re.findall(r'missing="\$missing ([\w -]+)"', (ROOT / "scripts" / "install_engines.sh").read_text())
    (packages,) = re.findall(r"install --yes --no-install-recommends (abinit .+) \\\n", text)
    assert set(" ".join(engines).split()) | {"python3-venv"} == set(packages.split())
    last_user = re.findall(r"^USER (.+)$", text, re.M)[-1]
    assert last_user != "root"
    assert f"useradd --create-home {last_user}" in text
    assert 'ENTRYPOINT ["magflow"]' in text
