"""What is handed out: an sdist of all that is tracked, a wheel with the whole package, on which the README runs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from magflow.potentials.mmtp.lammps.build import _FLAGS, _X86, _flags_of_sources

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "src" / "magflow" / "potentials" / "mmtp" / "csrc"
NOT_HANDED_OUT = (".ci/", ".github/", ".pre-commit-config.yaml")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


def run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    return run("git", "ls-files").splitlines()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The sdist, and the wheel that was made from it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, ROOT)
    return out


def test_the_sdist_has_what_is_tracked_and_nothing_else(made, tracked):
    (path,) = made.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if not member.isdir()}
    assert names - {"PKG-INFO"} == {name for name in tracked if not name.startswith(NOT_HANDED_OUT)}


def test_the_wheel_has_the_whole_package(made, tracked):
    (path,) = made.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    (about,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    package = {name for name in names if name.startswith("magflow/")}
    (kernel,) = {name for name in package if name.endswith(".so")}
    assert kernel.startswith("magflow/potentials/mmtp/_kernel.")
    assert package - {kernel} == {n.removeprefix("src/") for n in tracked if n.startswith("src/magflow/")}
    assert names - package == {
        f"{about}/{n}" for n in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }


def test_an_empty_environment_runs_the_readme(made, tmp_path):
    (wheel,) = made.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "empty")
    python = tmp_path / "empty" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert "== README.md: magflow export" in run(python, ROOT / "scripts" / "first_minutes.py", cwd=tmp_path)


@pytest.mark.parametrize("name", _X86)
def test_code_for_one_instruction_set_is_called_by_its_own_name_alone(name, tmp_path):
    """A function that the linker may take for another's would end a machine without these instructions."""
    if name not in (flags := _flags_of_sources()):
        pytest.skip("not an x86-64")
    run("c++", *_FLAGS, *flags[name], "-c", f"{name}.cpp", "-o", tmp_path / "engine.o", cwd=CSRC)
    symbols = run("nm", "-C", "--defined-only", "--extern-only", tmp_path / "engine.o").splitlines()
    assert [line.split()[-2:] for line in symbols] == [["D", f"mmtp::{name}"]]
