"""Force constants as rows of a fit: derivatives by all parameters, and a fit that recovers its teacher's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mmtp_models import random_potential
from mmtp_toy import TOY

from magflow.core.force_constants import ForceConstantLabel, MomentsOf
from magflow.core.frame import Frame
from magflow.core.hessian import hessian
from magflow.core.label import Label, LabeledFrame
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.mmtp.curvature import Curvature
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.objective import Joint
from magflow.potentials.mmtp.prior import with_unknowns
from magflow.potentials.mmtp.residuals import MmtpWeights, Problem

FORMS = [(Form.EVEN, 8, 2), (Form.PAPER, 4, 2), (Form.EVEN, 8, 1)]


def crystal(repeats=(1, 1, 2)) -> Frame:
    cell = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45, 1.45, 1.45]], [2.0, -0.05])
    return repeated(cell, repeats)


def taught(potential, frame: Frame, atoms=(0, 1)) -> ForceConstantLabel:
    """The rows of a potential's own Hessian."""
    of = frame if potential.magnetic else frame.non_magnetic()
    full = hessian(potential, of).array[:, :3, :, :3].transpose(0, 2, 1, 3)
    return ForceConstantLabel(of, TOY, np.array(atoms), full[list(atoms)])


def labelled(potential, frame: Frame) -> LabeledFrame:
    said = potential.predict([frame])
    return LabeledFrame(
        frame,
        Label(
            frame.frame_id,
            TOY,
            frame.orientation,
            energy=float(said.energy[0]),
            forces=said.forces,
            stress=said.stress[0],
            magmoms=frame.magmoms,
            magnetic_forces=said.magnetic_forces,
        ),
    )


def distorted(n: int, seed: int = 1) -> list[Frame]:
    rng = np.random.default_rng(seed)
    base = crystal((1, 1, 1))
    frames = []
    for _ in range(n):
        strain = np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))
        moments = base.magmoms[:, 2] * rng.uniform(0.7, 1.1, 2)
        moved = base.positions @ strain + rng.normal(0, 0.08, (2, 3))
        frames.append(base.replace(cell=base.cell @ strain, positions=moved, magmoms=moments))
    return frames


@pytest.fixture(params=FORMS, ids=lambda c: "-".join(map(str, c)))
def potential(request):
    form, level, n_psi = request.param
    return random_potential(form, level=level, n_psi=n_psi)


def test_columns_are_those_of_the_hessian(potential):
    curvature = Curvature.of(potential.model, [taught(potential, crystal())], 1.0)
    unknowns = np.concatenate([potential.model.parameters, potential.model.pulay])
    assert curvature.known == 2 * 3 * 12
    assert np.abs(curvature.residuals(unknowns)).max() < 1e-10


