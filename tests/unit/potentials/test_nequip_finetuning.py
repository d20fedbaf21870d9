"""What a NequIP learns force constants from, and what it refuses. Nothing here needs nequip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from magflow.core.force_constants import ForceConstantLabel, MomentsOf
from magflow.core.frame import Frame
from magflow.core.protocols import LearnsForceConstants
from magflow.errors import InputError
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.nequip import NequipFamily, NequipPotential, NequipSpinFamily
from magflow.potentials.nequip.definition import definition
from magflow.potentials.nequip.finetuning import _settings, columns_of
from magflow.potentials.nequip.graph import labelled_graph
from magflow.potentials.outside.settings import StartBias
from magflow.testing.springs import ELEMENTS, LEVEL, spring_constants, springs, two_atoms

LABELS = [springs(frame) for frame in two_atoms(4, seed=0)]
FAMILY = NequipSpinFamily(cutoff=3.5, start_bias=StartBias.KEEP)


def rows(n: int, atoms: tuple[int, ...], moments: bool = True) -> ForceConstantLabel:
    """Numbers that say where they belong, of a chain of n atoms."""
    frame = Frame(
        ("Fe",) * n, np.diag([2.9 * n, 2.9, 2.9]), np.arange(n)[:, None] * [2.9, 0, 0], np.ones(n) if moments else None
    )
    array = np.arange(len(atoms) * n * 9, dtype=float).reshape(len(atoms), n, 3, 3)
    return ForceConstantLabel(frame, LEVEL, np.array(atoms), array)


def test_columns_are_those_of_the_labels_one_after_another():
    labels = [rows(3, (2, 0)), rows(2, (1,))]
    found = columns_of(labels, ELEMENTS, 3.5, magnetic=True)
    assert found["rows"].tolist() == [6, 3] and found["counts"].tolist() == [3, 2]
    assert found["moved"].tolist() == [[2, 0], [2, 1], [2, 2], [0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert found["columns"].shape == (6 * 3 + 3 * 2, 3)
    np.testing.assert_array_equal(found["columns"][4 * 3 : 5 * 3], labels[0].array[1, :, 1])  # atom 0 along y
    np.testing.assert_array_equal(found["columns"][18 + 2 * 2 :], labels[1].array[0, :, 2])  # atom 1 along z
    assert "moment" not in columns_of(labels, ELEMENTS, 3.5, magnetic=False)


def test_weights_are_those_of_the_fine_tuning():
    family = FAMILY.weighing(25.0, stress=2.0, forces=3.0)
    assert isinstance(family, LearnsForceConstants) and isinstance(family, NequipSpinFamily)
    assert family.force_constant_weight == 25.0 and family.finetuning.weights.stress == 100.0
    assert (family.finetuning.weights.forces, family.finetuning.weights.magnetic_forces) == (600.0, 600.0)
    assert family.weights == FAMILY.weights and family.finetuning.weights.energy == 500.0
    assert FAMILY.learns_force_constants and not FAMILY.weighing(0.0).learns_force_constants


def test_stress_counts_only_for_a_network_that_has_learnt_it():
    assert _settings(FAMILY)["weights"]["stress"] == 0.0
    assert _settings(NequipSpinFamily(weights={"stress": 1.0}))["weights"]["stress"] == 50.0


@pytest.mark.parametrize("wrong", [{"learning_rate": (1e-5, 1e-4)}, {"turns": 0}, {"average": 1.0}, {"clip": 0.0}])
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(ValidationError):
        NequipFamily(finetuning=wrong)


def start(species: tuple[str, ...] = ELEMENTS) -> NequipPotential:
    arrays = labelled_graph(LABELS, ELEMENTS, 3.5, magnetic=True)
    form = definition(FAMILY, FAMILY.network, LABELS, arrays, ELEMENTS)
    return NequipPotential(form | {"species": list(species)}, {"weight": np.zeros(3)})


def test_refusals():
    label = spring_constants(magnetic=True)
    chromium = Frame(("Cr", "Cr"), label.frame.cell, label.frame.positions, [1.0, 1.0])
    cases = {
        "moments that follow the atoms.*--clamped": replace(label, moments=MomentsOf.RELAXED),
        "Fe.yaml: .*has no moments": replace(label, frame=label.frame.non_magnetic(), source="Fe.yaml"),
        "Cr.yaml: .*does not know an element": replace(label, frame=chromium, source="Cr.yaml"),
    }
    given = {"elements": ELEMENTS, "seed": 1}
    for said, wrong in cases.items():
        with pytest.raises(InputError, match=said) as caught:
            FAMILY.fit(LABELS, start=start(), force_constants=[wrong], **given)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="by a network that has been trained"):
        FAMILY.fit(LABELS, force_constants=[label], **given)
    with pytest.raises(InputError, match="no labels to keep from forgetting"):
        FAMILY.fit([], start=start(), force_constants=[label], **given)
    with pytest.raises(InputError, match="knows other elements"):
        FAMILY.fit(LABELS, start=start(("Al", "Ni")), force_constants=[label], **given)
    plain = MmtpFamily(level=2, n_radial=3, max_iterations=1).fit(LABELS, **given)[0]
    with pytest.raises(InputError, match="another family; seen: mmtp"):
        FAMILY.fit(LABELS, start=plain, force_constants=[label], **given)
