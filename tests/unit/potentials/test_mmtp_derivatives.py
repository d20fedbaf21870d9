"""Every derivative against finite differences of the energy; the fit's rows and Jacobian against both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mmtp_models import random_frame, random_potential
from mmtp_toy import toy_labels

from magflow.core.frame import Frame
from magflow.core.prediction import QUANTITIES
from magflow.core.units import tensor
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.native import kernel
from magflow.potentials.mmtp.residuals import MmtpWeights, Problem, RowLayout, build_targets

CASES = [
    (Form.EVEN, 8, 3, 5),
    (Form.EVEN, 12, 4, 5),
    (Form.PAPER, 8, 2, 5),
    (Form.EVEN, 16, 3, 5),
    (Form.EVEN, 8, 1, 5),
    (Form.PAPER, 12, 2, 5),
    (Form.EVEN, 12, 3, 8),
    (Form.PAPER, 8, 2, 8),
]
"""Eight polynomials of the distance are compiled with constant bounds."""
STEP = 1e-4


@pytest.fixture(params=CASES, ids=lambda c: "-".join(map(str, c)))
def potential(request):
    form, level, n_psi, n_phi = request.param
    return random_potential(form, level=level, n_psi=n_psi, n_phi=n_phi)


def derivative(energy, step=STEP):
    """Fourth-order central difference at 0."""
    return (8 * (energy(step) - energy(-step)) - (energy(2 * step) - energy(-2 * step))) / (12 * step)


def energy_of(potential, frame):
    return float(potential.predict([frame]).energy[0])


def close(value, expected, scale):
    return abs(value - expected) < 1e-7 * max(scale, 1.0)


def test_forces(potential):
    frame = random_frame(1)
    forces = potential.predict([frame]).forces
    for atom in range(len(frame)):
        for axis in range(3):
            shift = np.zeros((len(frame), 3))
            shift[atom, axis] = 1.0
            slope = derivative(
                lambda h, s=shift: energy_of(potential, frame.replace(positions=frame.positions + h * s))
            )
            assert close(forces[atom, axis], -slope, np.abs(forces).max())


def test_stress(potential):
    frame = random_frame(2)
    stress = potential.predict([frame]).stress[0]
    for k in range(6):
        strain = tensor(np.eye(6)[k]) * (1.0 if k < 3 else 0.5)

        def strained(h, strain=strain):
            deform = np.eye(3) + h * strain
            return energy_of(potential, frame.replace(cell=frame.cell @ deform, positions=frame.positions @ deform))

        assert close(stress[k], derivative(strained) / frame.volume, np.abs(stress).max())


def test_magnetic_forces(potential):
    frame = random_frame(3)
    prediction = potential.predict([frame])
    if not potential.magnetic:
        assert prediction.magnetic_forces is None
        return
    assert not prediction.magnetic_forces[:, :2].any()
    for atom in range(len(frame)):
        shift = np.zeros((len(frame), 3))
        shift[atom, 2] = 1.0
        slope = derivative(lambda h, s=shift: energy_of(potential, frame.replace(magmoms=frame.magmoms + h * s)))
        assert close(prediction.magnetic_forces[atom, 2], -slope, np.abs(prediction.magnetic_forces).max())


def test_smooth_beyond_the_magnetic_range():
    potential = random_potential()
    frame = random_frame(4, ("Fe",))
    moments = frame.magmoms.copy()
    moments[0, 2] = 3.4
    beyond = frame.replace(magmoms=moments)
    shift = np.zeros_like(moments)
    shift[0, 2] = 1.0
    slope = derivative(lambda h: energy_of(potential, beyond.replace(magmoms=moments + h * shift)))
    assert close(potential.predict([beyond]).magnetic_forces[0, 2], -slope, 1.0)
    edge = [frame.replace(magmoms=frame.magmoms * 0 + shift * m) for m in (2.8 - 1e-9, 2.8 + 1e-9)]
    inside, outside = potential.predict(edge).magnetic_forces[[0, len(frame)], 2]
    assert inside == pytest.approx(outside, abs=1e-6)


def test_smooth_below_r_min():
    potential = random_potential()
    cell = np.eye(3) * 9.0

    def pair(r):
        return Frame(("Fe", "Fe"), cell, [[0, 0, 0], [r, 0, 0]], [1.0, -1.0])

    force = potential.predict([pair(1.5)]).forces[1, 0]
    assert force == pytest.approx(-derivative(lambda h: energy_of(potential, pair(1.5 + h))), rel=1e-6)


def test_smooth_at_the_cutoff():
    potential = random_potential()
    cell = np.eye(3) * 12.0
    frames = [Frame(("Fe", "Al"), cell, [[0, 0, 0], [r, 0, 0]], [1.0, 0.1]) for r in (4.5 - 1e-5, 4.5 + 1e-5)]
    prediction = potential.predict(frames)
    assert np.abs(prediction.forces).max() < 1e-4
    assert prediction.energy[0] == pytest.approx(prediction.energy[1], abs=1e-8)


def test_rows_of_the_fit_agree_with_the_evaluation(potential):
    frames = [random_frame(5), random_frame(6, n=2)]
    geometry = potential.geometry(frames)
    spec, parameters = potential.model.spec, potential.model.parameters
    raw = kernel().evaluate(spec, parameters, geometry.packing(spec.n_types), geometry.moment, geometry.vector)
    design = kernel().Design(spec, *geometry.design_arguments)
    values, _ = design.jacobian(spec, parameters, 0, 2, np.ones(design.row_begin(2)), False)
    expected = []
    for k, frame in enumerate(frames):
        atoms = slice(4 * k, 4 * k + len(frame))
        expected += [
            [raw["energy"][atoms].sum()],
            raw["gradient"][atoms, :3].ravel(),
            raw["virial"][k],
            raw["gradient"][atoms, 3],
        ]
    np.testing.assert_allclose(values, np.concatenate(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("byte_limit", [0, 2**30], ids=["recomputed", "stored"])
def test_jacobian(potential, byte_limit):
    frames = [random_frame(7), random_frame(8, n=2)]
    geometry = potential.geometry(frames)
    spec, parameters = potential.model.spec, potential.model.parameters
    design = kernel().Design(spec, *geometry.design_arguments, byte_limit=byte_limit)
    assert design.stored == bool(byte_limit)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, design.row_begin(2))
    _, jacobian = design.jacobian(spec, parameters, 0, 2, weight, True)
    rng = np.random.default_rng(1)
    for _ in range(3):
        direction = rng.normal(size=len(parameters)) * np.where(np.arange(len(parameters)) < spec.n_radial, 0.01, 0.3)
        slope = derivative(
            lambda h, d=direction: design.jacobian(spec, parameters + h * d, 0, 2, weight, False)[0], 1e-2
        )
        scale = np.abs(jacobian @ direction).max()
        np.testing.assert_allclose(jacobian @ direction, weight * slope, atol=2e-7 * max(scale, 1.0))


@pytest.mark.parametrize("name", kernel().instruction_sets())
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradient_of_energies_and_of_a_tangent(potential, name, sign):
    """The one-sweep gradient by the parameters against the rows of the Jacobian."""
    frames = [random_frame(seed, n=n) for seed, n in enumerate([4, 3, 2, 1, 4])]
    geometry = potential.geometry(frames)
    spec, parameters = potential.model.spec, potential.model.parameters
    rng = np.random.default_rng(3)
    energy, atom, strain = rng.normal(size=5), rng.normal(size=(len(geometry.type), 4)), rng.normal(size=(5, 6))
    gradient = kernel().parameter_gradient(
        *(spec, parameters, geometry.packing(spec.n_types, name), geometry.moment, geometry.vector),
        *(sign, energy, atom, strain),
    )
    seen = geometry if sign > 0 else geometry.reversed()
    design = kernel().Design(spec, *seen.design_arguments)
    rows = []
    for k, frame in enumerate(frames):
        mine = slice(geometry.offsets[k], geometry.offsets[k] + len(frame))
        rows += [[energy[k]], atom[mine, :3].ravel(), strain[k], sign * atom[mine, 3]]
    _, jacobian = design.jacobian(spec, parameters, 0, 5, np.ones(design.row_begin(5)), True)
    expected = np.concatenate(rows) @ jacobian
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("name", kernel().instruction_sets())
def test_instruction_sets_agree(potential, name):
    geometry = potential.geometry([random_frame(seed, n=n) for seed, n in enumerate([4, 3, 2, 1, 4, 4])])
    n_types = len(potential.species)

    def evaluate(chosen):
        packing = geometry.packing(n_types, chosen)
        return kernel().evaluate(
            potential.model.spec, potential.model.parameters, packing, geometry.moment, geometry.vector, basis=True
        )

    reference, other = evaluate("baseline"), evaluate(name)
    for key, value in reference.items():
        np.testing.assert_allclose(other[key], value, rtol=1e-10, atol=1e-10)


def test_rows_of_a_fit_stand_in_the_order_of_the_kernel_and_none_twice():
    layout = RowLayout.of(random_potential().geometry([random_frame(0, n=1), random_frame(1, n=2)]))
    one = [0, [1, 2, 3], [4, 5, 6, 7, 8, 9], [10]]
    two = [11, [12, 13, 14, 15, 16, 17], [18, 19, 20, 21, 22, 23], [24, 25]]
    assert layout.begin.tolist() == [0, 11, 26]
    assert layout.positions.ravel().tolist() == one[1] + two[1]
    assert layout.strain.tolist() == [one[2], two[2]]
    assert layout.moments.tolist() == one[3] + two[3]


def test_rows_weigh_per_atom_and_by_the_root_of_their_repeats():
    items = [replace(item, label=replace(item.label, stress=None)) for item in toy_labels(1, seed=1)]
    items += toy_labels(1, seed=2)
    weights = MmtpWeights(energy=200.0, forces=25.0, stress=20.0, magnetic_forces=33.0)
    targets = build_targets(items, np.array([1, 9]), weights, magnetic=True)
    once = [100.0] + 6 * [25.0] + 6 * [0.0] + 2 * [33.0]
    nine_times = [300.0] + 6 * [75.0] + 6 * [30.0] + 2 * [99.0]
    np.testing.assert_allclose(targets.weights, once + nine_times)


def test_errors_of_a_fit_are_those_of_its_predictions():
    """In house units, over what the labels have."""
    potential, items = random_potential(), toy_labels(3, seed=1)
    items[0] = replace(items[0], label=replace(items[0].label, stress=None, forces=None))
    problem = Problem.of(potential.model, items, np.array([1, 1, 4]), MmtpWeights())
    found = problem.rmse(problem.residuals(np.concatenate([potential.model.parameters, np.zeros(2)])))
    squares: dict[str, list[np.ndarray]] = {name: [] for name in QUANTITIES}
    for item in items:
        said, label, n = potential.predict([item.configuration]), item.label, len(item.frame)
        squares["energy"].append(((said.energy - label.energy) / n) ** 2)
        squares["magnetic_forces"].append((said.magnetic_forces - label.magnetic_forces)[:, 2] ** 2)
        if label.stress is not None:
            squares["stress"].append((said.stress[0] - label.stress) ** 2)
            squares["forces"].append((said.forces - label.forces).ravel() ** 2)
    assert found == pytest.approx({name: np.sqrt(np.concatenate(s).mean()) for name, s in squares.items()})


@pytest.mark.parametrize("form", list(Form))
def test_the_jacobian_and_the_residuals_see_the_same_rows(form):
    """Where the energy is the mean over both signs of the moments, magnetic forces change theirs."""
    model, items = random_potential(form).model, toy_labels(3, seed=1)
    problem = Problem.of(model, items, np.ones(3, dtype=np.int64), MmtpWeights())
    unknowns = np.concatenate([model.parameters, [0.1, 0.2]])
    values, jacobian = problem.rows(unknowns, 0, 3)
    known = problem.targets.weights > 0
    np.testing.assert_allclose((values - problem.targets.values) * known, problem.residuals(unknowns), atol=1e-8)
    gradient = 2.0 * jacobian.T @ (problem.targets.weights * problem.residuals(unknowns))
    np.testing.assert_allclose(gradient, problem.loss_and_gradient(unknowns)[1], rtol=1e-7, atol=1e-4)