def test_rows_are_derivatives_by_all_parameters(potential):
    """Against sixth-order differences of exact columns over the parameters."""
    model = potential.model
    curvature = Curvature.of(model, [taught(potential, crystal(), atoms=(1,))], 1.0)
    (one,) = curvature.crystals
    jacobian = one.jacobian(model.parameters, 2)
    expected = np.zeros_like(jacobian)
    for k, size in enumerate(np.maximum(np.abs(model.parameters), 1e-2) * 1e-2):
        for step, weight in ((1, 45.0), (2, -9.0), (3, 1.0)):
            for side in (1.0, -1.0):
                there = model.parameters.copy()
                there[k] += side * step * size
                expected[:, k] += side * weight * one.values(there)[2] / (60.0 * size)
    np.testing.assert_allclose(jacobian, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    assert not jacobian[:, -len(model.species) :].any()


def test_gradient_and_normal_equations_agree(potential):
    model = potential.model
    other = random_potential(model.form, level=model.level, n_psi=model.n_psi, seed=5)
    curvature = Curvature.of(model, [taught(other, crystal()), taught(other, crystal((1, 2, 1)), (1,))], 0.7)
    unknowns = np.concatenate([model.parameters, model.pulay])
    jtj, jtr, loss = curvature.normal(unknowns)
    value, gradient = curvature.loss_and_gradient(unknowns)
    assert value == pytest.approx(loss)
    np.testing.assert_allclose(gradient, 2.0 * jtr, atol=1e-7 * np.abs(jtr).max())
    along = np.random.default_rng(0).normal(size=len(unknowns)) * 1e-6
    up, down = (curvature.residuals(unknowns + s * along) for s in (1.0, -1.0))
    change = 0.5 * curvature.weight * (up - down)
    assert along @ jtj @ along == pytest.approx(change @ change, rel=1e-5)
    assert not jtj[-2:].any()


def test_two_least_squares_are_one():
    potential = random_potential()
    model = potential.model
    other = random_potential(model.form, level=model.level, n_psi=model.n_psi, seed=5)
    items = [labelled(other, frame) for frame in distorted(3)]
    labels = Problem.of(model, items, np.ones(3, dtype=np.int64), MmtpWeights())
    joint = Joint(labels, Curvature.of(model, [taught(other, crystal())], 3.0))
    unknowns = np.concatenate([model.parameters, model.pulay])
    jtj, jtr, loss = joint.normal(unknowns)
    value, gradient = joint.loss_and_gradient(unknowns)
    assert joint.known == labels.known + 72
    assert value == pytest.approx(loss) == pytest.approx(joint.loss(joint.residuals(unknowns)))
    np.testing.assert_allclose(gradient, 2.0 * jtr, atol=1e-7 * np.abs(jtr).max())
    assert np.linalg.eigvalsh(jtj)[0] > -1e-9 * np.trace(jtj)


def test_a_fit_recovers_its_teachers_hessian():
    teacher = random_potential(level=4, n_psi=2, n_phi=3)
    model = teacher.model
    rng = np.random.default_rng(3)
    shaken = np.concatenate([model.parameters * (1.0 + rng.normal(0, 0.05, len(model.parameters))), model.pulay])
    start = replace(teacher, model=with_unknowns(model, shaken))
    items = [labelled(teacher, frame) for frame in distorted(6)]
    known, unseen = taught(teacher, crystal((1, 2, 2))), taught(teacher, crystal((1, 1, 2)))
    ridges = {"radial_ridge": 1e-9, "linear_ridge": 1e-10, "weights": {"force_constants": 100.0}}
    family = MmtpFamily(
        level=4, n_psi=2, n_radial=3, cutoff=4.5, tolerance=1e-6, max_iterations=8, grade="sites", **ridges
    )
    options = {"elements": ["Al", "Fe"], "seed": 1, "start": start}
    fitted, report = family.fit(items, force_constants=[known], **options)
    plain, _ = family.fit(items, **options)

    def off(potential, label):
        return np.abs(taught(potential, label.frame).array - label.array).max() / np.abs(label.array).max()

    assert off(start, known) > 0.03
    assert off(fitted, known) < 1e-3
    assert off(fitted, unseen) < 1e-3
    assert off(plain, known) > 5 * off(fitted, known)
    assert report.details["force_constants"]["rows"] == 144
    assert report.details["force_constants"]["rmse"] < 1e-3


def test_a_killed_fit_does_not_go_on_with_other_force_constants(tmp_path):
    teacher = random_potential(level=4, n_psi=2, n_phi=4)
    items = [labelled(teacher, frame) for frame in distorted(4)]
    family = MmtpFamily(level=4, n_psi=2, n_radial=4, cutoff=4.5, max_iterations=1, grade="sites")
    first, second = taught(teacher, crystal()), taught(teacher, crystal((2, 1, 1)))
    options = {"elements": ["Al", "Fe"], "seed": 1, "start": teacher, "workdir": tmp_path}
    family.fit(items, force_constants=[first], **options)
    with pytest.raises(InputError, match="other labels or settings"):
        family.fit(items, force_constants=[second], **options)


def test_force_constants_that_do_not_fit_are_refused():
    potential = random_potential(level=4)
    label = taught(potential, crystal())
    cases = {
        "moments that follow": replace(label, moments=MomentsOf.RELAXED),
        "needs moments": replace(label, frame=label.frame.non_magnetic(), source="Fe.yaml"),
        "does not know an element": replace(
            label, frame=Frame(("Fe", "Cr") * 2, label.frame.cell, label.frame.positions, np.zeros(4))
        ),
    }
    for message, wrong in cases.items():
        with pytest.raises(InputError, match=message):
            Curvature.of(potential.model, [wrong], 1.0)
