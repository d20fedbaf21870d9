"""Trainings by the real deepmd-kit: units and signs, restart, fine-tuning, divergence."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.io.deepmd import read_deepmd
from magflow.io.deepmd_writer import write_deepmd
from magflow.io.records import labeled_frames, unspecified_level
from magflow.potentials.deepmd import DeepmdPotential, DpFamily, DpSpinFamily
from magflow.potentials.deepmd.curve import read_curve
from magflow.potentials.deepmd.inputs import TRAIN, training_input
from magflow.potentials.deepmd.program import DEEPMD_KIT

pytestmark = [pytest.mark.deepmd, pytest.mark.slow, pytest.mark.usefixtures("deepmd_kit")]

NIO = ("Ni", "O")
NAMES = ("Al", "Fe")
NET = {"descriptor_neurons": (8, 16), "fitting_neurons": (32, 32), "batch_atoms": 32}
SPIN_NET = {
    "cutoff": 4.0,
    "descriptor_neurons": (10, 20, 40),
    "fitting_neurons": (60, 60, 60),
    "batch_atoms": 64,
}
LEVEL = unspecified_level(magmoms=False, magnetic_forces=False)


@pytest.fixture(scope="module")
def nio(request) -> list[LabeledFrame]:
    return labeled_frames(read_deepmd(request.getfixturevalue("reference_data") / "deepmd_spin_NiO"))


@pytest.fixture(scope="module")
def spin(nio, deepmd_kit) -> tuple[DeepmdPotential, dict[str, dict[str, float]]]:
    """DeepSPIN after 300 steps on 96 frames of NiO; the best of three on the held-out ones is kept.

    40 frames are too few: the error of the forces on others then stays where it would be without any.
    """
    family = DpSpinFamily(steps=300, interval=100, learning_rate=(2e-3, 1e-3), **SPIN_NET)
    potential, report = family.fit(learnt(nio), elements=NIO, seed=1, validation=held_out(nio))
    assert report.cost.cpu_seconds > 1.0
    return potential, dict(report.rmse)


def learnt(items: list[LabeledFrame]) -> list[LabeledFrame]:
    return [item for k, item in enumerate(items) if k % 5 != 4]


def held_out(items: list[LabeledFrame]) -> list[LabeledFrame]:
    return items[4::5]


def rattled_iron(n: int) -> list[LabeledFrame]:
    """Two-atom cells with one spring between the atoms."""
    items = []
    for k in range(n):
        cell = 2.87 * np.eye(3)
        bond = np.random.default_rng(k).normal(0, 0.06, 3)
        frame = Frame(("Fe", "Fe"), cell, np.array([[0.0, 0, 0], 1.435 + bond]))
        force = np.array([6.0 * bond, -6.0 * bond])
        items.append(LabeledFrame(frame, Label(frame.frame_id, LEVEL, energy=3.0 * bond @ bond - 8.0, forces=force)))
    return items


def test_spin_model_learns_every_quantity_of_nio(spin, nio):
    rmse, held = spin[1]["validation"], held_out(nio)
    forces = np.concatenate([i.label.forces for i in held])
    magnetic = np.concatenate([i.label.magnetic_forces[i.label.magnetic_forces.any(axis=1)] for i in held])
    assert rmse["forces"] < 0.8 * np.sqrt(np.mean(forces**2))
    assert rmse["magnetic_forces"] < 0.9 * np.sqrt(np.mean(magnetic**2))
    assert rmse["energy"] < 0.01


def test_units_and_signs_of_a_spin_model(spin, nio):
    """Forces, stress and magnetic forces are derivatives of the energy, at non-collinear moments and random cells."""
    potential, frame = spin[0], nio[5].configuration
    found = potential.predict([frame])
    step = 1e-4

    def slope(make) -> float:
        up, down = potential.predict([make(step), make(-step)]).energy
        return float(up - down) / (2 * step)

    for atom, axis in ((0, 0), (3, 1), (20, 2)):
        unit = np.zeros((32, 3))
        unit[atom, axis] = 1.0
        force = -slope(lambda h, u=unit: frame.replace(positions=frame.positions + h * u))
        magnetic = -slope(lambda h, u=unit: frame.replace(magmoms=frame.magmoms + h * u))
        assert found.forces[atom, axis] == pytest.approx(force, abs=1e-6)
        assert found.magnetic_forces[atom, axis] == pytest.approx(magnetic, abs=1e-6)
    assert np.abs(found.magnetic_forces[:16]).max() > 1e-3
    assert not found.magnetic_forces[16:].any()  # oxygen carries no moment
    for k in range(6):
        strain = tensor(np.eye(6)[k]) * (1.0 if k < 3 else 0.5)
        deformed = slope(
            lambda h, e=strain: frame.replace(
                cell=frame.cell @ (np.eye(3) + h * e), positions=frame.positions @ (np.eye(3) + h * e)
            )
        )
        assert found.stress[0, k] * frame.volume == pytest.approx(deformed, abs=1e-4, rel=1e-5)


def test_moments_of_zero_have_a_prediction(spin, nio):
    found = spin[0].predict([nio[0].configuration.replace(magmoms=np.zeros(32))])
    assert np.isfinite(found.energy).all() and np.isfinite(found.forces).all() and np.isfinite(found.stress).all()
    np.testing.assert_allclose(found.magnetic_forces, 0.0, atol=1e-9)


def test_fine_tuning_starts_at_the_error_of_its_start(spin, nio):
    potential, rmse = spin
    still = {"steps": 1, "interval": 1, "learning_rate": (1e-12, 1e-12), **SPIN_NET}
    kept, _ = DpSpinFamily(start_bias="keep", **still).fit(learnt(nio), elements=NIO, seed=7, start=potential)
    batch = [i.configuration for i in nio[:4]]
    np.testing.assert_allclose(kept.predict(batch).energy, potential.predict(batch).energy, atol=1e-6)
    np.testing.assert_allclose(kept.predict(batch).forces, potential.predict(batch).forces, atol=1e-6)

    raised = [shifted(item, 32 * 5.0) for item in learnt(nio)]  # another level of theory: 5 eV/atom higher
    _, report = DpSpinFamily(start_bias="refit", **still).fit(raised, elements=NIO, seed=7, start=potential)
    assert report.rmse["train"]["energy"] < rmse["train"]["energy"] + 1e-3
    assert report.rmse["train"]["forces"] == pytest.approx(rmse["train"]["forces"], rel=1e-3)
    assert report.rmse["train"]["magnetic_forces"] == pytest.approx(rmse["train"]["magnetic_forces"], rel=1e-3)


def shifted(item: LabeledFrame, energy: float) -> LabeledFrame:
    old = item.label
    label = Label(
        old.frame_id,
        old.level_of_theory,
        old.orientation,
        energy=old.energy + energy,
        forces=old.forces,
        magmoms=old.magmoms,
        magnetic_forces=old.magnetic_forces,
    )
    return LabeledFrame(item.frame, label)


def test_frozen_descriptor(deepmd_kit):
    items = rattled_iron(8)
    family = DpFamily(cutoff=3.5, steps=20, interval=20, descriptor="dpa1", **NET)
    start, _ = family.fit(items, elements=("Fe",), seed=1)
    frozen = family.model_copy(update={"freeze_descriptor": True})
    tuned, _ = frozen.fit(items, elements=("Fe",), seed=2, start=start)
    frame = items[3].frame
    assert tuned.predict([frame]).energy != start.predict([frame]).energy
    bent = frame.replace(positions=frame.positions + 1e-4 * np.eye(3)[[0, 0]] * [[0], [1]])
    back = frame.replace(positions=frame.positions - 1e-4 * np.eye(3)[[0, 0]] * [[0], [1]])
    up, down = tuned.predict([bent, back]).energy
    assert tuned.predict([frame]).forces[1, 0] == pytest.approx(-(up - down) / 2e-4, abs=1e-6)


SMALL: dict[str, dict[str, float]] = {
    "se_e2_a": {},
    "dpa3": {"layers": 2, "node": 16, "edge": 8, "angle": 8, "angle_cutoff": 3.0},
    "dpa4": {"channels": 8, "l_max": 1, "blocks": 1, "radial_functions": 8},
}


def messages(descriptor: str, **settings) -> dict[str, object]:
    """Settings of a small network."""
    sizes = {descriptor: SMALL[descriptor]} if SMALL[descriptor] else {}
    return {"cutoff": 3.5, "descriptor": descriptor, "fitting_neurons": (32, 32), "batch_atoms": 8, **sizes, **settings}


def forces_are_slopes(potential: DeepmdPotential, frame: Frame) -> None:
    """Of the energy, and magnetic forces too, where there are some."""
    step = 1e-4
    unit = np.zeros((len(frame), 3))
    unit[1, 0] = step
    found = potential.predict([frame])
    up, down = potential.predict([frame.replace(positions=frame.positions + h * unit) for h in (1, -1)]).energy
    assert found.forces[1, 0] == pytest.approx(-(up - down) / (2 * step), abs=1e-5)
    if found.magnetic_forces is not None:
        turned = [frame.replace(magmoms=frame.magmoms + h * unit) for h in (1, -1)]
        up, down = potential.predict(turned).energy
        assert found.magnetic_forces[1, 0] == pytest.approx(-(up - down) / (2 * step), abs=1e-5)


@pytest.mark.parametrize("descriptor", ["dpa3", "dpa4"])
def test_messages_learn_and_go_on(descriptor, deepmd_kit):
    items = rattled_iron(12)
    family = DpFamily(**messages(descriptor, steps=100, interval=50, learning_rate=(3e-3, 1e-3)))
    first, report = family.fit(items, elements=("Fe",), seed=1)
    forces_are_slopes(first, items[3].frame)
    more, tuned = family.fit(items, elements=("Fe",), seed=2, start=first)
    forces_are_slopes(more, items[3].frame)
    spread = np.concatenate([i.label.forces for i in items]).std()
    assert tuned.rmse["train"]["forces"] < 0.8 * min(report.rmse["train"]["forces"] / 0.7, spread)


def magnetic_iron(n: int) -> list[LabeledFrame]:
    """The same cells, with energies and magnetic forces of moments of 1 to 2.4 muB about the z axis."""
    items = []
    for k, item in enumerate(rattled_iron(n)):
        moments = np.random.default_rng([7, k]).normal((0.0, 0.0, 1.6), 0.3, (2, 3))
        frame = item.frame.replace(magmoms=moments)
        square = (moments**2).sum(axis=1)
        energy = item.label.energy + 0.05 * ((square - 4.0) ** 2).sum()
        field = -0.2 * (square - 4.0)[:, None] * moments
        label = Label(
            frame.frame_id,
            LEVEL,
            frame.orientation,
            energy=energy,
            forces=item.label.forces,
            magmoms=moments,
            magnetic_forces=field,
        )
        items.append(LabeledFrame(frame, label))
    return items


def test_moments_are_learnt_on_a_potential_that_knows_none(deepmd_kit):
    """At the start zero moments say what was said without any; M and -M say the same."""
    plain, magnetic = rattled_iron(12), magnetic_iron(12)
    still = {"steps": 1, "interval": 1, "learning_rate": (1e-12, 1e-12), "start_bias": "keep"}
    without, _ = DpFamily(**messages("dpa4", steps=60, interval=60)).fit(plain, elements=("Fe",), seed=1)
    begun, _ = DpSpinFamily(**messages("dpa4", **still)).fit(magnetic, elements=("Fe",), seed=2, start=without)
    at_rest = begun.predict([item.frame.replace(magmoms=np.zeros((2, 3))) for item in plain])
    known = without.predict([item.frame for item in plain])
    np.testing.assert_allclose(at_rest.energy, known.energy, atol=1e-6)
    np.testing.assert_allclose(at_rest.forces, known.forces, atol=1e-6)
    np.testing.assert_allclose(at_rest.magnetic_forces, 0.0, atol=1e-9)
    learn = DpSpinFamily(**messages("dpa4", steps=150, interval=50, learning_rate=(5e-3, 1e-3)))
    potential, report = learn.fit(magnetic, elements=("Fe",), seed=2, start=without)
    forces_are_slopes(potential, magnetic[0].configuration)
    there, back = (potential.predict([f]) for f in (magnetic[3].frame, magnetic[3].frame.time_reversed()))
    np.testing.assert_allclose(there.energy, back.energy, atol=1e-10)
    np.testing.assert_allclose(there.magnetic_forces, -back.magnetic_forces, atol=1e-10)
    fields = np.concatenate([i.label.magnetic_forces for i in magnetic])
    assert report.rmse["train"]["magnetic_forces"] < 0.7 * np.sqrt(np.mean(fields**2))


@pytest.fixture(scope="module")
def published(tmp_path_factory, deepmd_kit) -> tuple[Path, DeepmdPotential]:
    """A checkpoint of deepmd-kit for aluminium and iron, as others leave it, and what it says."""
    directory = tmp_path_factory.mktemp("published")
    family = DpFamily(**messages("dpa3", steps=60, interval=60, learning_rate=(3e-3, 1e-3)))
    potential, _ = family.fit(rattled_iron(12), elements=("Al", "Fe"), seed=1, workdir=directory)
    (found,) = directory.glob("training-*/model.ckpt-60.pt")
    return found, potential


class TestPretrained:
    """Fits that begin with a checkpoint of others."""

    STILL: ClassVar = {"steps": 1, "interval": 1, "learning_rate": (1e-12, 1e-12), "start_bias": "keep"}

    def test_it_decides_the_form_and_elements_that_are_not_asked_for_are_left_out(self, published):
        items, (file, others) = rattled_iron(12), published
        begun, _ = DpFamily(pretrained=file, **self.STILL).fit(items, elements=("Fe",), seed=3)
        frames = [item.frame for item in items]
        np.testing.assert_allclose(begun.predict(frames).energy, others.predict(frames).energy, atol=1e-6)
        np.testing.assert_allclose(begun.predict(frames).forces, others.predict(frames).forces, atol=1e-6)
        assert begun.species == ("Fe",) and begun.model["descriptor"]["repflow"]["n_dim"] == 16
        again, _ = DpFamily(pretrained=file, **self.STILL).fit(items, elements=("Fe",), seed=3, start=begun)
        np.testing.assert_allclose(again.predict(frames).energy, begun.predict(frames).energy, atol=1e-6)

    def test_what_does_not_fit_is_one_line(self, published, tmp_path):
        items, (file, _) = rattled_iron(2), published

        def fit(family: DpFamily, *elements: str) -> None:
            family.fit(items, elements=("Fe", *elements), seed=1)

        with pytest.raises(InputError, match=r"does not know an element; seen: Ni; .*type map \(Al, Fe\)"):
            fit(DpFamily(pretrained=file, **self.STILL), "Ni")
        with pytest.raises(InputError, match=r"no such branch; seen: metals; expected: no branch"):
            fit(DpFamily(pretrained=file, branch="metals", **self.STILL))
        with pytest.raises(InputError, match=r"cannot be read: No such file"):
            fit(DpFamily(pretrained=tmp_path / "none.pt", **self.STILL))
        (tmp_path / "text.pt").write_text("no checkpoint")
        with pytest.raises(InputError, match=r"text\.pt: not a checkpoint of deepmd-kit"):
            fit(DpFamily(pretrained=tmp_path / "text.pt", **self.STILL))
        with pytest.raises(InputError, match=r"does not fit"):
            DpSpinFamily(pretrained=file, **self.STILL).fit(magnetic_iron(2), elements=("Fe",), seed=1)


HEADS = {"alloys": 1.0, "metals": 3.0}
"""Branches of one model, and how much stiffer the spring is in the labels of each."""


@pytest.fixture(scope="module")
def branched(tmp_path_factory, deepmd_kit) -> tuple[Path, dict[str, np.ndarray]]:
    """What `dp train` leaves of two models on one descriptor, and the energies that deepmd-kit has from each."""
    directory = tmp_path_factory.mktemp("branched")
    systems = {head: write_deepmd(directory / head, stiffer(factor), NAMES)[0] for head, factor in HEADS.items()}
    (directory / "input.json").write_text(json.dumps(two_branches(systems)))
    deepmd("--pt", "train", "input.json", "--skip-neighbor-stat", within=directory)
    file, said = directory / "model.ckpt-60.pt", {}
    asked = systems["alloys"]
    for head in HEADS:
        deepmd("test", "-m", file.name, "--head", head, "-s", str(asked), "-d", head, within=directory)
        said[head] = np.loadtxt(directory / f"{head}.e.out")[:, 1]
    return file, said


def two_branches(systems: Mapping[str, Path]) -> dict[str, object]:
    """The input of a training whose branches share elements and descriptor."""
    family = DpFamily(**messages("dpa3", steps=60, interval=60, learning_rate=(3e-3, 1e-3)))
    form = family.form(rattled_iron(12), NAMES)
    content = training_input(family, form, {TRAIN: []}, "", 1, freeze_descriptor=False)
    model, loss, data = content.pop("model"), content.pop("loss"), content["training"].pop("training_data")
    branch = {**model, "type_map": "elements", "descriptor": "reads"}
    shared = {"elements": model["type_map"], "reads": model["descriptor"]}
    parts = {head: {"training_data": {**data, "systems": [str(system)]}} for head, system in systems.items()}
    training = {**content["training"], "model_prob": dict.fromkeys(systems, 0.5), "data_dict": parts}
    sections = {"model": {"shared_dict": shared, "model_dict": dict.fromkeys(systems, branch)}, "training": training}
    return {**content, **sections, "loss_dict": dict.fromkeys(systems, loss)}


def stiffer(factor: float) -> list[LabeledFrame]:
    """The labels of :func:`rattled_iron`, with a spring that is `factor` times as stiff."""
    items = []
    for item in rattled_iron(12):
        energy, forces = factor * (item.label.energy + 8.0) - 8.0, factor * item.label.forces
        items.append(LabeledFrame(item.frame, Label(item.frame.frame_id, LEVEL, energy=energy, forces=forces)))
    return items


def deepmd(*arguments: str, within: Path) -> None:
    """Run deepmd-kit's own command line."""
    options = {"cwd": within, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with DEEPMD_KIT.start(DEEPMD_KIT.command("train", *arguments), **options) as process:
        said, _ = process.communicate()
    assert process.returncode == 0, said.decode()[-2000:]


class TestBranches:
    """Fits that begin with one of several models that share a descriptor."""

    STILL: ClassVar = TestPretrained.STILL

    @pytest.mark.parametrize("head", HEADS)
    def test_the_branch_that_is_named_is_where_a_fit_begins(self, branched, head):
        file, said = branched
        begun, _ = DpFamily(pretrained=file, branch=head, **self.STILL).fit(rattled_iron(12), elements=("Fe",), seed=3)
        found = begun.predict([item.frame for item in rattled_iron(12)])
        np.testing.assert_allclose(found.energy, said[head], atol=1e-5)

    def test_branches_say_different_things(self, branched):
        _, said = branched
        assert np.abs(said["alloys"] - said["metals"]).max() > 1e-3

    @pytest.mark.parametrize(("branch", "problem"), [(None, "has several branches"), ("oxides", "has no such branch")])
    def test_a_branch_that_is_not_there_is_one_line_that_names_those_there_are(self, branched, branch, problem):
        file, _ = branched
        with pytest.raises(InputError, match=rf"{problem}.*expected: alloys, metals"):
            DpFamily(pretrained=file, branch=branch, **self.STILL).fit(rattled_iron(2), elements=("Fe",), seed=1)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_deepmd_real as t
t.long_family().fit(t.rattled_iron(12), elements=("Fe",), seed=3, workdir=Path(sys.argv[2]))
"""


def long_family() -> DpFamily:
    return DpFamily(cutoff=3.5, steps=400, interval=20, learning_rate=(5e-3, 1e-4), **NET)


def test_kill_9_and_go_on(tmp_path):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path)]) as process:
        deadline = time.monotonic() + 120
        while not (found := list(tmp_path.glob("training-*/model.ckpt-*.pt"))):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    directory = found[0].parent
    time.sleep(1.0)
    reached = read_curve(directory).step
    time.sleep(1.0)
    assert read_curve(directory).step == reached < 400  # the training died with magflow
    _, report = long_family().fit(rattled_iron(12), elements=("Fe",), seed=3, workdir=tmp_path)
    steps = [int(row["step"]) for row in report.history]
    assert report.iterations == 400 and steps == sorted(set(steps))
    assert (directory / "train.log").read_text().count("Start to train") == 2
    forces = np.concatenate([i.label.forces for i in rattled_iron(12)])
    assert report.rmse["train"]["forces"] < 0.5 * forces.std()
    with pytest.raises(InputError, match="another training"):
        long_family().fit(rattled_iron(11), elements=("Fe",), seed=3, workdir=tmp_path)


def test_a_training_that_diverges_says_so(tmp_path):
    items = rattled_iron(4)
    broken = Label(items[0].frame.frame_id, LEVEL, energy=-16.0, forces=np.full((2, 3), 1e200))
    family = DpFamily(cutoff=3.5, steps=200, interval=10, **NET)
    with pytest.raises(InputError, match="diverged"):
        family.fit([LabeledFrame(items[0].frame, broken), *items], elements=("Fe",), seed=1, workdir=tmp_path)
