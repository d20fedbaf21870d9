"""What every label engine must do. A new engine adds one line to CASES."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

import replay_vasp
from magflow.core import plugins
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame, LabelKind, LevelOfTheory, label_id
from magflow.core.protocols import LabelEngine, Probe

TWO_ATOMS = Frame(("Fe", "Al"), 2.884 * np.eye(3), [[0.02, 0, 0], [1.47, 1.44, 1.40]], [1.5, -0.02])


@dataclass(frozen=True)
class Case:
    """One engine under test, with the tolerance of its derivatives (eV/A, eV/muB).

    `needs` is a program on PATH; `prepare` sets up what else the engine finds on a machine.
    """

    name: str
    settings: dict = field(default_factory=dict)
    step: float = 1e-3
    tolerance: float = 1e-5
    needs: str | None = None
    prepare: Callable[[pytest.MonkeyPatch, Path], None] | None = None


def stand_in_potcars(patch: pytest.MonkeyPatch, folder: Path) -> None:
    from pymatgen.core import SETTINGS

    patch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(replay_vasp.write_potcars(folder)))


def replayed_vasp(constraint: dict, tolerance: float) -> Case:
    """VASP's formats with the numbers of the model Hamiltonian; a penalty misses its target by F / (2 LAMBDA)."""
    command = f"{sys.executable} {replay_vasp.__file__}"
    settings = {"version": replay_vasp.VERSION, "command": command, "overlap_limit": 1, "constraint": constraint}
    return Case("vasp", settings, step=0.02, tolerance=tolerance, prepare=stand_in_potcars)


CASES = [
    pytest.param(Case("spin-lattice"), id="spin-lattice"),
    pytest.param(
        # Coarse, to be fast. The tolerance is what plane waves on a grid leave: the grid does not move with the
        # atoms, which is why the displacements below are opposite ones.
        Case(
            "abinit",
            {"kpoints": (2, 2, 2), "ecut_ha": 8, "pawecutdg_ha": 12, "bands_per_electron": 0.8},
            step=0.02,
            tolerance=4e-3,
            needs="abinit",
        ),
        id="abinit",
        marks=pytest.mark.abinit,
    ),
    pytest.param(replayed_vasp({"method": "penalty", "ladder": [2000]}, 4e-3), id="vasp-penalty"),
    pytest.param(replayed_vasp({"method": "deltaspin"}, 2e-3), id="vasp-deltaspin"),
]


