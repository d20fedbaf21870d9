"""The benchmark of metals: what is drawn, what is measured, what is kept, what fails."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magflow.core.files import held
from magflow.core.label import LabeledFrame, ignoring_moments
from magflow.errors import InputError, StoreError
from magflow.io.records import Record
from magflow.studies.compare import timing
from magflow.studies.tm.contenders import Contender, Reading
from magflow.studies.tm.pace import Pace
from magflow.studies.tm.result import Case, Subject, TmBenchmark, TmFit
from magflow.studies.tm.rows import Row, Sorted, d_column, sort_records, stratified, turned_onto_z
from magflow.studies.tm.task import FIT, TmTask
from metals import BreakingFamily, OffFamily, ToollessFamily, labels, row

ERRORS = {"Nb": 0.8, "Mo": 0.4, "Cu": 0.1, "Fe": 0.3}


@pytest.fixture(autouse=True, scope="module")
def short_timing():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timing, "ENOUGH_CPU_S", 0.0)
        yield


@pytest.fixture
def fitted(monkeypatch):
    """What was fitted: element and number of labels."""
    monkeypatch.setattr(OffFamily, "fits", [])
    return lambda: OffFamily.fits


def off(**options) -> Contender:
    return Contender("off", OffFamily(errors=ERRORS, **options))


def task(workdir, *, rows=None, contenders=None, sizes=(4,), seeds=(1, 2), **options) -> TmTask:
    return TmTask(rows or (row("Cu", 20), row("Nb", 20)), contenders or (off(),), sizes, seeds, workdir, **options)


class TestDrawing:
    @settings(max_examples=15, deadline=None)
    @given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=4), word=st.text("ab", max_size=3))
    def test_every_beginning_is_a_fair_sample(self, counts, word):
        items = labels("Cu", sum(counts), 0)
        names = [f"g{k}" for k, n in enumerate(counts) for _ in range(n)]
        order = stratified([Sorted(i, {"group": g}) for i, g in zip(items, names, strict=True)], word)
        assert Counter(m.item.label_id for m in order) == Counter(i.label_id for i in items)
        for n in range(len(order) + 1):
            drawn = Counter(m.strata["group"] for m in order[:n])
            x = max((drawn[g] - 0.5) / names.count(g) for g in drawn) if drawn else 0.0
            assert all(abs(drawn[g] - x * names.count(g)) <= 1.0 for g in set(names))

    def test_parts_follow_from_labels_and_seed_alone(self):
        metal = row("Cu", 30, groups=("cold", "hot", "hot"))
        learnt, tested = metal.parts(0.2, seed=1)
        assert Counter(m.strata["group"] for m in tested) == {"cold": 2, "hot": 4}
        shuffled = Row("Cu", tuple(reversed(metal.members))).parts(0.2, seed=1)
        assert [m.item.label_id for part in shuffled for m in part] == [
            m.item.label_id for part in (learnt, tested) for m in part
        ]
        assert not {m.item.label_id for m in learnt} & {m.item.label_id for m in tested}
        other = metal.parts(0.2, seed=2)[1]
        assert {m.item.label_id for m in other} != {m.item.label_id for m in tested}

    def test_the_split_of_the_data_is_followed(self):
        keys = [{"split": "test" if k < 3 else "train", "temperature": 300.0 * (1 + k % 2)} for k in range(10)]
        records = [Record(i.frame, i.label, info) for i, info in zip(labels("Cu", 10, 0), keys, strict=True)]
        metal = Row("Cu", tuple(sort_records(records, "cu")))
        for seed in (1, 2):
            learnt, tested = metal.parts(0.5, seed)
            assert {m.item.label_id for m in tested} == {r.label.label_id for r in records[:3]}
            assert len(learnt) == 7
        assert metal.own_split and {m.strata["temperature"] for m in metal.members} == {"300", "600"}
        assert "file" not in metal.members[0].strata, "a stratum of all labels says nothing"
        everything = Row("Cu", tuple(sort_records(records[3:], "cu")))
        assert not everything.own_split and len(everything.parts(0.5, 1)[1]) == 4

    def test_labels_of_another_level_of_theory_want_a_row_of_their_own(self):
        first = labels("Cu", 2, 0)
        warm = replace(first[1].label, level_of_theory=replace(first[1].label.level_of_theory, version="hot"))
        both = (Sorted(first[0]), Sorted(type(first[0])(first[1].frame, warm)))
        with pytest.raises(InputError, match=r"several levels of theory.*NAME=FILE"):
            Row("Cu", both)

    def test_moments_are_turned_onto_z_where_they_have_an_axis(self):
        (item,) = labels("Fe", 1, 0, moments=True)
        size = item.label.magmoms[:, 2]
        axis = np.array([0.6, 0.0, -0.8])

        def turned(across: float) -> Sorted:
            moments = np.outer(size * [1, -1], axis) + across * np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
            frame = item.frame.replace(magmoms=moments)
            field = np.outer([0.1, -0.2], axis)
            label = replace(item.label, frame_id=frame.frame_id, magmoms=frame.magmoms, magnetic_forces=field)
            return Sorted(LabeledFrame(frame, replace(label, orientation=frame.orientation)))

        found, left_out = turned_onto_z([turned(0.0), turned(0.05), turned(0.5), Sorted(item)], 0.1)
        assert left_out == 1 and len(found) == 3 and found[2].item is item
        exact = found[0].item
        sign = np.sign(size[0] - size[1])
        np.testing.assert_allclose(exact.configuration.magmoms[:, 2], sign * size * [1, -1], atol=1e-12)
        np.testing.assert_allclose(exact.label.magnetic_forces[:, 2], sign * np.array([0.1, -0.2]), atol=1e-12)
        assert not exact.label.magmoms[:, :2].any() and exact.label.energy == item.label.energy

    def test_columns(self):
        known = {
            "Sc": 3,
            "Ti": 4,
            "Fe": 8,
            "Cu": 11,
            "Zn": 12,
            "Y": 3,
            "Mo": 6,
            "Ag": 11,
            "La": 3,
            "Hf": 4,
            "W": 6,
            "Hg": 12,
        }
        assert {e: d_column(e) for e in known} == known
        assert d_column("Al") is None and d_column("Ce") is None and d_column("Ga") is None


class TestMeasuring:
    def test_relative_errors_are_those_of_the_potential(self, tmp_path, fitted):
        found = task(tmp_path, sizes=(4, 16)).run()
        for element in ("Cu", "Nb"):
            for n in (4, 16):
                spread = found.relative(Subject(element), "off", n)
                assert spread.median == pytest.approx(ERRORS[element] / np.sqrt(n), rel=2e-3)
                assert spread.seeds == 2
        fit = found.of(Subject("Nb"), "off", 4)[0]
        score = fit.score("forces")
        assert score.relative_mae == pytest.approx(score.relative, rel=1e-4)
        assert score.rmse == pytest.approx(score.rms * score.relative, rel=1e-4) and score.labels == 4
        assert fit.score("energy").rmse < 1e-9 < fit.score("energy").rms
        assert (fit.atoms, fit.fit_cpu_seconds, fit.converged) == (8, 0.5, True)
        assert set(fit.judged.strata["forces"]) == {"calm", "middle", "violent"}
        assert TmBenchmark.from_dict(json.loads(json.dumps(found.as_dict()))).fits == found.fits

    def test_thirds_are_ordered_and_groups_are_told_apart(self, tmp_path, fitted):
        found = task(tmp_path, rows=(row("Cu", 60, groups=("b", "a")),), seeds=(1,)).run()
        strata = found.fits[0].judged.strata
        sizes = [scores["forces"].rms for scores in strata["forces"].values()]
        assert list(strata["forces"]) == ["calm", "middle", "violent"] and sizes == sorted(sizes)
        assert list(strata["group"]) == ["a", "b"]
        assert sum(s["forces"].labels for s in strata["group"].values()) == 12

    def test_moments_are_read_and_ignored_on_the_same_labels(self, tmp_path, fitted):
        iron = row("Fe", 20, moments=True)
        found = task(tmp_path, rows=(iron, row("Cu", 20)), contenders=(off(unread=2.0),)).run()
        assert found.subjects == [Subject("Fe", Reading.READ), Subject("Fe", Reading.IGNORED), Subject("Cu")]
        read, ignored = (found.relative(s, "off", 4) for s in found.subjects[:2])
        assert ignored.median == pytest.approx(2.0 * read.median, rel=1e-5)
        only = task(tmp_path, rows=(iron,), readings=(Reading.IGNORED,)).run()
        assert only.subjects == [Subject("Fe", Reading.IGNORED)]
        blind = Contender("blind", type("Blind", (OffFamily,), {"magnetic": False})(errors=ERRORS))
        assert task(tmp_path, rows=(iron,), contenders=(blind,)).run().subjects == [Subject("Fe", Reading.IGNORED)]
        bare = ignoring_moments(iron.members[0].item)
        assert bare.configuration.magmoms is None and bare.label.energy == iron.members[0].item.label.energy

    def test_a_row_with_too_few_labels_is_left_out_where_it_has_too_few(self, tmp_path, fitted):
        found = task(tmp_path, rows=(row("Cu", 20), row("Nb", 10)), sizes=(8, 16), seeds=(1,)).run()
        assert [(f.case.row, f.case.labels) for f in found.fits] == [("Cu", 8), ("Nb", 8), ("Cu", 16)]
        assert found.main_size == 8


class TestKeeping:
    def test_nothing_is_done_twice(self, tmp_path, fitted):
        first = task(tmp_path).run()
        assert len(fitted()) == 4
        again = task(tmp_path).run()
        assert len(fitted()) == 4 and again.fits == first.fits
        more = task(tmp_path, sizes=(4, 8), seeds=(1, 2, 3)).run()
        assert len(fitted()) == 12 and all(fit in more.fits for fit in first.fits)
        task(tmp_path, contenders=(Contender("off", OffFamily(errors=ERRORS | {"Cu": 0.2})),)).run()
        assert len(fitted()) == 16, "other settings are other fits"
        task(tmp_path, rows=(row("Cu", 20, seed=5),)).run()
        assert len(fitted()) == 18, "so are other labels"

    def test_a_kill_loses_the_fit_it_hits(self, tmp_path, fitted, monkeypatch):
        done = []

        def die(fraction, text, *, milestone=False):
            if milestone and len(done) == 2:
                raise KeyboardInterrupt
            done.extend([text] * milestone)

        with pytest.raises(KeyboardInterrupt):
            task(tmp_path).run(die)
        assert len(fitted()) == 2
        task(tmp_path).run()
        assert len(fitted()) == 4

    def test_two_processes_do_not_share_a_directory(self, tmp_path, fitted):
        with held(tmp_path, "this benchmark"), pytest.raises(StoreError, match="another process runs this benchmark"):
            task(tmp_path).run()
        assert task(tmp_path).run().fits

    def test_a_damaged_fit_is_told(self, tmp_path, fitted):
        task(tmp_path).run()
        (next(tmp_path.glob("Nb_*")) / FIT).write_text("{}")
        with pytest.raises(InputError, match=r"finished fit cannot be read.*remove its directory"):
            task(tmp_path).run()


class TestFailing:
    def test_failures_are_rows_and_stop_nothing(self, tmp_path, fitted):
        contenders = (
            off(),
            Contender("breaking", BreakingFamily(errors={"Cu": 0.1})),
            Contender("toolless", ToollessFamily(errors={})),
            Contender("absent", None, missing="unknown name; seen: absent"),
        )
        found = task(tmp_path, contenders=contenders, seeds=(1,)).run()
        why = {(f.case.row, f.case.contender): f.failure for f in found.fits if f.failure}
        assert why[("Nb", "breaking")] == "ZeroDivisionError: no such metal" and ("Cu", "breaking") not in why
        assert why[("Cu", "toolless")].startswith("no interpreter") and why[("Nb", "absent")].startswith("unknown name")
        assert len(why) == 5 and len(found.fits) == 8
        before = len(fitted())
        task(tmp_path, contenders=contenders, seeds=(1,)).run()
        assert len(fitted()) == before, "a fit that failed is not tried again"

    def test_what_lacked_a_program_is_tried_again(self, tmp_path, fitted, monkeypatch):
        contenders = (Contender("toolless", ToollessFamily(errors=ERRORS)),)
        assert all(f.failure for f in task(tmp_path, contenders=contenders).run().fits)
        monkeypatch.setattr(ToollessFamily, "fit", OffFamily.fit)
        assert not any(f.failure for f in task(tmp_path, contenders=contenders).run().fits)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"sizes": ()}, "nothing to work with"),
            ({"sizes": (0,)}, "number of labels out of range"),
            ({"sizes": (17,)}, r"no row has as many labels.*16 \(Cu\), 16 \(Nb\)"),
            ({"share": 1.0}, "share of the labels out of range"),
            ({"rows": (row("Cu", 20), row("Nb", 20, name="Cu"))}, "two rows have the same name"),
            ({"contenders": (off(), off())}, "two contenders have the same name"),
        ],
    )
    def test_what_cannot_be_measured_is_refused(self, tmp_path, options, said):
        with pytest.raises(InputError, match=said):
            task(tmp_path, **options)


class TestPace:
    def fit(self, contender: str, atoms: int, seconds: float) -> TmFit:
        return TmFit(Case("Cu", contender, Reading.NONE, 4, 1), atoms=atoms, wall_seconds=seconds)

    def test_what_is_left_is_said_of_what_was_timed(self):
        pace = Pace()
        case = Case("Nb", "off", Reading.NONE, 8, 1)
        assert pace.told([(case, 100)]) == ""
        for seconds in (1.0, 2.0, 30.0):
            pace.note(self.fit("off", 10, seconds))
        assert pace.told([(case, 100), (case, 200)]) == "; about 60 s left"
        other = Case("Nb", "other", Reading.NONE, 8, 1)
        assert pace.told([(case, 3000), (other, 5)]) == "; about 10 min left, and 1 fit of a kind not timed yet"
        pace.note(TmFit(Case("Cu", "other", Reading.NONE, 4, 1), failure="broken", wall_seconds=1.0))
        assert "not timed" in pace.told([(case, 3000), (other, 5)])

    def test_a_run_says_what_is_left(self, tmp_path, fitted):
        told = []
        task(tmp_path).run(lambda fraction, text, *, milestone=False: told.append((fraction, text, milestone)))
        marks = [text for _, text, milestone in told if milestone]
        assert marks[0] == "0/4: Cu, off, 4 labels, seed 1" and "; about " in marks[1] and marks[-1] == "4/4: done"
        assert [f for f, _, _ in told] == sorted(f for f, _, _ in told)


class TestLevels:
    def relabelled(self, smearing: float) -> Row:
        """The labels of copper at a smearing, with what their eigenvalues say."""
        level = replace(labels("Cu", 1, 0)[0].label.level_of_theory, parameters={"tsmear_ha": smearing})
        items = [
            LabeledFrame(i.frame, replace(i.label, level_of_theory=level, details={"electrons": {"d_centre_ev": k}}))
            for k, i in enumerate(labels("Cu", 20, 0))
        ]
        return Row(f"Cu-{smearing:g}", tuple(Sorted(i) for i in items))

    def test_the_same_frames_at_two_smearings_are_split_alike(self):
        parts = [self.relabelled(s).parts(0.2, 3) for s in (0.005, 0.02)]
        for one, other in zip(*parts, strict=True):
            assert [m.item.frame.frame_id for m in one] == [m.item.frame.frame_id for m in other]
            assert all(a.item.label_id != b.item.label_id for a, b in zip(one, other, strict=True))

    def test_smearing_and_electrons_are_told(self, tmp_path):
        about = task(tmp_path, rows=(self.relabelled(0.02), row("Nb", 20))).about()["rows"]
        assert about["Cu-0.02"]["smearing"] == (0.02, "Ha")
        assert about["Cu-0.02"]["electrons"] == {"d_centre_ev": 9.5}
        assert (about["Nb"]["smearing"], about["Nb"]["electrons"]) == (None, {})
        assert about["Nb"]["kind"] == "non-magnetic"
