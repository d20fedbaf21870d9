from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from mmtp_models import random_frame, random_potential
from mmtp_toy import toy_labels

from killing import killed_at_every_step
from magflow.core.calibration import Calibration, ErrorModel
from magflow.core.dataset import Dataset
from magflow.core.versions import NewerFormatError
from magflow.errors import InputError, StoreError
from magflow.potentials.ensemble import MANIFEST, PotentialEnsemble, as_labelled
from magflow.potentials.members import fit_member, member_sample, member_seed
from magflow.potentials.mmtp import MmtpFamily, MmtpPotential

FRAMES = [random_frame(seed, n=1 + seed % 4) for seed in range(6)]


KNOWN = Calibration({"energy": ErrorModel(1.5, 0.002), "magnetic_forces Fe": ErrorModel(0.8, 0.01)})


def ensemble(**kwargs: object) -> PotentialEnsemble:
    return PotentialEnsemble(tuple(random_potential(seed=s) for s in range(3)), "mmtp", **kwargs)


def test_mean_and_deviation_of_the_members():
    e = ensemble()
    members = [m.predict(FRAMES) for m in e.members]
    prediction = e.predict(FRAMES)
    np.testing.assert_allclose(prediction.mean.forces, np.mean([m.forces for m in members], axis=0))
    np.testing.assert_allclose(prediction.deviation.energy, np.std([m.energy for m in members], axis=0, ddof=1))


@pytest.mark.parametrize("cutoffs", [(4.5, 4.0), (4.0, 4.5)])
def test_members_of_other_cutoffs_are_evaluated_one_by_one(cutoffs):
    """The neighbours of the one would be too many for the other, or too few."""
    from dataclasses import replace

    model = random_potential(seed=0).model
    e = PotentialEnsemble(tuple(MmtpPotential(replace(model, cutoff=c)) for c in cutoffs), "mmtp")
    for member, said in zip(e.members, e.member_predictions(FRAMES), strict=True):
        np.testing.assert_allclose(said.energy, member.predict(FRAMES).energy)
    assert e.cutoff == 4.5


def test_calibration_changes_the_deviation_only():
    known = Calibration({"forces": ErrorModel(2.5, 0.3)})
    raw, calibrated = ensemble().predict(FRAMES), ensemble(calibration=known).predict(FRAMES)
    np.testing.assert_allclose(calibrated.deviation.forces, np.hypot(2.5 * raw.deviation.forces, 0.3))
    np.testing.assert_allclose(calibrated.deviation.energy, raw.deviation.energy)
    np.testing.assert_allclose(calibrated.mean.forces, raw.mean.forces)


def test_stress_offset_is_the_mean_of_the_members():
    from dataclasses import replace

    members = [random_potential(seed=s) for s in range(2)]
    members = [replace(p, model=replace(p.model, pulay=np.array([0.1, 0.3 + k]))) for k, p in enumerate(members)]
    frame = random_frame(0)
    offset = PotentialEnsemble(tuple(members), "mmtp").label_stress_offset([frame])[0]
    total = sum({"Al": 0.1, "Fe": 0.8}[s] for s in frame.species)
    np.testing.assert_allclose(offset, np.array([1, 1, 1, 0, 0, 0]) * total / frame.volume)


def test_labels_are_compared_with_the_stress_and_its_offset():
    from dataclasses import replace

    potential = random_potential()
    e = PotentialEnsemble((replace(potential, model=replace(potential.model, pulay=np.array([0.1, 0.3]))),), "mmtp")
    items = toy_labels(3, seed=0)
    frames = [item.configuration for item in items]
    bare, expected = e.predict(frames), as_labelled(e, items)
    np.testing.assert_allclose(expected.mean.stress - bare.mean.stress, e.label_stress_offset(frames), atol=1e-15)
    np.testing.assert_array_equal(expected.mean.forces, bare.mean.forces)


