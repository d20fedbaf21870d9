"""Force constants from labelled displacements and from a potential, on a crystal whose displacements are exact."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from exact_potentials import QuadraticMagnet, alone, bcc
from magflow.core.force_constants import ForceConstantLabel, MomentsOf
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LevelOfTheory
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.properties.displaced import complete, of_displacements, of_potential

LEVEL = LevelOfTheory("toy", "1", "constrained", "none")


@cache
def crystal() -> Frame:
    return repeated(bcc(2.84, moment=2.2), (2, 2, 2))


@cache
def model() -> QuadraticMagnet:
    return QuadraticMagnet(crystal())


def labelled(frame: Frame, *, pulled: float = 0.0, level: LevelOfTheory = LEVEL) -> LabeledFrame:
    said = model().predict([frame])
    forces = said.forces + pulled * np.eye(16)[0][:, None] * [0.0, 1.0, 0.0]
    return LabeledFrame(
        frame, Label(frame.frame_id, level, frame.orientation, energy=float(said.energy[0]), forces=forces)
    )


def displaced(atom: int, along) -> Frame:
    shift = np.zeros((16, 3))
    shift[atom] = along
    return crystal().replace(positions=crystal().positions + shift)


def expected() -> np.ndarray:
    return model().hessian[:, :3, :, :3].transpose(0, 2, 1, 3)


def test_one_displacement_tells_a_cubic_crystal():
    (label,) = of_displacements([labelled(displaced(3, [0.01, 0, 0])), labelled(crystal())], "here")
    assert (label.atoms.tolist(), label.moments, label.level_of_theory) == ([3], MomentsOf.CLAMPED, LEVEL)
    np.testing.assert_allclose(label.array, expected()[[3]], atol=1e-6)
    np.testing.assert_allclose(complete(label), expected(), atol=1e-6)


def test_forces_of_the_perfect_crystal_are_taken_off_and_kinds_told():
    free = LevelOfTheory("toy", "1", "spin-polarised", "none")
    items = [labelled(f, pulled=0.01, level=free) for f in (crystal(), displaced(0, [0.01, 0.01, 0]))]
    (label,) = of_displacements(items)
    np.testing.assert_allclose(label.array, expected()[[0]], atol=1e-6)
    assert label.moments is MomentsOf.RELAXED


def test_a_potential_teaches_its_own_rows():
    label = of_potential(alone(model()), crystal())
    assert label.level_of_theory.functional.startswith("teacher")
    assert len(label.atoms) == 1
    np.testing.assert_allclose(label.array, expected()[label.atoms], atol=1e-9)

    class Forces:
        """The same without second derivatives."""

        family, species, cutoff, predict = "forces", ("Fe",), 3.0, model().predict

        def to_bytes(self):
            return b""

    by_forces = of_potential(alone(Forces()), crystal(), atoms=[1, 5])
    np.testing.assert_allclose(by_forces.array, expected()[[1, 5]], atol=1e-6)


def test_symmetry_makes_no_rows_of_other_elements():
    frame = Frame(("Fe", "Al") * 8, crystal().cell, crystal().positions, np.tile([2.0, 0.0], 8))
    label = ForceConstantLabel(frame, LEVEL, np.array([0]), np.zeros((1, 16, 3, 3)))
    assert complete(label) is None


def test_faults_are_told_in_a_line():
    moved = labelled(displaced(0, [0.01, 0, 0]))
    two = displaced(0, [0.01, 0, 0]).positions + np.eye(16)[4][:, None] * [0.0, 0.01, 0.0]
    bent = Frame(crystal().species, crystal().cell @ np.diag([1, 1.01, 1.02]), crystal().positions, crystal().magmoms)
    cases = {
        "not at rest.*0.5 eV/A on atom 0": [labelled(crystal(), pulled=0.5), labelled(displaced(3, [0.1, 0, 0]))],
        "no crystal with one": [labelled(crystal()), moved, labelled(crystal().replace(positions=two))],
        "perfect supercell": [moved],
        "do not span space": [
            labelled(bent.replace(positions=bent.positions @ np.diag([1, 1.01, 1.02]))),
            labelled(
                bent.replace(
                    positions=bent.positions @ np.diag([1, 1.01, 1.02]) + np.eye(16)[0][:, None] * [0.01, 0, 0]
                )
            ),
        ],
    }
    for message, items in cases.items():
        with pytest.raises(InputError, match=message.split(".*")[0]) as caught:
            of_displacements(items, "here")
        assert message.split(".*")[-1] in str(caught.value)
