"""The spin-lattice model Hamiltonian: derivatives, symmetries, physics, and its label engine."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

from magflow.core import plugins
from magflow.core.frame import Frame
from magflow.core.label import FailureKind, LabeledFrame, LabelKind
from magflow.core.protocols import LabelEngine
from magflow.core.units import EV_PER_A3_IN_GPA, tensor
from magflow.dft.spin_lattice import FE_AL, SpinLatticeEngine, SpinLatticeModel, calculator
from magflow.dft.spin_lattice import engine as engine_module
from magflow.errors import InputError

MODEL = SpinLatticeModel()


def cubic(species: tuple[str, str], a: float, moments: tuple[float, float]) -> Frame:
    return Frame(species, np.eye(3) * a, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) * a, np.array(moments))


def rattled(seed: int, n: int = 1, *, collinear: bool = False) -> Frame:
    """A deformed n x 1 x 1 cell of Fe-Al with random moments, vectors unless `collinear`."""
    rng = np.random.default_rng(seed)
    species = tuple(rng.choice(["Fe", "Al"], 2 * n))
    cell = np.diag([2.86 * n, 2.86, 2.86]) @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3)))
    ideal = np.array([[(i + 0.5 * h) / n, 0.5 * h, 0.5 * h] for i in range(n) for h in (0, 1)])
    positions = ideal @ cell + 0.08 * rng.normal(size=(2 * n, 3))
    moments = rng.normal(size=(2 * n, 3)) * np.where(np.array(species) == "Fe", 1.2, 0.1)[:, None]
    if collinear:
        moments[:, :2] = 0.0
    return Frame(species, cell, positions, moments)


def energy(frame: Frame) -> float:
    return float(MODEL.predict([frame]).energy[0])


FRAMES = [rattled(1), rattled(2, 2), rattled(3, 3), rattled(4, collinear=True)]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda f: f.formula)
class TestDerivatives:
    h = 1e-4

    def central(self, at) -> float:
        """Fourth-order central difference of the energy of the frames ``at(t)``."""
        e = {k: energy(at(k * self.h)) for k in (-2, -1, 1, 2)}
        return (8 * (e[1] - e[-1]) - (e[2] - e[-2])) / (12 * self.h)

    def test_forces(self, frame):
        forces = MODEL.predict([frame]).forces
        for i, k in np.ndindex(forces.shape):
            unit = np.zeros_like(forces)
            unit[i, k] = 1.0
            numerical = -self.central(lambda t, u=unit: frame.replace(positions=frame.positions + t * u))
            assert forces[i, k] == pytest.approx(numerical, abs=1e-8)

    def test_magnetic_forces(self, frame):
        magnetic = MODEL.predict([frame]).magnetic_forces
        for i, k in np.ndindex(magnetic.shape):
            unit = np.zeros_like(magnetic)
            unit[i, k] = 1.0
            numerical = -self.central(lambda t, u=unit: frame.replace(magmoms=frame.magmoms + t * u))
            assert magnetic[i, k] == pytest.approx(numerical, abs=1e-8)

    def test_stress(self, frame):
        stress = MODEL.predict([frame]).stress[0]

        def strained(t, direction):
            deformation = np.eye(3) + t * direction
            return frame.replace(cell=frame.cell @ deformation, positions=frame.positions @ deformation)

        for component in range(6):
            direction = tensor(np.eye(6)[component])
            count = 1 if component < 3 else 2  # a shear component stands for two entries of the tensor
            numerical = self.central(lambda t, d=direction: strained(t, d)) / (frame.volume * count)
            assert stress[component] == pytest.approx(numerical, abs=1e-9)


def test_derivatives_of_atoms_near_the_cutoff():
    """The cutoff is smooth: no jump of energy or force when a pair crosses either end of it."""
    for edge in (FE_AL.cutoff_start, FE_AL.cutoff_end):
        p = [
            MODEL.predict([Frame(("Fe", "Fe"), np.eye(3) * 30, [[0, 0, 0], [edge + d, 0, 0]], [2.0, 2.0])])
            for d in (-1e-6, 1e-6)
        ]
        assert p[0].energy[0] == pytest.approx(p[1].energy[0], abs=1e-6)
        assert p[0].forces == pytest.approx(p[1].forces, abs=1e-5)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda f: f.formula)
class TestSymmetries:
    def test_time_reversal(self, frame):
        a, b = MODEL.predict([frame, frame.time_reversed()]).frame(0), MODEL.predict([frame.time_reversed()])
        assert a.energy == pytest.approx(b.energy, abs=1e-12)
        assert a.forces == pytest.approx(b.forces, abs=1e-12)
        assert a.magnetic_forces == pytest.approx(-b.magnetic_forces, abs=1e-12)

    def test_rotation_of_space_and_of_spins(self, frame):
        r, s = Rotation.random(2, rng=np.random.default_rng(0)).as_matrix()
        turned = Frame(frame.species, frame.cell @ r, frame.positions @ r, frame.magmoms @ s)
        a, b = MODEL.predict([frame]), MODEL.predict([turned])
        assert b.energy == pytest.approx(a.energy, abs=1e-11)
        assert b.forces == pytest.approx(a.forces @ r, abs=1e-10)
        assert b.magnetic_forces == pytest.approx(a.magnetic_forces @ s, abs=1e-10)
        assert tensor(b.stress[0]) == pytest.approx(r.T @ tensor(a.stress[0]) @ r, abs=1e-10)

    def test_permutation_and_periodic_images(self, frame):
        order = np.random.default_rng(1).permutation(len(frame))
        shifts = np.random.default_rng(2).integers(-2, 3, (len(frame), 3)) @ frame.cell
        other = Frame(
            tuple(frame.species[k] for k in order), frame.cell, (frame.positions + shifts)[order], frame.magmoms[order]
        )
        a, b = MODEL.predict([frame]), MODEL.predict([other])
        assert b.energy == pytest.approx(a.energy, abs=1e-11)
        assert b.forces == pytest.approx(a.forces[order], abs=1e-10)
        assert b.magnetic_forces == pytest.approx(a.magnetic_forces[order], abs=1e-10)

    def test_supercell_is_extensive(self, frame):
        double = Frame(
            frame.species * 2,
            frame.cell * np.array([[1], [2], [1]]),
            np.concatenate([frame.positions, frame.positions + frame.cell[1]]),
            np.tile(frame.magmoms, (2, 1)),
        )
        a, b = MODEL.predict([frame]), MODEL.predict([double])
        assert b.energy == pytest.approx(2 * a.energy, abs=1e-11)
        assert b.stress == pytest.approx(a.stress, abs=1e-11)
        assert b.magnetic_forces == pytest.approx(np.tile(a.magnetic_forces, (2, 1)), abs=1e-10)

    def test_forces_add_up_to_zero(self, frame):
        assert MODEL.predict([frame]).forces.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)


def test_a_batch_equals_its_frames_one_by_one():
    together = MODEL.predict(FRAMES)
    for i, frame in enumerate(FRAMES):
        alone = MODEL.predict([frame])
        for name in ("energy", "forces", "stress", "magnetic_forces"):
            assert getattr(together.frame(i), name) == pytest.approx(getattr(alone, name), abs=1e-12)
    assert len(MODEL.predict([])) == 0


def test_an_isolated_atom_has_no_forces():
    p = MODEL.predict([Frame(("Al",), np.eye(3) * 20, np.zeros((1, 3)))])
    assert p.energy[0] == pytest.approx(0.0, abs=1e-3)
    assert not p.forces.any()
    assert not p.stress.any()


class TestPhysics:
    """Numbers of the right size; nothing more is claimed."""

    def relaxed(self, species, a, start):
        label = SpinLatticeEngine(kind="spin-polarised").label(cubic(species, a, start), THEORY, None)
        return label.energy, label.magmoms[:, 2]

    @pytest.mark.parametrize(
        ("species", "a0", "moment"), [(("Fe", "Fe"), 2.836, 2.2), (("Fe", "Al"), 2.884, 0.7)], ids=["bcc-Fe", "B2-FeAl"]
    )
    def test_equilibrium(self, species, a0, moment):
        start = (2.0, 2.0 if species[1] == "Fe" else 0.0)
        found = minimize_scalar(
            lambda a: self.relaxed(species, a, start)[0], bounds=(2.7, 3.0), method="bounded", options={"xatol": 1e-3}
        )
        assert found.x == pytest.approx(a0, abs=0.02)
        assert abs(self.relaxed(species, found.x, start)[1][0]) == pytest.approx(moment, abs=0.15)

    def test_ferromagnetic_iron_lies_below_antiferromagnetic_below_non_magnetic(self):
        fm = self.relaxed(("Fe", "Fe"), 2.836, (2.2, 2.2))[0]
        afm = self.relaxed(("Fe", "Fe"), 2.836, (1.5, -1.5))[0]
        nm = energy(cubic(("Fe", "Fe"), 2.836, (0.0, 0.0)))
        assert 0.2 < (afm - fm) / 2 < 0.5
        assert 0.4 < (nm - fm) / 2 < 0.7

    def test_forces_and_stresses_are_of_the_size_of_dft(self):
        frame = cubic(("Fe", "Al"), 2.884, (1.0, 0.0))
        p = MODEL.predict([frame.replace(positions=frame.positions + np.array([[0.1, 0, 0], [0, 0, 0]]))])
        assert 0.3 < abs(p.forces).max() < 2.0
        volume_up = MODEL.predict([cubic(("Fe", "Al"), 2.884 * 1.01, (1.0, 0.0))])
        bulk = (volume_up.stress - MODEL.predict([frame]).stress)[0, :3].mean() / 0.03 * EV_PER_A3_IN_GPA
        assert 120 < bulk < 230


ENGINE = SpinLatticeEngine()
THEORY = ENGINE.level_of_theory(["Fe", "Al"])


class TestEngine:
    def test_is_registered_and_a_label_engine(self):
        assert plugins.load(plugins.LABEL_ENGINES, "spin-lattice") is SpinLatticeEngine
        assert isinstance(ENGINE, LabelEngine)

    def test_says_that_it_is_a_model(self):
        assert THEORY.code == "spin-lattice model Hamiltonian"
        assert "model" in SpinLatticeEngine.__doc__
        assert "model Hamiltonian" in ENGINE.probe(["Fe"])[0].detail

    def test_level_of_theory_is_that_of_the_campaign_and_ignores_what_does_not_change_the_answer(self):
        other = SpinLatticeEngine(seconds=1.0, failure_rate=0.5)
        assert other.level_of_theory(["Fe"]).fingerprint == THEORY.fingerprint
        assert SpinLatticeEngine(kind="non-magnetic").level_of_theory(["Fe"]).fingerprint != THEORY.fingerprint

    def test_constrained_label_is_the_model(self, tmp_path):
        frame = rattled(5, 2)
        item = LabeledFrame(frame, ENGINE.label(frame, THEORY, tmp_path))
        p = MODEL.predict([frame])
        assert item.label.energy == p.energy[0]
        assert np.array_equal(item.label.forces, p.forces)
        assert np.array_equal(item.label.magnetic_forces, p.magnetic_forces)
        assert np.array_equal(item.label.magmoms, frame.magmoms)
        assert not list(tmp_path.iterdir())

    def test_atoms_that_are_not_constrained_relax(self, tmp_path):
        ideal = cubic(("Fe", "Al"), 2.884, (1.5, 0.0))
        frame = Frame(ideal.species, ideal.cell, ideal.positions, ideal.magmoms, np.array([True, False]))
        label = ENGINE.label(frame, THEORY, tmp_path)
        assert label.magmoms[0, 2] == 1.5
        assert label.magmoms[1, 2] == pytest.approx(-0.06, abs=0.05)
        assert label.magmoms[1, 2] != 0.0
        assert np.isnan(label.magnetic_forces[1]).all()
        assert np.isfinite(label.magnetic_forces[0]).all()

    def test_spin_polarised_label_stands_at_a_minimum(self, tmp_path):
        engine = SpinLatticeEngine(kind="spin-polarised")
        frame = rattled(6, 2, collinear=True)
        label = engine.label(frame, engine.level_of_theory(["Fe"]), tmp_path)
        assert label.magnetic_forces is None
        assert abs(MODEL.predict([frame.replace(magmoms=label.magmoms)]).magnetic_forces).max() < 1e-5
        assert not label.magmoms[:, :2].any()
        assert label.energy <= energy(frame)

    @pytest.mark.parametrize(("kind", "ok"), [("spin-polarised", False), ("constrained", True)])
    def test_free_moments_that_did_not_relax_fail_the_label(self, kind, ok, tmp_path, monkeypatch):
        """As if the minimiser had got nowhere; where no moment is free nothing has to relax."""
        monkeypatch.setattr(engine_module, "relaxed", lambda model, frame, free: frame.magmoms)
        engine = SpinLatticeEngine(kind=kind)
        label = engine.label(rattled(6), engine.level_of_theory(["Fe"]), tmp_path)
        assert label.ok is ok
        if not ok:
            assert label.failure.kind is FailureKind.SCF_UNCONVERGED
            assert "free moments not relaxed" in label.failure.message

    def test_non_magnetic_label_has_no_moments(self, tmp_path):
        engine = SpinLatticeEngine(kind=LabelKind.NON_MAGNETIC)
        frame = rattled(7)
        label = engine.label(frame, engine.level_of_theory(["Fe"]), tmp_path)
        assert label.magmoms is None
        assert label.magnetic_forces is None
        assert label.energy == energy(frame.replace(magmoms=np.zeros((2, 3)))) == energy(frame.non_magnetic())

    def test_failure_rate_is_met_and_fixed_by_the_frame(self, tmp_path):
        engine = SpinLatticeEngine(failure_rate=0.3)
        frames = [rattled(s) for s in range(300)]
        failed = [not engine.label(f, THEORY, tmp_path).ok for f in frames]
        assert 0.2 < np.mean(failed) < 0.4
        assert failed == [not engine.label(f.time_reversed(), THEORY, tmp_path).ok for f in frames]
        one = next(f for f, bad in zip(frames, failed, strict=True) if bad)
        assert engine.label(one, THEORY, tmp_path).failure.kind is FailureKind.SCF_UNCONVERGED

    @pytest.mark.parametrize(
        ("frame", "word"),
        [(Frame(("Cr",), np.eye(3) * 2.9, np.zeros((1, 3)), [1.0]), "Cr"), (rattled(8).non_magnetic(), "moments")],
        ids=["unknown-element", "no-moments"],
    )
    def test_a_frame_it_cannot_do_is_a_failed_label(self, frame, word, tmp_path):
        label = ENGINE.label(frame, THEORY, tmp_path)
        assert label.failure.kind is FailureKind.INVALID_INPUT
        assert word in label.failure.message

    def test_unknown_elements_are_said_before_anything_runs(self):
        with pytest.raises(InputError, match="Cr"):
            ENGINE.level_of_theory(["Fe", "Cr"])
        probe = ENGINE.probe(["Cr"])[0]
        assert not probe.ok
        assert probe.hint

    def test_duration_is_kept_and_costed(self, tmp_path):
        label = SpinLatticeEngine(seconds=0.05).label(rattled(9), THEORY, tmp_path)
        assert label.cost.wall_seconds >= 0.05

    def test_a_two_atom_label_takes_milliseconds(self, tmp_path):
        frame = rattled(10)
        ENGINE.label(frame, THEORY, tmp_path)
        times = []
        for _ in range(20):
            begin = time.perf_counter()
            ENGINE.label(frame, THEORY, tmp_path)
            times.append(time.perf_counter() - begin)
        assert min(times) < 2e-3


class TestCalculator:
    def test_gives_what_the_model_gives(self):
        from ase import Atoms

        frame = rattled(11, 2)
        atoms = Atoms(frame.species, cell=frame.cell, positions=frame.positions, pbc=True)
        atoms.set_initial_magnetic_moments(frame.magmoms)
        atoms.calc = calculator()
        p = MODEL.predict([frame])
        assert atoms.get_potential_energy() == pytest.approx(p.energy[0])
        assert atoms.get_forces() == pytest.approx(p.forces)
        assert atoms.get_stress() == pytest.approx(p.stress[0])
        assert atoms.calc.results["magnetic_forces"] == pytest.approx(p.magnetic_forces)

    def test_notices_new_moments_and_positions(self):
        from ase import Atoms

        frame = cubic(("Fe", "Fe"), 2.836, (2.2, 2.2))
        atoms = Atoms(frame.species, cell=frame.cell, positions=frame.positions, pbc=True, magmoms=[2.2, 2.2])
        atoms.calc = calculator()
        first = atoms.get_potential_energy()
        atoms.set_initial_magnetic_moments([2.2, -2.2])
        second = atoms.get_potential_energy()
        atoms.positions[0, 0] += 0.1
        assert first < second - 0.5
        assert atoms.get_potential_energy() != second
        assert abs(atoms.get_forces()[0, 0]) > 0.1