def test_round_trip(tmp_path):
    e = ensemble(calibration=KNOWN, metadata={"level_of_theory": {"code": "toy"}, "settings": {"level": 8}})
    loaded = PotentialEnsemble.load(e.save(tmp_path / "models"))
    assert (loaded.calibration, loaded.metadata, loaded.species) == (e.calibration, e.metadata, e.species)
    np.testing.assert_array_equal(loaded.predict(FRAMES).mean.forces, e.predict(FRAMES).mean.forces)
    assert json.loads((tmp_path / "models" / MANIFEST).read_text())["elements"] == ["Al", "Fe"]


def as_bytes(e: PotentialEnsemble) -> tuple[bytes, ...]:
    return tuple(m.to_bytes() for m in e.members)


def test_a_saved_ensemble_is_never_a_mix_of_two(tmp_path):
    old, new = (PotentialEnsemble(tuple(random_potential(seed=s) for s in pair), "mmtp") for pair in ((1, 2), (7, 8)))
    seen = set()
    for n in killed_at_every_step(lambda: new.save(tmp_path / "models"), before=lambda: old.save(tmp_path / "models")):
        found = as_bytes(PotentialEnsemble.load(tmp_path / "models"))
        assert found in (as_bytes(old), as_bytes(new)), f"killed at step {n}"
        seen.add(found)
    assert len(seen) == 2
    assert len(list((tmp_path / "models").glob("member_*.bin"))) == 2, "those of the old ensemble are gone in the end"


def test_a_first_save_is_whole_or_absent(tmp_path):
    new, whole = PotentialEnsemble((random_potential(seed=1), random_potential(seed=2)), "mmtp"), 0
    for n in killed_at_every_step(lambda: new.save(tmp_path / "m"), before=lambda: shutil.rmtree(tmp_path / "m", True)):
        try:
            assert as_bytes(PotentialEnsemble.load(tmp_path / "m")) == as_bytes(new), f"killed at step {n}"
            whole += 1
        except InputError as error:
            assert "no ensemble" in error.message, f"killed at step {n}"
    assert whole


def test_ensembles_of_the_first_format_load(tmp_path):
    e = ensemble(calibration=KNOWN)
    manifest = json.loads((e.save(tmp_path) / MANIFEST).read_text())
    for k, name in enumerate(manifest["members"]):
        (tmp_path / name).rename(tmp_path / f"member_{k:02d}.bin")
    manifest |= {"format": "magflow-ensemble-1", "members": [f"member_{k:02d}.bin" for k in range(3)]}
    manifest["calibration"] = {"energy": 1.5}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    loaded = PotentialEnsemble.load(tmp_path)
    assert as_bytes(loaded) == as_bytes(e) and loaded.calibration == Calibration({"energy": ErrorModel(1.5)})


def test_grades_are_the_mean_of_the_members():
    data = Dataset(toy_labels(12, seed=0))
    family = MmtpFamily(level=4, cutoff=4.5, n_radial=4, max_iterations=1)
    members = [fit_member(family, data, member=k, elements=("Al", "Fe"), seed=7)[0] for k in range(2)]
    frames = [item.configuration for item in toy_labels(5, seed=1)]
    one, two = (member.grades(frames) for member in members)
    assert np.abs(one - two).max() > 1e-3
    np.testing.assert_allclose(PotentialEnsemble(tuple(members), "mmtp").grades(frames), (one + two) / 2)


def test_a_moment_is_known_if_every_member_knows_it():
    from dataclasses import replace

    ranges = ([0.2, 2.8], [0.3, 2.5])
    members = [MmtpPotential(replace(random_potential().model, max_moment=np.array(r))) for r in ranges]
    assert PotentialEnsemble(tuple(members), "mmtp").max_moment == {"Al": 0.2, "Fe": 2.5}


