from __future__ import annotations

from magflow.select.stopping import Progress, StopReason, StopRules, decide

RULES = StopRules({"energy": 0.005, "forces": 0.04}, consecutive=2, labels=100, core_hours=1.0, iterations=5)


def progress(**kw: object) -> Progress:
    return Progress(**({"iteration": 1, "streak": 0, "exhausted": False, "labels": 10, "core_hours": 0.1} | kw))


def reason(**kw: object) -> StopReason | None:
    found = decide(progress(**kw), RULES)
    return found and found[0]


def test_each_rule_stops_alone():
    assert reason() is None
    assert reason(streak=1) is None
    assert reason(streak=2) is StopReason.TARGET_REACHED
    assert reason(exhausted=True) is StopReason.POOL_EXHAUSTED
    assert reason(labels=100) is StopReason.LABEL_BUDGET
    assert reason(core_hours=1.0) is StopReason.CORE_HOUR_BUDGET
    assert reason(iteration=4) is StopReason.ITERATIONS


def test_evidence_comes_before_budgets():
    assert reason(streak=2, labels=100, core_hours=2.0, iteration=4) is StopReason.TARGET_REACHED


def test_without_targets_a_streak_means_nothing():
    assert decide(progress(streak=9), StopRules(labels=100)) is None


def test_a_quantity_without_a_figure_is_not_met():
    assert RULES.within({"energy": 0.004, "forces": 0.039})
    assert not RULES.within({"energy": 0.004})
    assert not RULES.within({"energy": 0.004, "forces": float("nan")})
    assert not StopRules().within({"energy": 0.0})
