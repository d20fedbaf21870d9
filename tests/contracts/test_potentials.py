"""What every potential family must do. A new family adds one line to FAMILIES."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from magflow.core import plugins
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.protocols import FitReport, Potential, PotentialFamily, SupportsGrades
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.potentials.deepmd import DpFamily, DpSpinFamily
from magflow.potentials.ensemble import PotentialEnsemble, fit_member
from magflow.potentials.mmtp import MmtpFamily

DEEPMD = {
    "cutoff": 3.5,
    "descriptor_neurons": (8, 16),
    "fitting_neurons": (32, 32),
    "batch_atoms": 8,
    "learning_rate": (5e-3, 1e-4),
    "interval": 100,
}

FAMILIES: dict[str, Callable[[], PotentialFamily]] = {
    "mmtp": lambda: MmtpFamily(level=6, cutoff=4.5, n_radial=5, max_iterations=12),
    "mmtp-paper": lambda: MmtpFamily(form="paper", level=6, cutoff=4.5, n_radial=5, max_iterations=12),
    "dp": lambda: DpFamily(steps=200, **DEEPMD),
    "dp-spin": lambda: DpSpinFamily(steps=500, **DEEPMD),
}

ELEMENTS = ("Al", "Fe")
LEVEL = LevelOfTheory("springs", "1", LabelKind.CONSTRAINED, "model Hamiltonian")


def springs(frame: Frame) -> LabeledFrame:
    """Site springs, site Landau terms and one exchange between the two atoms: no pair search, exact derivatives."""
    ideal = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]) @ frame.cell
    bond = frame.positions[1] - frame.positions[0] - (ideal[1] - ideal[0])
    m = frame.magmoms[:, 2]
    stiff = np.array([0.3 if s == "Fe" else 2.0 for s in frame.species])
    shift = sum(-4.0 if s == "Fe" else -2.0 for s in frame.species)
    dm = 2 * stiff * m - 0.05 * m[::-1]
    magnetic = np.zeros((2, 3))
    magnetic[:, 2] = -dm
    return LabeledFrame(
        frame,
        Label(
            frame.frame_id,
            LEVEL,
            frame.orientation,
            energy=float(shift + 0.5 * 6.0 * bond @ bond + (stiff * m**2).sum() - 0.05 * m[0] * m[1]),
            forces=np.array([6.0 * bond, -6.0 * bond]),
            magmoms=frame.magmoms,
            magnetic_forces=magnetic,
        ),
    )


def frames(n: int, seed: int) -> list[Frame]:
    rng = np.random.default_rng(seed)
    out = []
    for k in range(n):
        symbols = ("Fe", "Al" if k % 2 else "Fe")
        cell = 2.87 * np.eye(3)
        positions = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]) @ cell + rng.normal(0, 0.06, (2, 3))
        largest = np.array([2.5, 0.2 if k % 2 else 2.5])
        out.append(Frame(symbols, cell, positions, rng.uniform(-1, 1, 2) * largest))
    return out


TRAIN = Dataset(springs(f) for f in frames(40, seed=0))
TEST = [springs(f) for f in frames(20, seed=1)]


def known(family: PotentialFamily, items: Sequence[LabeledFrame]) -> list[LabeledFrame]:
    """Labels a family can learn: the same springs without moments for one that reads none."""
    if family.magnetic:
        return list(items)
    plain = []
    for item in items:
        still = springs(item.frame.replace(magmoms=np.zeros(2))).label
        frame = item.frame.non_magnetic()
        plain.append(LabeledFrame(frame, Label(frame.frame_id, LEVEL, energy=still.energy, forces=still.forces)))
    return plain


def _param(name: str):
    # Each fit of deepmd-kit starts PyTorch and trains for seconds.
    return pytest.param(name, marks=[pytest.mark.deepmd, pytest.mark.slow] if name.startswith("dp") else [])


@pytest.fixture(scope="module", params=map(_param, sorted(FAMILIES)))
def family(request) -> PotentialFamily:
    if request.param.startswith("dp"):
        request.getfixturevalue("deepmd_kit")
    return FAMILIES[request.param]()


@pytest.fixture(scope="module")
def fitted(family) -> tuple[Potential, FitReport]:
    return family.fit(known(family, list(TRAIN)), elements=ELEMENTS, seed=1)


@pytest.fixture(scope="module")
def potential(fitted) -> Potential:
    return fitted[0]


def test_family_is_registered_settings(family):
    assert isinstance(family, PotentialFamily)
    assert isinstance(family, BaseModel)
    assert plugins.load(plugins.POTENTIAL_FAMILIES, family.name) is type(family)
    with pytest.raises(ValidationError):
        type(family)(no_such_setting=1)
    with pytest.raises(ValidationError):
        family.name_of_nothing = 1
    for name, field in type(family).model_fields.items():
        assert field.description, name
    assert type(family).model_validate_json(family.model_dump_json()) == family


def test_probe_never_raises_and_is_ok_here(family):
    assert all(p.ok and p.name and p.detail for p in family.probe())


def test_fit_learns(family, potential, fitted):
    report, items = fitted[1], known(family, TEST)
    prediction = potential.predict([item.configuration for item in items])
    forces = np.concatenate([item.label.forces for item in items])
    assert np.sqrt(np.mean((prediction.forces - forces) ** 2)) < 0.5 * forces.std()
    energy = np.array([item.label.energy for item in items])
    assert np.corrcoef(prediction.energy, energy)[0, 1] > 0.95
    assert {"energy", "forces"} <= set(report.rmse["train"])
    assert report.cost.wall_seconds > 0.0


def test_shapes(potential):
    batch = [TEST[0].frame, TEST[1].frame, TEST[2].frame]
    prediction = potential.predict(batch)
    assert prediction.counts.tolist() == [2, 2, 2]
    assert prediction.energy.shape == (3,)
    assert prediction.forces.shape == (6, 3)
    assert prediction.stress.shape == (3, 6)
    assert prediction.magnetic_forces is None or prediction.magnetic_forces.shape == (6, 3)
    assert set(potential.species) == set(ELEMENTS)
    assert isinstance(potential, Potential)


def test_no_frames(potential):
    prediction = potential.predict([])
    assert len(prediction) == 0 and prediction.forces.shape == (0, 3) and prediction.stress.shape == (0, 6)


def test_derivatives(potential):
    frame = TEST[3].frame
    prediction = potential.predict([frame])
    step = 1e-4

    def slope(make) -> float:
        up, down = potential.predict([make(step), make(-step)]).energy
        return float(up - down) / (2 * step)

    for atom, axis in ((0, 0), (1, 2)):
        unit = np.zeros((2, 3))
        unit[atom, axis] = 1.0
        found = slope(lambda h, u=unit: frame.replace(positions=frame.positions + h * u))
        assert prediction.forces[atom, axis] == pytest.approx(-found, abs=1e-5, rel=1e-4)
        if axis == 2 and prediction.magnetic_forces is not None:
            found = slope(lambda h, u=unit: frame.replace(magmoms=frame.magmoms + h * u))
            assert prediction.magnetic_forces[atom, 2] == pytest.approx(-found, abs=1e-5, rel=1e-4)
    for k in (0, 5):
        strain = tensor(np.eye(6)[k]) * (1.0 if k < 3 else 0.5)

        def strained(h, strain=strain):
            deform = np.eye(3) + h * strain
            return frame.replace(cell=frame.cell @ deform, positions=frame.positions @ deform)

        assert prediction.stress[0, k] * frame.volume == pytest.approx(slope(strained), abs=1e-4, rel=1e-4)


def test_time_reversal(potential):
    frame = TEST[4].frame
    both = potential.predict([frame, frame.time_reversed()])
    assert both.energy[0] == pytest.approx(both.energy[1], abs=1e-8)
    np.testing.assert_allclose(both.forces[:2], both.forces[2:], atol=1e-7)
    if both.magnetic_forces is not None:
        np.testing.assert_allclose(both.magnetic_forces[:2], -both.magnetic_forces[2:], atol=1e-7)


def test_round_trip(family, potential):
    data = potential.to_bytes()
    assert isinstance(data, bytes)
    loaded = family.load(data)
    batch = [item.frame for item in TEST]
    np.testing.assert_array_equal(loaded.predict(batch).forces, potential.predict(batch).forces)
    assert loaded.species == potential.species and loaded.cutoff == potential.cutoff


@pytest.mark.parametrize("damage", [b"", b"nothing", "half", "flipped"])
def test_a_corrupt_model_is_an_input_error(family, potential, damage):
    data = potential.to_bytes()
    if damage == "half":
        damage = data[: len(data) // 2]
    elif damage == "flipped":
        damage = bytes(255 - b for b in data)
    with pytest.raises(InputError):
        family.load(damage)


def test_unknown_species_is_an_input_error(potential):
    frame = TEST[0].frame
    with pytest.raises(InputError):
        potential.predict([Frame(("Ni", "Fe"), frame.cell, frame.positions, frame.magmoms)])


def test_missing_moments_are_an_input_error(family, potential):
    if not family.magnetic:
        pytest.skip("reads no moments")
    with pytest.raises(InputError):
        potential.predict([TEST[0].frame.non_magnetic()])


def test_calculator(potential):
    from ase import Atoms

    frame = TEST[5].frame
    atoms = Atoms(frame.species, positions=frame.positions, cell=frame.cell, pbc=True, magmoms=frame.magmoms[:, 2])
    atoms.calc = potential.calculator()
    expected = potential.predict([frame])
    assert atoms.get_potential_energy() == pytest.approx(expected.energy[0])
    np.testing.assert_allclose(atoms.get_forces(), expected.forces)
    np.testing.assert_allclose(atoms.get_stress(), expected.stress[0])
    atoms.positions += np.array([[0.0, 0, 0], [0.05, 0, 0]])
    moved = potential.predict([frame.replace(positions=atoms.positions.copy())])
    np.testing.assert_allclose(atoms.get_forces(), moved.forces)


def test_seeds(family, potential):
    again, _ = family.fit(known(family, TRAIN), elements=ELEMENTS, seed=1)
    other, _ = family.fit(known(family, TRAIN), elements=ELEMENTS, seed=2)
    batch = [item.frame for item in TEST]
    np.testing.assert_array_equal(again.predict(batch).energy, potential.predict(batch).energy)
    assert not np.allclose(other.predict(batch).forces, potential.predict(batch).forces, atol=1e-12)


def test_warm_start_and_validation(family, potential):
    _, report = family.fit(
        list(TRAIN), elements=ELEMENTS, seed=1, start=potential, validation=TEST, progress=lambda fraction, text: None
    )
    assert {"train", "validation"} <= set(report.rmse)


def test_a_fit_goes_on_from_its_workdir(family, potential, tmp_path):
    labels = known(family, list(TRAIN))
    first, _ = family.fit(labels, elements=ELEMENTS, seed=1, workdir=tmp_path / "fit")
    again, _ = family.fit(labels, elements=ELEMENTS, seed=1, workdir=tmp_path / "fit")
    batch = [item.frame for item in TEST]
    np.testing.assert_array_equal(first.predict(batch).energy, potential.predict(batch).energy)
    np.testing.assert_array_equal(again.predict(batch).energy, first.predict(batch).energy)
    with pytest.raises(InputError):
        family.fit(labels[:-1], elements=ELEMENTS, seed=1, workdir=tmp_path / "fit")


def test_descriptors_and_grades(potential):
    if not isinstance(potential, SupportsGrades):
        pytest.skip("no descriptors")
    batch = [item.frame for item in TEST]
    descriptors, grades = potential.descriptors(batch), potential.grades(batch)
    assert descriptors.shape[0] == grades.shape[0] == len(batch)
    assert np.isfinite(descriptors).all() and (grades > 0).all()
    np.testing.assert_allclose(potential.descriptors([f.time_reversed() for f in batch]), descriptors, atol=1e-8)


def test_ensemble_saves_and_loads(family, tmp_path):
    members = tuple(fit_member(family, TRAIN, elements=ELEMENTS, seed=5, member=k)[0] for k in range(2))
    ensemble = PotentialEnsemble(members, family.name, {"energy": 2.0}, {"settings": family.model_dump(mode="json")})
    loaded = PotentialEnsemble.load(ensemble.save(tmp_path / "ensemble"))
    batch = [item.frame for item in TEST]
    one, two = ensemble.predict(batch), loaded.predict(batch)
    np.testing.assert_array_equal(one.mean.forces, two.mean.forces)
    np.testing.assert_array_equal(one.deviation.energy, two.deviation.energy)
    assert (one.deviation.forces > 0).any()
    if isinstance(members[0], SupportsGrades):
        assert np.isfinite(ensemble.calculator().potential.grades(batch)).all()