def test_calculator_gives_mean_and_deviation():
    from ase import Atoms

    e, frame = ensemble(), FRAMES[3]
    atoms = Atoms(frame.species, positions=frame.positions, cell=frame.cell, pbc=True, magmoms=frame.magmoms[:, 2])
    atoms.calc = e.calculator()
    prediction = e.predict([frame])
    assert atoms.get_potential_energy() == pytest.approx(prediction.mean.energy[0])
    np.testing.assert_allclose(atoms.calc.results["deviations"]["forces"], prediction.deviation.forces)


def test_bagging_is_reproducible_and_members_differ():
    data = Dataset(toy_labels(12, seed=0))
    family = MmtpFamily(level=4, cutoff=4.5, n_radial=4, max_iterations=3)
    fit = {"elements": ("Al", "Fe"), "seed": 7}
    first, again, other = (fit_member(family, data, member=k, **fit)[0].to_bytes() for k in (0, 0, 1))
    assert first == again and first != other
    assert len({member_seed(s, k) for s in range(10) for k in range(10)}) == 100


def test_samples_of_the_members():
    data = Dataset(toy_labels(20, seed=0))
    samples = [[i.label_id for i in member_sample(data, seed, 0.8)] for seed in range(5)]
    assert all(len(set(s)) == 16 for s in samples)
    assert len({tuple(s) for s in samples}) == 5
    with pytest.raises(InputError, match="sample"):
        member_sample(data, 0, 1.2)


def test_validation_labels_are_kept_aside():
    data = Dataset(toy_labels(40, seed=0))
    family = MmtpFamily(level=4, cutoff=4.5, n_radial=4, max_iterations=2)
    _, report = fit_member(family, data, elements=("Al", "Fe"), seed=1, member=0, bagging=False, validation=0.25)
    assert "validation" in report.rmse
    assert 20 <= report.details["unique_labels"] < 40


class TestBadInput:
    def test_no_members(self):
        with pytest.raises(InputError, match="members"):
            PotentialEnsemble((), "mmtp")

    def test_other_species(self):
        with pytest.raises(InputError, match="species"):
            PotentialEnsemble((random_potential(), random_potential(species=("Fe",))), "mmtp")

    def test_empty_directory(self, tmp_path):
        with pytest.raises(InputError, match="no ensemble"):
            PotentialEnsemble.load(tmp_path)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x"}', "\udc80"])
    def test_damaged_manifest(self, tmp_path, text):
        ensemble().save(tmp_path)
        (tmp_path / MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError, match="damaged"):
            PotentialEnsemble.load(tmp_path)

    def test_members_outside_the_directory_are_refused(self, tmp_path):
        ensemble().save(tmp_path)
        manifest = json.loads((tmp_path / MANIFEST).read_text())
        manifest["members"] = ["../secret"]
        (tmp_path / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(InputError, match="member file"):
            PotentialEnsemble.load(tmp_path)

    def test_missing_and_damaged_member(self, tmp_path):
        ensemble().save(tmp_path)
        (member,) = tmp_path.glob("member_01-*.bin")
        whole = member.read_bytes()
        for content in (b"damaged", whole[:-1], next(tmp_path.glob("member_02-*.bin")).read_bytes()):
            member.write_bytes(content)
            with pytest.raises(InputError, match=r"member_01.*is damaged"):
                PotentialEnsemble.load(tmp_path)
        member.unlink()
        with pytest.raises(InputError, match=r"member_01.*cannot be read"):
            PotentialEnsemble.load(tmp_path)

    def test_a_newer_format_is_named(self, tmp_path):
        path = ensemble().save(tmp_path) / MANIFEST
        path.write_text(path.read_text().replace("magflow-ensemble-3", "magflow-ensemble-4"))
        with pytest.raises(NewerFormatError, match=r"written by magflow .*upgrade"):
            PotentialEnsemble.load(tmp_path)

    def test_directory_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(StoreError):
            ensemble().save(tmp_path / "file")
