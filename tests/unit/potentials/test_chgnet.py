"""What the family chgnet asks for and refuses. Nothing here needs chgnet."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.hessian import GivesHessian, IsRough
from magflow.core.prediction import Prediction
from magflow.core.protocols import LearnsForceConstants
from magflow.errors import InputError, MissingToolError
from magflow.potentials.chgnet import ChgnetFamily, ChgnetPotential
from magflow.potentials.chgnet.frames import batches, label_arrays
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.outside import process
from magflow.properties.displaced import columns_of
from magflow.testing.springs import ELEMENTS, spring_constants, springs, two_atoms, without_moments

LABELS = without_moments([springs(frame) for frame in two_atoms(4, seed=0)])
FAMILY = ChgnetFamily()


def potential(species: tuple[str, ...] = ELEMENTS, kind: type[ChgnetPotential] = ChgnetPotential) -> ChgnetPotential:
    definition = {
        "pretrained": "0.3.0",
        "arguments": {"atom_graph_cutoff": 6, "n_conv": 4},
        "precision": "float64",
        "species": list(species),
        "energy_shifts": [0.5 * k for k in range(len(species))],
    }
    return kind(definition, {"weight": np.arange(3.0)})


def test_goes_through_bytes_and_notices_damage():
    mine = potential()
    data = mine.to_bytes()
    found = FAMILY.load(data)
    assert found.definition == mine.definition and found.cutoff == 12.0 and not found.magnetic
    np.testing.assert_array_equal(found.parameters["weight"], [0.0, 1.0, 2.0])
    changed = ChgnetPotential({**mine.definition, "precision": "float32"}, mine.parameters).to_bytes()
    assert changed != data
    for wrong in (b"", data[:100], data.replace(word("float64"), word("float32"))):
        with pytest.raises(InputError, match="CHGNet model"):
            FAMILY.load(wrong)


def word(text: str) -> bytes:
    """As an archive of numpy holds it."""
    return text.encode("utf-32-le")


def test_shifts_are_those_of_the_atoms():
    frames = [item.frame for item in LABELS[:2]]
    species = dict(zip(ELEMENTS, (0.0, 0.5), strict=True))
    assert potential().shift_of(frames).tolist() == [sum(species[s] for s in f.species) for f in frames]
    arrays = label_arrays(LABELS[:2], ELEMENTS, np.array([1.0, -1.0]))
    assert arrays["energy"].tolist() == [LABELS[0].label.energy - 1.0, LABELS[1].label.energy + 1.0]
    without = label_arrays([replace(i, label=replace(i.label, forces=None)) for i in LABELS[:1]], ELEMENTS, np.zeros(1))
    assert np.isnan(without["forces"]).all() and np.isnan(without["stress"]).all()


def test_weights_can_be_changed():
    family = FAMILY.weighing(25.0, stress=2.0, forces=3.0)
    assert isinstance(family, LearnsForceConstants) and family.force_constant_weight == 25.0
    weights = family.finetuning.weights
    assert (weights.stress, weights.forces, weights.energy) == (100.0, 600.0, 500.0)
    assert FAMILY.learns_force_constants and not FAMILY.weighing(0.0).learns_force_constants


@pytest.mark.parametrize(
    "wrong",
    [
        {"pretrained": "0.4.0"},
        {"elements": ["Fe", "Am"]},
        {"elements": ["Xx"]},
        {"finetuning": {"turns": -1}},
        {"finetuning": {"displacement": 0.5}},
        {"finetuning": {"displacement": 0.0}},
        {"finetuning": {"learning_rate": (1e-5, 1e-4)}},
    ],
)
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(ValidationError):
        ChgnetFamily(**wrong)


def test_refusals():
    other = potential(("Fe", "Ni"))
    with pytest.raises(InputError, match="knows other elements"):
        FAMILY.fit(LABELS, elements=ELEMENTS, seed=1, start=other)
    with pytest.raises(InputError, match="no labels"):
        FAMILY.fit([], elements=ELEMENTS, seed=1)
    with pytest.raises(InputError, match=r"does not know.*americium|Am"):
        FAMILY.fit(LABELS, elements=(*ELEMENTS, "Am"), seed=1)
    label = spring_constants(magnetic=False)
    frame = Frame(("Cr", "Cr"), label.frame.cell, label.frame.positions)
    strange = replace(label, frame=frame, source="Cr.yaml")
    with pytest.raises(InputError, match=r"Cr.yaml: .*does not know an element"):
        ChgnetFamily(start_bias="keep").fit(
            LABELS, elements=ELEMENTS, seed=1, start=potential(), force_constants=[strange]
        )


@pytest.mark.parametrize(
    ("said", "match"),
    [
        (
            "ModuleNotFoundError: No module named 'chgnet'",
            r"No module named 'chgnet'.*magflow\[chgnet\].*chgnet_python",
        ),
        ("chgnet 0.3.8 is installed, 0.4.* is needed", r"0\.3\.8 is installed"),
        ("torch 2.4.1 is installed, 2.6 or later is needed", r"torch 2\.4\.1 is installed"),
    ],
)
def test_an_environment_that_does_not_do_says_so(tmp_path, monkeypatch, said, match):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setenv("MAGFLOW_CHGNET_PYTHON", str(python))
    process._versions.cache_clear()
    (probe,) = FAMILY.probe()
    assert not probe.ok and said.split(":")[-1].strip() in probe.detail
    with pytest.raises(MissingToolError, match=match):
        FAMILY.fit(LABELS, elements=ELEMENTS, seed=1)
    process._versions.cache_clear()


def test_an_interpreter_without_chgnet_says_so(monkeypatch):
    monkeypatch.setenv("MAGFLOW_CHGNET_PYTHON", sys.executable)
    process._versions.cache_clear()
    (probe,) = FAMILY.probe()
    assert probe.name == "chgnet" and (probe.ok or "pip install 'magflow[chgnet]'" in probe.hint)
    process._versions.cache_clear()


class Cusp(ChgnetPotential):
    """An energy of 2 |x| + 5 x^2 in the distance of each atom from its place along x, rounded off within 1e-3 A."""

    def predict(self, frames):
        positions = np.concatenate([frame.positions for frame in frames])
        off = positions[:, 0] - np.round(positions[:, 0])
        forces = np.zeros_like(positions)
        forces[:, 0] = -(2.0 * np.tanh(off / 1e-3) + 10.0 * off)
        n = len(frames)
        counts = np.array([len(f) for f in frames])
        return Prediction(counts, np.zeros(n), forces, np.zeros((n, 6)), None)


def test_force_constants_of_a_rough_potential_are_those_of_displacements():
    """Its Hessian at the crystal would be 2 / 1e-3 + 10 eV/A^2."""
    mine = potential(kind=Cusp)
    assert isinstance(mine, GivesHessian) and isinstance(mine, IsRough)
    frame = Frame(ELEMENTS, 3.0 * np.eye(3), np.array([[0.0, 0, 0], [1.0, 1, 1]]))
    label = ForceConstantLabel(frame, LABELS[0].label.level_of_theory, np.array([0]), np.zeros((1, 2, 3, 3)))
    ensemble = PotentialEnsemble((mine,), "chgnet")
    for found in (mine.columns(frame, label.directions), columns_of(ensemble, frame, label.atoms)):
        assert found[0, 0, 0] == pytest.approx(10.0 + 2.0 / mine.roughness)
        assert np.count_nonzero(found) == 1


def test_batches_hold_few_atoms():
    frames = [Frame(("Fe",) * n, 20.0 * np.eye(3), np.random.default_rng(n).random((n, 3))) for n in (40, 20, 5, 90, 2)]
    assert [(s.start, s.stop) for s in batches(frames)] == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert list(batches([])) == []
