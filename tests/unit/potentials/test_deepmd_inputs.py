"""What the DeePMD families write for deepmd-kit, and what they refuse. Nothing here needs deepmd-kit."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

from magflow.core import plugins
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.errors import InputError
from magflow.io.deepmd import read_deepmd
from magflow.io.records import labeled_frames
from magflow.potentials.deepmd import DeepmdPotential, DpFamily, DpSpinFamily, data, inputs, starts
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.outside import labels

LEVEL = LevelOfTheory("none", "1", LabelKind.CONSTRAINED, "none")
SPECIES = ("Al", "Fe")


def item(seed: int, *, n: int = 4, stress: bool = True, moments: bool = True, magnetic: bool = True) -> LabeledFrame:
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(3.5, 4.5, 3)) + rng.normal(0, 0.1, (3, 3))
    magmoms = rng.normal(0, 1, (n, 3)) * np.array([0.001, 1.0] * (n // 2))[:, None] if moments else None
    frame = Frame(SPECIES * (n // 2), cell, rng.uniform(0, 1, (n, 3)) @ cell, magmoms)
    label = Label(
        frame.frame_id,
        LEVEL,
        frame.orientation,
        energy=float(rng.normal()),
        forces=rng.normal(size=(n, 3)),
        stress=rng.normal(size=6) if stress else None,
        magmoms=frame.magmoms,
        magnetic_forces=rng.normal(size=(n, 3)) if magnetic and moments else None,
    )
    return LabeledFrame(frame, label)


def key(one: LabeledFrame) -> tuple[float, ...]:
    first = np.round(one.configuration.magmoms, 9).ravel()[:3] if one.configuration.magmoms is not None else np.zeros(3)
    return (round(one.label.energy, 9), *first)


@pytest.mark.parametrize("magnetic", [False, True])
def test_labels_survive_the_round_trip(tmp_path, magnetic):
    items = [item(0), item(1, stress=False), item(2, n=2), item(3, magnetic=False)]
    folders = data.write_systems(tmp_path / "x", items, SPECIES, magnetic=magnetic)
    back = [one for folder in folders for one in labeled_frames(read_deepmd(folder))]
    expected = list(items)
    if magnetic:
        expected += [LabeledFrame(i.frame.time_reversed(), i.label) for i in items]
    assert len(back) == len(expected)
    for one, other in zip(sorted(back, key=key), sorted(expected, key=key), strict=True):
        for name in ("forces", "stress", "magmoms", "magnetic_forces"):
            found, wanted = getattr(one.label, name), getattr(other.label, name)
            assert (found is None) == (wanted is None), name
            if wanted is not None:
                np.testing.assert_allclose(found, wanted, atol=1e-12)
        np.testing.assert_allclose(one.frame.positions, other.frame.positions)


def test_neighbours_are_counted():
    frames = [item(k).frame for k in range(4)]
    cutoff = 3.7
    most = np.zeros(2, dtype=int)
    for frame in frames:
        shifts = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3), -1).reshape(-1, 3) @ frame.cell
        images = (frame.positions[:, None] + shifts[None]).reshape(-1, 3)
        kinds = np.repeat([SPECIES.index(s) for s in frame.species], len(shifts))
        distance = np.linalg.norm(frame.positions[:, None] - images[None], axis=-1)
        near = (distance < cutoff) & (distance > 1e-9)
        for row in near:
            most = np.maximum(most, [(row & (kinds == t)).sum() for t in (0, 1)])
    assert data.most_neighbours(frames, SPECIES, cutoff) == most.tolist()


def test_the_crowded_frame_counts_wherever_it_stands():
    alone = Frame(("Fe", "Al"), 20.0 * np.eye(3), [[0, 0, 0], [9, 9, 9]])
    crowded = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45, 1.45, 1.45]])
    for frames in ([alone, crowded], [crowded, alone]):
        assert data.most_neighbours(frames, SPECIES, 3.0) == [8, 8], "eight of the other kind, six images of the same"


def test_room_for_half_as_many_neighbours_again():
    frame = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45, 1.45, 1.45]])
    crowded = LabeledFrame(frame, Label(frame.frame_id, LEVEL, frame.orientation, energy=0.0))
    near = {"cutoff": 3.0, "smooth_from": 0.5}  # eight neighbours of either kind
    assert DpFamily(**near).form([crowded], SPECIES)["descriptor"]["sel"] == [12, 12]
    assert DpFamily(**near, descriptor="dpa1").form([crowded], SPECIES)["descriptor"]["sel"] == 24


def test_sizes_of_messages_reach_the_input():
    near = {"cutoff": 3.0, "smooth_from": 0.5}
    frame = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45, 1.45, 1.45]])
    crowded = LabeledFrame(frame, Label(frame.frame_id, LEVEL, frame.orientation, energy=0.0))
    dpa3 = DpFamily(**near, descriptor="dpa3", dpa3={"layers": 2, "angle": 8, "angle_cutoff": 2.4})
    repflow = dpa3.form([crowded], SPECIES)["descriptor"]["repflow"]
    assert (repflow["nlayers"], repflow["a_dim"], repflow["e_rcut"], repflow["a_rcut"]) == (2, 8, 3.0, 2.4)
    assert (repflow["e_sel"], repflow["a_sel"]) == (24, 8), "none is nearer than 2.5 A: room for four of each"
    section = DpFamily(**near, descriptor="dpa4", dpa4={"l_max": 3}).form([crowded], SPECIES)
    assert section["type"] == "dpa4" and section["descriptor"]["lmax"] == 3 and section["descriptor"]["sel"] == 24


@pytest.mark.parametrize(
    ("descriptor", "sizes", "messages"),
    [("se_e2_a", {}, 1), ("dpa1", {}, 1), ("dpa3", {"layers": 4}, 4), ("dpa4", {"blocks": 3}, 3)],
)
def test_each_message_reaches_one_cutoff_further(descriptor, sizes, messages):
    family = DpFamily(cutoff=4.5, descriptor=descriptor, **({descriptor: sizes} if sizes else {}))
    assert model(family.form([item(0)], SPECIES)).cutoff == pytest.approx(4.5 * messages)


@pytest.mark.parametrize(("neurons", "axis"), [((10, 20, 40), 16), ((4, 8), 8)])
def test_the_axis_has_no_more_neurons_than_the_layer_it_is_cut_from(neurons, axis):
    descriptor = DpFamily(descriptor_neurons=neurons).form([item(0)], SPECIES)["descriptor"]
    assert (descriptor["neuron"], descriptor["axis_neuron"]) == (list(neurons), axis)


def test_moments_are_measured_by_their_length():
    frame = Frame(("Fe", "Al"), 4.0 * np.eye(3), [[0, 0, 0], [2, 2, 2]], [[-3.0, 0.0, 4.0], [0.0, -0.2, 0.0]])
    label = Label(frame.frame_id, LEVEL, frame.orientation, energy=0.0, magmoms=frame.magmoms)
    bare = item(0, moments=False)
    found = labels.largest_moments([LabeledFrame(frame, label), bare], (*SPECIES, "Ni"))
    assert found == pytest.approx([0.2, 5.0, 0.0])


def test_form_of_a_spin_model():
    items = [item(k) for k in range(3)]
    family = DpSpinFamily(virtual_length=0.3)
    section = family.form(items, SPECIES)
    largest = max(np.linalg.norm(i.configuration.magmoms[1::2], axis=1).max() for i in items)
    assert section["spin"]["use_spin"] == [False, True]
    assert section["spin"]["virtual_scale"] == pytest.approx([0.0, 0.3 / largest])
    assert section["descriptor"]["env_protection"] == family.softening
    assert all(n % 4 == 0 and n > 0 for n in section["descriptor"]["sel"])
    assert "spin" not in DpFamily().form(items, SPECIES)
    assert isinstance(DpFamily(descriptor="dpa1").form(items, SPECIES)["descriptor"]["sel"], int)


def test_moments_are_vectors_beside_the_atoms_of_dpa4():
    section = DpSpinFamily(descriptor="dpa4").form([item(0)], SPECIES)
    assert section["spin"] == {"scheme": "native", "use_spin": [False, True]}
    assert "env_protection" not in section["descriptor"]


def test_a_spin_model_needs_spins():
    still = LabeledFrame(f := item(0).frame.replace(magmoms=np.zeros(4)), Label(f.frame_id, LEVEL, energy=0.0))
    with pytest.raises(InputError, match="use the family dp"):
        DpSpinFamily().form([still], SPECIES)


def test_seeds_and_steps_reach_the_input():
    family, items = DpSpinFamily(steps=1000, interval=10), [item(0)]
    section = family.form(items, SPECIES)
    systems = {"train": ["a"], "validation": ["b"]}
    one, two = (
        inputs.training_input(family, section, systems, "FR:RMSE", seed, freeze_descriptor=False) for seed in (1, 2)
    )
    assert one["training"]["numb_steps"] == 1000 and one["training"]["save_freq"] == 10
    assert one["training"]["seed"] != two["training"]["seed"]
    assert one["model"]["descriptor"]["seed"] != two["model"]["descriptor"]["seed"]
    assert one["model"]["descriptor"]["seed"] != one["model"]["fitting_net"]["seed"]
    assert one["loss"]["type"] == "ener_spin" and one["loss"]["start_pref_fm"] == 1000.0
    assert one["validating"]["validation_metric"] == "FR:RMSE"
    assert "seed" not in section["descriptor"]
    plain = inputs.training_input(DpFamily(), section, {"train": ["a"]}, "F:RMSE", 1, freeze_descriptor=True)
    assert "validating" not in plain and not plain["model"]["descriptor"]["trainable"]
    assert plain["loss"]["type"] == "ener" and "start_pref_f" in plain["loss"]


def test_the_best_step_is_judged_by_what_is_labelled():
    forces, none = item(0), LabeledFrame(f := item(1).frame, Label(f.frame_id, LEVEL, energy=0.0))
    assert inputs.validation_metric(DpFamily(), [forces]) == "F:RMSE"
    assert inputs.validation_metric(DpSpinFamily(), [none, forces]) == "FR:RMSE"
    assert inputs.validation_metric(DpFamily(), [none]) == "E:RMSE"
    assert inputs.validation_metric(DpFamily(weights={"forces": (0, 0)}), [forces]) == "E:RMSE"


@pytest.mark.parametrize(
    "settings",
    [
        {"smooth_from": 6.0, "cutoff": 5.0},
        {"learning_rate": (1e-4, 1e-3)},
        {"interval": 10, "steps": 5},
        {"weights": {"forces": (1.0, 0.0)}},
        {"weights": {"energy": (0.0, 0.0)}},
        {"descriptor": "se_e3"},
        {"virtual_length": 0.3},
        {"descriptor": "dpa3", "cutoff": 3.5, "dpa3": {"angle_cutoff": 3.6}},
        {"descriptor": "dpa4", "dpa4": {"l_max": 0}},
        {"branch": "metals"},
    ],
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValidationError):
        DpFamily(**settings)


def test_families_are_found_by_name():
    assert plugins.load(plugins.POTENTIAL_FAMILIES, "dp") is DpFamily
    assert plugins.load(plugins.POTENTIAL_FAMILIES, "dp-spin") is DpSpinFamily


def test_room_for_neighbours_is_that_of_the_start():
    near, far = item(0), item(1)
    for descriptor in ("se_e2_a", "dpa1", "dpa3", "dpa4"):
        family = DpFamily(descriptor=descriptor, cutoff=5.0)
        asked, given = (dict(family.form([one], SPECIES)) for one in (near, far))
        start = DeepmdPotential(b"weights", given)
        begin = starts.from_potential(asked, start, "dp")
        assert begin.model["descriptor"] == given["descriptor"] and begin.checkpoint == b"weights"


class TestPublished:
    """What the form of a checkpoint of others becomes; deepmd-kit only reads the file."""

    PARAMS: ClassVar = {
        "type_map": ["H", "Al", "Fe", "Ni"],
        "descriptor": {"type": "SeZM", "rcut": 6.0, "n_blocks": 2, "seed": 7},
        "fitting_net": {"type": "sezm_ener", "neuron": [0], "seed": 7},
        "info": {"author": "others"},
    }

    @pytest.fixture(autouse=True)
    def described(self, monkeypatch):
        """Sets what the file is said to hold."""
        held = [self.PARAMS]
        monkeypatch.setattr(starts, "_described", lambda path: held[0])
        return lambda params: held.__setitem__(0, params)

    def test_its_own_form_for_the_elements_that_are_asked_for(self):
        section = starts.pretrained_section(Path("a.pt"), None, SPECIES)
        assert section["type_map"] == ["Al", "Fe"] and section["type"] == "dpa4" and "info" not in section
        assert section["descriptor"] == {"type": "dpa4", "rcut": 6.0, "n_blocks": 2}
        assert section["fitting_net"] == {"type": "sezm_ener", "neuron": [0]}
        assert DpSpinFamily().form([item(0)], SPECIES, section)["spin"]["scheme"] == "native"

    def test_one_branch_of_several(self, described):
        flat = self.PARAMS | {"descriptor": {"type": "dpa3", "repflow": {"nlayers": 3, "e_rcut": 6.0}}}
        flat["fitting_net"] = {"neuron": [240]}
        described({"model_dict": {"metals": flat, "water": self.PARAMS}})
        section = starts.pretrained_section(Path("a.pt"), "metals", SPECIES)
        assert section["descriptor"]["type"] == "dpa3" and "type" not in section
        with pytest.raises(InputError, match=r"a\.pt: the pretrained model has several branches; .*metals, water"):
            starts.pretrained_section(Path("a.pt"), None, SPECIES)
        with pytest.raises(InputError, match=r"no such branch; seen: oxides; expected: metals, water"):
            starts.pretrained_section(Path("a.pt"), "oxides", SPECIES)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"type_map": ["H", "Fe"]}, r"does not know an element; seen: Al; .*\(H, Fe\)"),
            ({"spin": {"virtual_scale": [0.3]}}, "has virtual atoms for moments"),
            ({"fitting_net": {"type": "dipole"}}, "gives no energies; seen: dipole"),
        ],
    )
    def test_what_cannot_be_gone_on_from(self, described, change, said):
        described(self.PARAMS | change)
        with pytest.raises(InputError, match=said):
            starts.pretrained_section(Path("a.pt"), None, SPECIES)


class TestRefusals:
    def test_missing_moments_name_the_frame(self):
        with pytest.raises(InputError, match=r"train frame 1 \(Al2Fe2\): the frame has no moments"):
            DpSpinFamily().fit([item(0), item(1, moments=False)], elements=SPECIES, seed=0)

    def test_no_labels(self):
        with pytest.raises(InputError, match="no labels"):
            DpFamily().fit([], elements=SPECIES, seed=0)

    def test_unknown_element(self):
        with pytest.raises(InputError, match="validation frame 0"):
            DpFamily().fit([item(0)], elements=SPECIES, seed=0, validation=[ni()])

    def test_forces_that_are_not_finite(self):
        one = item(0)
        label = Label(one.label.frame_id, LEVEL, one.frame.orientation, energy=0.0, forces=np.full((4, 3), np.nan))
        with pytest.raises(InputError, match="forces are not finite"):
            DpFamily().fit([LabeledFrame(one.frame, label)], elements=SPECIES, seed=0)

    def test_stress_that_is_not_finite(self):
        from dataclasses import replace

        bad = item(1)
        bad = LabeledFrame(bad.frame, replace(bad.label, stress=np.array([0, 0, np.nan, 0, 0, 0])))
        with pytest.raises(InputError, match=r"validation frame 1 .*stress"):
            labels.check([item(0), bad], SPECIES, magnetic=True, part="validation", without="dp")

    def test_a_start_of_another_kind(self):
        one = item(0)
        given = {"elements": SPECIES, "seed": 0}
        family = DpFamily()
        section = family.form([one], SPECIES)
        other_map = DeepmdPotential(b"weights", section | {"type_map": ["Al", "Ni"]})
        with pytest.raises(InputError, match=r"knows other elements; seen: Al, Ni"):
            family.fit([one], start=other_map, **given)
        with pytest.raises(InputError, match=r"differs in descriptor\.rcut"):
            family.fit([one], start=DeepmdPotential(b"", DpFamily(cutoff=4.0).form([one], SPECIES)), **given)
        with pytest.raises(InputError, match="another family"):
            family.fit([one], start=DeepmdPotential(b"", DpSpinFamily().form([one], SPECIES)), **given)
        with pytest.raises(InputError, match=r"another family; seen: dp; .* in descriptor dpa4 alone"):
            DpSpinFamily().fit([one], start=DeepmdPotential(b"", section), **given)
        deep = DpFamily(descriptor="dpa3")
        shallow = DpFamily(descriptor="dpa3", dpa3={"layers": 2}).form([one], SPECIES)
        with pytest.raises(InputError, match=r"differs in descriptor\.repflow\.nlayers; seen: 2"):
            deep.fit([one], start=DeepmdPotential(b"", shallow), **given)
        mmtp = MmtpFamily(level=2, cutoff=4.0, n_radial=3, max_iterations=1)
        plain = [LabeledFrame(f := item(k, moments=False).frame, Label(f.frame_id, LEVEL, energy=0.0)) for k in (1, 2)]
        with pytest.raises(InputError, match="another family; seen: mmtp"):
            family.fit([one], start=mmtp.fit(plain, elements=SPECIES, seed=0)[0], **given)


def ni() -> LabeledFrame:
    frame = Frame(("Ni",), 2.5 * np.eye(3), np.zeros((1, 3)))
    return LabeledFrame(frame, Label(frame.frame_id, LEVEL, energy=0.0))


def model(section: dict | None = None) -> DeepmdPotential:
    return DeepmdPotential(b"weights", section or DpFamily().form([item(0)], SPECIES))


def test_bytes_round_trip():
    loaded = DpFamily().load(model().to_bytes())
    assert loaded.checkpoint == b"weights" and loaded.species == SPECIES and loaded.cutoff == 5.5
    assert not loaded.magnetic and loaded.family == "dp"
    with pytest.raises(InputError, match="another family"):
        DpSpinFamily().load(model().to_bytes())


def test_a_model_that_was_changed_is_refused():
    with np.load(io.BytesIO(model().to_bytes())) as archive:
        header, checkpoint = archive["header"], archive["checkpoint"].copy()
    checkpoint[0] ^= 1
    buffer = io.BytesIO()
    np.savez(buffer, header=header, checkpoint=checkpoint)
    with pytest.raises(InputError, match="damaged"):
        DpFamily().load(buffer.getvalue())
    assert len(json.loads(str(header))["sha256"]) == 64


def test_frames_a_model_cannot_read():
    with pytest.raises(InputError, match="does not know an element"):
        model().predict([ni().frame])
    spin = model(DpSpinFamily().form([item(0)], SPECIES))
    with pytest.raises(InputError, match="frame 0: the frame has no moments"):
        spin.predict([item(0).frame.non_magnetic()])
