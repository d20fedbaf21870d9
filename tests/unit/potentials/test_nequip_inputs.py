"""What the NequIP families write for nequip, and what they refuse. Nothing here needs nequip."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from magflow.core import plugins
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.errors import InputError
from magflow.potentials.mmtp import MmtpFamily
from magflow.potentials.nequip import AllegroFamily, NequipFamily, NequipPotential, NequipSpinFamily, graph, inputs
from magflow.potentials.nequip.definition import definition, started
from magflow.potentials.nequip.settings import NequipSettings

LEVEL = LevelOfTheory("none", "1", LabelKind.CONSTRAINED, "none")
SPECIES = ("Al", "Fe")


def item(seed: int, *, n: int = 4, moments: bool = True, **changed) -> LabeledFrame:
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(3.5, 4.5, 3)) + rng.normal(0, 0.1, (3, 3))
    magmoms = rng.uniform(-2, 2, n) * np.array([0.001, 1.0] * (n // 2)) if moments else None
    frame = Frame(SPECIES * (n // 2), cell, rng.uniform(0, 1, (n, 3)) @ cell, magmoms)
    magnetic = np.zeros((n, 3))
    magnetic[:, 2] = rng.normal(size=n)
    label = Label(
        frame.frame_id,
        LEVEL,
        frame.orientation,
        energy=float(rng.normal()),
        forces=rng.normal(size=(n, 3)),
        stress=rng.normal(size=6),
        magmoms=frame.magmoms,
        magnetic_forces=magnetic if moments else None,
    )
    return LabeledFrame(frame, replace(label, **changed))


def arrays_of(items: list[LabeledFrame], *, magnetic: bool = True, cutoff: float = 4.0) -> dict[str, np.ndarray]:
    return graph.labelled_graph(items, SPECIES, cutoff, magnetic=magnetic)


def form_of(family: NequipSettings, items: list[LabeledFrame]) -> dict:
    arrays = graph.labelled_graph(items, SPECIES, family.cutoff, magnetic=family.magnetic)
    return definition(family, family.network, items, arrays, SPECIES)


def model(family: NequipSettings | None = None, **changed) -> NequipPotential:
    family = family or NequipFamily(cutoff=4.0)
    return NequipPotential(form_of(family, [item(0)]) | changed, {"layer.weight": np.arange(6.0).reshape(2, 3)})


class TestGraph:
    def test_every_pair_within_the_cutoff_is_there_once_from_either_end(self):
        frames = [item(k, n=2 * k).frame for k in (1, 2)]
        found = graph.graph(frames, SPECIES, 4.0, magnetic=True)
        at = 0
        for k, frame in enumerate(frames):
            here = slice(at, at + int(found["pairs"][k]))
            at = here.stop
            i, j = found["neighbours"][:, here]
            vector = frame.positions[j] + found["shift"][here] @ frame.cell - frame.positions[i]
            shifts = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3), -1).reshape(-1, 3)
            images = (frame.positions[:, None] + (shifts @ frame.cell)[None]).reshape(-1, 3)
            distance = np.linalg.norm(frame.positions[:, None] - images[None], axis=-1)
            expected = np.sort(distance[(distance < 4.0) & (distance > 1e-9)])
            np.testing.assert_allclose(np.sort(np.linalg.norm(vector, axis=1)), expected, atol=1e-12)
        closest = min(np.linalg.norm(v, axis=1).min() for v in [vector])
        assert graph.closest(found) <= closest

    def test_what_is_not_labelled_is_nan(self):
        bare = item(1, forces=None, stress=None, magnetic_forces=None)
        some = item(2)
        unknown = some.label.magnetic_forces.copy()
        unknown[0] = np.nan
        partly = LabeledFrame(some.frame, replace(some.label, magnetic_forces=unknown))
        found = arrays_of([bare, partly])
        assert np.isnan(found["forces"][:4]).all() and np.isfinite(found["forces"][4:]).all()
        assert np.isnan(found["stress"][0]).all() and (found["stress"][1] == found["stress"][1].T).all()
        assert np.isnan(found["magnetic_forces"]).tolist() == [True] * 5 + [False] * 3
        np.testing.assert_allclose(found["moment"][4:], partly.configuration.magmoms[:, 2])

    def test_batches_hold_all_frames_in_their_order(self, monkeypatch):
        frames = [item(k).frame for k in range(7)]
        monkeypatch.setattr(graph, "BATCH_PAIRS", 300)
        found = list(graph.batches(frames, 4.0))
        assert len(found) > 1 and [k for s in found for k in range(7)[s]] == list(range(7))
        monkeypatch.setattr(graph, "BATCH_PAIRS", 1)
        assert [s.stop - s.start for s in graph.batches(frames, 4.0)] == [1] * 7
        assert list(graph.batches([], 4.0)) == []


class TestDefinition:
    def test_energies_of_atoms_and_scales_follow_from_the_labels(self):
        items = [item(k, n=n) for k, n in ((0, 2), (1, 4))]
        al = Frame(("Al",), 4.0 * np.eye(3), [[0, 0, 0]], [0.0])
        items.append(LabeledFrame(al, Label(al.frame_id, LEVEL, energy=0.0, magmoms=al.magmoms)))
        of_atoms = {"Al": -3.0, "Fe": -8.0}
        energies = [sum(of_atoms[s] for s in i.frame.species) for i in items]
        items = [LabeledFrame(i.frame, replace(i.label, energy=e)) for i, e in zip(items, energies, strict=True)]
        found = form_of(NequipSpinFamily(cutoff=4.0), items)
        assert found["energy_shifts"] == pytest.approx([-3.0, -8.0])
        forces = np.concatenate([i.label.forces for i in items[:2]])
        assert found["energy_scale"] == pytest.approx(np.sqrt(np.mean(forces**2)))
        assert found["moment_units"][0] == 1.0, "moments of Al are all below 0.01 muB"
        assert found["moment_units"][1] == pytest.approx(max(abs(i.configuration.magmoms).max() for i in items))
        assert found["largest_moments"][0] < 0.01 and found["closest"] > 0.5
        assert "moment_units" not in form_of(NequipFamily(), items)
        json.dumps(found)

    def test_one_composition_is_enough(self):
        found = form_of(NequipFamily(cutoff=4.0), [item(0), item(1)])
        mean = np.mean([i.label.energy / 4 for i in (item(0), item(1))])
        assert np.mean(found["energy_shifts"]) == pytest.approx(mean)

    def test_a_start_keeps_its_form_and_shifts_its_energies(self, monkeypatch):
        family, items = NequipFamily(cutoff=4.0), [item(k) for k in range(3)]
        start = model(family)
        said = np.array([i.label.energy - 4 * 5.0 for i in items])
        monkeypatch.setattr(NequipPotential, "predict", lambda self, frames: type("P", (), {"energy": said}))
        fresh = form_of(family, items)
        refitted = started(fresh, start, items, refit=True)
        moved = np.array(refitted["energy_shifts"]) - start.definition["energy_shifts"]
        assert moved == pytest.approx([5.0, 5.0])
        assert refitted | {"energy_shifts": None} == dict(start.definition) | {"energy_shifts": None}
        assert started(fresh, start, items, refit=False) == dict(start.definition)


class TestInput:
    def test_settings_and_seeds_reach_it(self, tmp_path):
        family = NequipSpinFamily(epochs=50, interval=7, batch_frames=3, learning_rate=(2e-3, 1e-5))
        items = [item(0), item(1, stress=None)]
        arrays, form = arrays_of(items), form_of(family, items)
        one, two = (inputs.training_input(family, form, arrays, seed, validated=True, started=False) for seed in (1, 2))
        assert one["trainer"]["max_epochs"] == 50 and one["trainer"]["callbacks"][0]["interval"] == 7
        assert one["data"]["train_dataloader"]["batch_size"] == 3 and one["data"]["train_dataloader"]["shuffle"]
        assert one["training_module"]["optimizer"]["lr"] == 2e-3
        assert one["training_module"]["lr_scheduler"]["scheduler"]["eta_min"] == 1e-5
        assert one["data"]["seed"] != two["data"]["seed"] != two["training_module"]["model"]["seed"]
        assert one["training_module"]["model"]["seed"] != two["training_module"]["model"]["seed"]
        assert one["training_module"]["model"]["parameters"] is None
        inputs.write_yaml(tmp_path / "input.yaml", one)
        read = YAML(typ="safe", pure=True).load(tmp_path / "input.yaml")
        assert read == one, "nequip reads other numbers than were written"

    def test_without_validation_none_runs(self):
        arrays, form = arrays_of([item(0)]), form_of(NequipSpinFamily(), [item(0)])
        found = inputs.training_input(NequipSpinFamily(), form, arrays, 1, validated=False, started=True)
        assert found["trainer"]["limit_val_batches"] == 0 and found["data"]["val_dataset"]["path"] == "train.npz"
        assert found["training_module"]["model"]["parameters"] == "start.npz"

    def test_what_is_labelled_and_weighted_is_learnt_and_partly_missing_labels_take_part(self):
        family = NequipSpinFamily(weights={"stress": 2.0, "forces": 0.5})

        def learnt(items: list[LabeledFrame], family=family, **options) -> dict[str, float]:
            arrays = arrays_of(items, **options)
            found = inputs.training_input(family, {}, arrays, 1, validated=True, started=False)["training_module"]
            assert found["loss"] == found["val_metrics"] and all(e["ignore_nan"] for e in found["loss"]["metrics"])
            return {entry["name"]: entry["coeff"] for entry in found["loss"]["metrics"]}

        bare = item(1, stress=None, magnetic_forces=None, forces=None)
        volume = np.mean([(i.frame.volume / 4) ** 2 for i in (item(0), bare)])
        assert learnt([item(0), bare]) == pytest.approx(
            {"energy": 1.0, "forces": 0.5, "stress": 2.0 * volume, "magnetic_forces": 1.0}
        )
        assert set(learnt([bare])) == {"energy"}
        assert set(learnt([item(0)], family=NequipFamily(), magnetic=False)) == {"energy", "forces"}


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": (1e-4, 1e-3)},
        {"learning_rate": (1e-4, 0.0)},
        {"weights": {"energy": 0.0}},
        {"precision": "float16"},
        {"moment_functions": 3},
    ],
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValidationError):
        NequipFamily(**settings)


def test_families_are_found_by_name():
    assert plugins.load(plugins.POTENTIAL_FAMILIES, "nequip") is NequipFamily
    assert plugins.load(plugins.POTENTIAL_FAMILIES, "nequip-spin") is NequipSpinFamily
    assert plugins.load(plugins.POTENTIAL_FAMILIES, "allegro") is AllegroFamily


class TestArchitectures:
    def test_the_sizes_of_an_allegro_reach_its_input(self):
        family = AllegroFamily(cutoff=4.0, layers=2, features=12, tensor_features=3, neurons=9, radial_functions=5)
        items = [item(0, moments=False)]
        form = form_of(family, items)
        given = inputs.training_input(family, form, arrays_of(items, magnetic=False), 1, validated=False, started=False)
        assert given["training_module"]["model"]["definition"]["architecture"] == "allegro"
        assert given["training_module"]["model"]["definition"]["network"] == {
            "layers": 2, "l_max": 1, "features": 12, "tensor_features": 3, "neurons": 9, "radial_functions": 5,
        }  # fmt: skip

    def test_an_allegro_sees_one_cutoff_far(self):
        families = [AllegroFamily(cutoff=4.0, layers=3), NequipFamily(cutoff=4.0, layers=3)]
        assert [model(family).cutoff for family in families] == [4.0, 12.0]

    def test_each_is_a_family_of_its_own(self):
        given = model(AllegroFamily(cutoff=4.0))
        assert AllegroFamily().load(given.to_bytes()).family == "allegro"
        with pytest.raises(InputError, match="another family; seen: allegro"):
            NequipFamily().load(given.to_bytes())
        with pytest.raises(InputError, match="another family; seen: nequip"):
            AllegroFamily(cutoff=4.0).fit([item(0)], elements=SPECIES, seed=0, start=model())

    def test_a_model_without_the_name_of_its_architecture_is_a_nequip(self):
        given = dict(model().definition)
        del given["architecture"]
        assert NequipPotential(given, {}).family == "nequip"

    def test_settings_of_one_are_refused_by_the_other(self):
        for family, setting in ((AllegroFamily, "radial_neurons"), (NequipFamily, "tensor_features")):
            with pytest.raises(ValidationError, match=setting):
                family(**{setting: 8})


class TestRefusals:
    def test_missing_moments_name_the_frame(self):
        with pytest.raises(InputError, match=r"train frame 1 \(Al2Fe2\): the frame has no moments.*family nequip"):
            NequipSpinFamily().fit([item(0), item(1, moments=False)], elements=SPECIES, seed=0)

    def test_moments_that_are_not_collinear(self):
        frame = item(0).frame
        canted = frame.replace(magmoms=np.ones((4, 3)))
        label = Label(canted.frame_id, LEVEL, canted.orientation, energy=0.0)
        with pytest.raises(InputError, match="frame 0: moments are non-collinear"):
            NequipSpinFamily().fit([LabeledFrame(canted, label)], elements=SPECIES, seed=0)

    def test_no_labels(self):
        with pytest.raises(InputError, match="no labels"):
            NequipFamily().fit([], elements=SPECIES, seed=0)

    def test_unknown_element(self):
        frame = Frame(("Ni",), 2.5 * np.eye(3), np.zeros((1, 3)))
        ni = LabeledFrame(frame, Label(frame.frame_id, LEVEL, energy=0.0))
        with pytest.raises(InputError, match="validation frame 0"):
            NequipFamily().fit([item(0)], elements=SPECIES, seed=0, validation=[ni])
        with pytest.raises(InputError, match="does not know an element"):
            model().predict([frame])

    @pytest.mark.parametrize("name", ["forces", "stress"])
    def test_labels_that_are_not_finite(self, name):
        bad = getattr(item(1).label, name).copy()
        bad[0] = np.nan
        with pytest.raises(InputError, match=f"train frame 1 .*{name} are not finite"):
            NequipFamily().fit([item(0), item(1, **{name: bad})], elements=SPECIES, seed=0)

    def test_a_start_of_another_kind(self):
        family, given = NequipFamily(cutoff=4.0), {"elements": SPECIES, "seed": 0}
        with pytest.raises(InputError, match=r"knows other elements; seen: Al, Ni"):
            family.fit([item(0)], start=model(species=["Al", "Ni"]), **given)
        with pytest.raises(InputError, match=r"differs in network.*'features': 8"):
            family.fit([item(0)], start=model(NequipFamily(cutoff=4.0, features=8)), **given)
        with pytest.raises(InputError, match=r"differs in cutoff"):
            family.fit([item(0)], start=model(NequipFamily(cutoff=5.0)), **given)
        with pytest.raises(InputError, match="another family; seen: nequip-spin"):
            family.fit([item(0)], start=model(NequipSpinFamily(cutoff=4.0)), **given)
        plain = [item(k, moments=False) for k in (1, 2)]
        mmtp = MmtpFamily(level=2, cutoff=4.0, n_radial=3, max_iterations=1)
        with pytest.raises(InputError, match="another family; seen: mmtp"):
            family.fit([item(0)], start=mmtp.fit(plain, elements=SPECIES, seed=0)[0], **given)


class TestModelFiles:
    def test_round_trip(self):
        family = NequipSpinFamily(cutoff=4.0)
        given = model(family)
        loaded_again = family.load(given.to_bytes())
        assert loaded_again.definition == given.definition and loaded_again.family == "nequip-spin"
        assert loaded_again.magnetic and loaded_again.species == SPECIES and loaded_again.cutoff == 8.0  # two layers
        assert loaded_again.r_min == given.definition["closest"] and set(loaded_again.max_moment) == set(SPECIES)
        np.testing.assert_array_equal(loaded_again.parameters["layer.weight"], given.parameters["layer.weight"])
        with pytest.raises(InputError, match="another family"):
            NequipFamily().load(given.to_bytes())

    @pytest.mark.parametrize("what", ["definition", "parameter:layer.weight"])
    def test_one_that_was_changed_is_refused(self, what):
        with np.load(io.BytesIO(model().to_bytes())) as archive:
            content = {name: archive[name] for name in archive.files}
        changed = np.array(str(content[what]).replace("4.0", "4.1")) if what == "definition" else content[what] + 1.0
        buffer = io.BytesIO()
        np.savez(buffer, **(content | {what: changed}))
        with pytest.raises(InputError, match="damaged"):
            NequipFamily().load(buffer.getvalue())

    def test_a_pickle_is_never_read(self):
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=True, header=np.array([{"format": "magflow-nequip/1"}], dtype=object))
        with pytest.raises(InputError, match="not a NequIP model"):
            NequipFamily().load(buffer.getvalue())


def test_frames_a_model_cannot_read():
    spin = model(NequipSpinFamily(cutoff=4.0))
    with pytest.raises(InputError, match="frame 0: the frame has no moments"):
        spin.predict([item(0).frame.non_magnetic()])
    with pytest.raises(InputError, match="non-collinear"):
        spin.predict([item(0).frame.replace(magmoms=np.ones((4, 3)))])
    assert len(spin.predict([]).energy) == 0 and spin.predict([]).magnetic_forces.shape == (0, 3)
