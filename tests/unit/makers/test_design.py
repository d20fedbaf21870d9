"""What a selection by expected errors is given: stand-ins for labels, costs, and when it is used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from maker_documents import CAMPAIGN, FAMILY, batch_of, frames, labelled
from test_choice import candidates

from magflow.core.label import Cost, LabeledFrame, LabelKind
from magflow.dft.spin_lattice import FE_AL, SpinLatticeModel, like_iron
from magflow.makers.design import alike, label_costs
from magflow.makers.select import SelectMaker
from magflow.select.settings import SelectSettings, Strategy

SETTINGS = SelectSettings(initial=4, batch=3, sanity={"min_distance": 1.0}, fill=True)


def maker(**changes) -> SelectMaker:
    given = {"settings": SETTINGS, "campaign": CAMPAIGN, "targets": {"energy": 1e-3}, "family": FAMILY}
    return SelectMaker(**(given | changes))


def choose(pool, batches=(), models=(), iteration=0, **changes):
    chosen = maker(**changes)
    return chosen.make.original(chosen, candidates(pool), list(batches), list(models), None, iteration)


def test_the_first_batch_and_the_next_are_chosen_by_expected_error(models):
    pool = frames(30, 6)
    first = choose(pool)
    assert first.criterion == "expected-error" and len(first.rows) == 4
    assert choose(pool[::-1]).selected == first.selected
    second = choose(pool, [batch_of(labelled(6, 3))], models, 1)
    assert second.criterion == "expected-error" and len(second.rows) == 3


def test_where_nobody_can_tell_deviation_and_diversity_choose(models):
    pool, labels = frames(12, 6), [batch_of(labelled(6, 3))]
    assert choose(pool, family=None).criterion == "diversity"
    assert choose(pool, labels, models, 1, family=None).criterion == "deviation"
    assert choose(pool, [], models).criterion == "deviation"  # models of another level of theory alone
    for strategy, criterion in ((Strategy.RANDOM, "random"), (Strategy.DEVIATION, "deviation")):
        settings = SETTINGS.model_copy(update={"strategy": strategy})
        assert choose(pool, labels, models, 1, settings=settings).criterion == criterion
    bare = [frame.non_magnetic() for frame in pool[:3]]
    assert choose([*pool, *bare]).criterion == "diversity"
    assert choose(pool, kind="non-magnetic").criterion == "expected-error"


def test_iron_of_another_size_has_its_minimum_at_another_distance():
    model = SpinLatticeModel(like_iron(("Al", "Fe", "W")))
    sites = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])

    def lattice_constant(element: str) -> float:
        sizes = np.linspace(2.4, 4.0, 81)
        pool = [frames(1, 0)[0].replace(cell=a * np.eye(3), positions=a * sites) for a in sizes]
        pool = [type(f)((element,) * 2, f.cell, f.positions) for f in pool]
        return float(sizes[np.argmin(model.predict(pool).energy)])

    assert lattice_constant("W") > lattice_constant("Fe") + 0.2
    np.testing.assert_array_equal(like_iron(("Fe",)).repulsion, FE_AL.repulsion[:1, :1])


@pytest.mark.parametrize("kind", list(LabelKind))
def test_stand_ins_are_labels_of_the_kind_asked_for(kind):
    items = alike(frames(3, 1), kind)
    assert {i.label.level_of_theory.kind for i in items} == {kind}
    assert all((i.label.magmoms is None) == (kind is LabelKind.NON_MAGNETIC) for i in items)
    assert all((i.label.magnetic_forces is None) == (kind is not LabelKind.CONSTRAINED) for i in items)
    assert "in place of" in items[0].label.level_of_theory.code


def cost(item: LabeledFrame, seconds: float, cores: int) -> LabeledFrame:
    return replace(item, label=replace(item.label, cost=Cost(seconds, seconds, cores)))


def test_costs_are_those_of_finished_labels_then_what_is_declared_then_by_size():
    pool = frames(2, 1)
    (small,) = {f.formula for f in pool}
    large = type(pool[0])(("Fe", "Al") * 2, *_doubled(pool[0]))
    free = [cost(i, 0.0, 1) for i in labelled(2, 1)]
    assert label_costs(pool, None, free) is None  # imported, or found in the store
    assert label_costs(pool, 12.0, free) is None
    done = [cost(labelled(1, 1)[0], 10.0, 2), cost(labelled(1, 2)[0], 30.0, 2)]
    near = 2.0**5.5  # 45 s, of 40
    np.testing.assert_allclose(label_costs([pool[0], large], {small: 5.0}, done), [near, 4 * near])
    np.testing.assert_allclose(label_costs([pool[0], large], 12.0, done), [near, 4 * near])
    np.testing.assert_allclose(label_costs([pool[0], large], {large.formula: 8.0}, []), [2.0, 8.0])


def test_the_time_a_fast_engine_happens_to_take_chooses_no_frames():
    done = [cost(item, 0.01 * (1 + k), 1) for k, item in enumerate(labelled(3, 1))]
    assert label_costs(frames(2, 1), None, done) is None
    small = frames(1, 1)[0]
    other = type(small)(("Fe", "Fe"), small.cell, small.positions, small.magmoms)
    one, two = ([cost(i, 30.0 * noise, 1) for i in labelled(2, 1)] for noise in (0.97, 1.03))
    np.testing.assert_array_equal(label_costs([small, other], None, one), label_costs([small, other], None, two))


def _doubled(frame):
    cell = frame.cell * [[2.0], [1.0], [1.0]]
    return cell, np.concatenate([frame.positions, frame.positions + frame.cell[0]]), np.tile(frame.magmoms, (2, 1))