@pytest.fixture(params=CASES, scope="module")
def case(request, tmp_path_factory):
    case = request.param
    if case.needs and shutil.which(case.needs) is None:
        pytest.skip(f"{case.needs} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAGFLOW_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        if case.prepare:
            case.prepare(patch, tmp_path_factory.mktemp("installation"))
        yield case


@pytest.fixture(scope="module")
def kind_of_engine(case):
    return plugins.load(plugins.LABEL_ENGINES, case.name)


@pytest.fixture(scope="module")
def engine(case, kind_of_engine):
    return kind_of_engine(**case.settings)


@pytest.fixture(scope="module")
def compute(engine, tmp_path_factory):
    """Label a frame in an empty directory."""
    return lambda frame: engine.label(frame, engine.level_of_theory(["Al", "Fe"]), tmp_path_factory.mktemp("label"))


@pytest.fixture(scope="module")
def label(compute):
    return compute(TWO_ATOMS)


def test_is_a_label_engine_with_its_registered_name(case, engine):
    assert isinstance(engine, LabelEngine)
    assert engine.name == case.name
    assert isinstance(engine.kind, LabelKind)


def test_settings_are_frozen_closed_and_described(kind_of_engine, engine):
    assert issubclass(kind_of_engine, BaseModel)
    with pytest.raises(ValidationError):
        engine.kind = LabelKind.NON_MAGNETIC
    with pytest.raises(ValidationError):
        kind_of_engine(no_such_setting=1)
    assert all(f.description for f in kind_of_engine.model_fields.values())
    assert kind_of_engine.model_validate_json(engine.model_dump_json()) == engine


@pytest.mark.parametrize("kind", list(LabelKind))
def test_every_kind_has_its_own_level_of_theory(case, kind_of_engine, kind):
    level = kind_of_engine(**case.settings | {"kind": kind}).level_of_theory(["Fe", "Al"])
    assert level.kind == kind


def test_level_of_theory_is_stable_and_goes_through_json(engine):
    level = engine.level_of_theory(["Fe", "Al"])
    assert level.fingerprint == engine.level_of_theory(["Al", "Fe", "Al"]).fingerprint
    again = LevelOfTheory.from_dict(json.loads(json.dumps(level.as_dict())))
    assert again.fingerprint == level.fingerprint


def test_probe_reports_and_never_raises(engine):
    good = engine.probe(["Fe", "Al"])
    assert good
    assert all(isinstance(p, Probe) and p.ok for p in good), good
    bad = [p for p in engine.probe(["Fe", "Xx"]) if not p.ok]
    assert bad
    assert all(p.hint for p in bad)


def test_label_is_complete(engine, label):
    assert label.ok, label.failure
    assert label.label_id == label_id(TWO_ATOMS.frame_id, engine.level_of_theory(["Al", "Fe"]))
    assert label.attempts >= 1
    assert label.cost.cpu_seconds > 0
    assert label.cost.wall_seconds > 0
    checked = LabeledFrame(TWO_ATOMS, label)  # shapes
    assert checked.label.stress.shape == (6,)
    np.testing.assert_allclose(label.magmoms, TWO_ATOMS.magmoms, atol=1e-3)
    np.testing.assert_allclose(label.forces.sum(axis=0), 0, atol=1e-6)
    json.dumps(dict(label.details))


def test_same_label_again(label, compute):
    again = compute(TWO_ATOMS)
    assert again.energy == pytest.approx(label.energy, abs=1e-9)
    np.testing.assert_allclose(again.magnetic_forces, label.magnetic_forces, atol=1e-8)


def test_leftovers_of_an_interrupted_attempt_do_not_matter(engine, label, tmp_path):
    level = engine.level_of_theory(["Al", "Fe"])
    assert engine.label(TWO_ATOMS, level, tmp_path).ok
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (tmp_path / "stray").write_text("something")
    again = engine.label(TWO_ATOMS, level, tmp_path)
    assert again.energy == pytest.approx(label.energy, abs=1e-9)


def test_time_reversal(label, compute):
    reverse = compute(TWO_ATOMS.replace(magmoms=-TWO_ATOMS.magmoms))
    assert reverse.label_id == label.label_id
    turned = reverse.for_frame(TWO_ATOMS)
    assert turned.energy == pytest.approx(label.energy, abs=1e-9)
    np.testing.assert_allclose(turned.magmoms, label.magmoms, atol=1e-9)
    np.testing.assert_allclose(turned.magnetic_forces, label.magnetic_forces, atol=1e-9)


def test_forces_are_minus_the_gradient(case, label, compute):
    along = np.array([[0.6, -0.5, 0.62], [-0.6, 0.5, -0.62]])
    plus, minus = (
        compute(TWO_ATOMS.replace(positions=TWO_ATOMS.positions + s * case.step * along)).energy for s in (1, -1)
    )
    assert (minus - plus) / (2 * case.step) == pytest.approx(np.sum(label.forces * along), abs=case.tolerance)


def test_magnetic_forces_are_minus_the_derivative_with_respect_to_the_moments(case, label, compute):
    along = np.array([[0, 0, 0.8], [0, 0, -0.6]])
    plus, minus = (
        compute(TWO_ATOMS.replace(magmoms=TWO_ATOMS.magmoms + s * case.step * along)).energy for s in (1, -1)
    )
    assert (minus - plus) / (2 * case.step) == pytest.approx(np.sum(label.magnetic_forces * along), abs=case.tolerance)


def test_constrained_label_without_moments_fails_as_a_label(compute):
    bare = Frame(TWO_ATOMS.species, TWO_ATOMS.cell, TWO_ATOMS.positions)
    label = compute(bare)
    assert not label.ok
    assert label.failure.message
    assert label.energy is None


def test_free_and_non_magnetic_labels(case, kind_of_engine, label, tmp_path):
    found = {}
    for kind in (LabelKind.SPIN_POLARISED, LabelKind.NON_MAGNETIC):
        engine = kind_of_engine(**case.settings | {"kind": kind})
        workdir: Path = tmp_path / kind
        workdir.mkdir()
        found[kind] = engine.label(TWO_ATOMS, engine.level_of_theory(["Al", "Fe"]), workdir)
        assert found[kind].ok, found[kind].failure
        assert found[kind].magnetic_forces is None
    assert found[LabelKind.NON_MAGNETIC].magmoms is None
    assert found[LabelKind.SPIN_POLARISED].magmoms.shape == (2, 3)
    assert found[LabelKind.SPIN_POLARISED].energy <= label.energy + 1e-6
