"""Elastic constants against second derivatives of the energy, taken independently."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.emt import EMT

from exact_potentials import AsePotential, ModelPotential, alone, bcc, fcc
from magflow.core.frame import Frame
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.explore.relaxation.held import Held
from magflow.properties.at_rest import decorated
from magflow.properties.base import Work
from magflow.properties.elastic import CLAMPED, CURVE, LOWEST, Elastic, _directions
from magflow.properties.measurement import Moments
from magflow.properties.subject import Subject

COPPER = alone(AsePotential(EMT, ["Cu"], 6.0))
IRON = Subject(alone(ModelPotential()), "bcc-Fe", bcc(2.84, moment=2.2))


def strained(frame: Frame, strain: np.ndarray) -> Frame:
    matrix = np.eye(3) + strain
    return frame.replace(cell=frame.cell @ matrix, positions=frame.positions @ matrix)


def second_derivative(subject: Subject, rest: Frame, strain: np.ndarray, h: float, *held: Held) -> float:
    """(1/V) d2E/dh2 along a symmetric strain at fixed cell, the rest of it at rest or held; GPa."""
    frames = [strained(rest, k * h * strain) for k in (-1, 0, 1)]
    frames = [subject.at_rest(Held.CELL, *held, frame=f, finer=100.0) for f in frames]
    low, mid, high = subject.ensemble.predict(frames).mean.energy
    return (low - 2 * mid + high) / h**2 / rest.volume * EV_PER_A3_IN_GPA


TETRAGONAL = np.diag([1.0, -1.0, 0.0])
"""Its second derivative is 2 (C11 - C12) = 4 C'."""
SHEAR = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
"""Its second derivative is 4 C44."""


def test_constants_of_copper(tmp_path):
    subject = Subject(COPPER, "fcc-Cu", fcc(3.6, "Cu"))
    found = Elastic().measure(subject, Work(tmp_path))
    rest = subject.at_rest(finer=100.0)
    assert found.value("C'").value == pytest.approx(second_derivative(subject, rest, TETRAGONAL, 2e-3) / 4, rel=5e-3)
    assert found.value("C44").value == pytest.approx(second_derivative(subject, rest, SHEAR, 2e-3) / 4, rel=5e-3)
    isotropic = second_derivative(subject, rest, np.eye(3), 2e-3) / 9
    assert found.value("bulk modulus").value == pytest.approx(isotropic, rel=5e-3)
    c11, c12 = found.value("C11").value, found.value("C12").value
    assert found.value("bulk modulus").value == pytest.approx((c11 + 2 * c12) / 3)
    assert len(Elastic().frames(subject)) == 1 + 4 + 4  # one direction of each kind


def test_clamped_and_relaxed_moments(tmp_path):
    found = Elastic().measure(IRON, Work(tmp_path))
    rest = IRON.at_rest(finer=100.0)
    for at, held in (("", ()), (CLAMPED, (Held.MOMENTS,))):
        isotropic = second_derivative(IRON, rest, np.eye(3), 2e-3, *held) / 9
        assert found.value("bulk modulus", at=at).value == pytest.approx(isotropic, rel=5e-3)
    assert found.value("bulk modulus").value < 0.98 * found.value("bulk modulus", at=CLAMPED).value
    once = Elastic().measure(Subject(IRON.ensemble, "bcc-Fe", IRON.frame, Moments.RELAXED_ONCE), Work(tmp_path))
    for name in ("C11", "C12", "C44"):
        assert once.value(name).value == pytest.approx(found.value(name, at=CLAMPED).value, rel=1e-4)
        with pytest.raises(KeyError):
            once.value(name, at=CLAMPED)


def test_orientation_and_choice_of_the_cell_do_not_matter(tmp_path):
    primitive = Frame(("Fe",), 1.42 * (1 - 2 * np.eye(3)), np.zeros((1, 3)), [2.2])
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", [0.3, -0.5, 0.7]).as_matrix()
    turned = primitive.replace(cell=primitive.cell @ turn.T)
    cubic = Elastic().measure(IRON, Work(tmp_path))
    other = Elastic().measure(Subject(IRON.ensemble, "turned", turned), Work(tmp_path))
    for v in cubic.values:
        assert other.value(v.name, at=v.at).value == pytest.approx(v.value, rel=2e-3), v.name


def test_symmetry_sees_the_moments():
    ferromagnet = fcc(3.6, "Fe").replace(magmoms=[2.2] * 4)
    layers = ferromagnet.replace(magmoms=[2.2, -2.2, -2.2, 2.2])
    assert len(_directions(decorated(ferromagnet))) == 2
    assert len(_directions(decorated(layers))) == 4  # xx = yy, zz, yz = xz, xy


def test_a_hexagonal_crystal_has_its_tensor_in_the_curve(tmp_path):
    a = 2.55
    hcp = Frame(
        ("Cu", "Cu"),
        a * np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, np.sqrt(8 / 3)]]),
        a * np.array([[0, 0, 0], [0, 1 / np.sqrt(3), np.sqrt(2 / 3)]]),
    )
    found = Elastic().measure(Subject(COPPER, "hcp-Cu", hcp), Work(tmp_path))
    c = found.curves[CURVE]["C (GPa)"].reshape(6, 6)
    assert c == pytest.approx(c.T)
    assert c[5, 5] == pytest.approx((c[0, 0] - c[0, 1]) / 2)
    assert c[3, 3] == pytest.approx(c[4, 4])
    assert [v.name for v in found.values] == ["bulk modulus", "shear modulus", LOWEST]


def test_an_unstable_crystal_is_called_so(tmp_path):
    simple = Frame(("Cu",), 2.4 * np.eye(3), np.zeros((1, 3)))
    found = Elastic().measure(Subject(COPPER, "sc-Cu", simple), Work(tmp_path))
    assert found.value(LOWEST).value < 0.0
    assert found.remarks == ("elastically unstable",)
