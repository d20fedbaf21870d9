from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from magflow.core.calibration import ErrorModel
from magflow.presentation.quantities import SHOWN, quantity
from magflow.presentation.style import DENSE, VARIABLES, to_svg
from magflow.report import figures
from magflow.select.reliability import binned

RNG = np.random.default_rng(3)
ENERGY, FORCES = quantity("energy"), quantity("forces")


def points(axes) -> int:
    return sum(len(c.get_offsets()) for c in axes.collections)


def labels(axes) -> list[str]:
    return [t.get_text() for t in axes.get_legend().get_texts()]


def history(target=40.0, n=4):
    labels = np.arange(1, n + 1) * 24
    return figures.Convergence(labels, labels / 100.0, 500.0 / labels, 200.0 / labels, target)


def test_convergence_has_both_costs_the_target_and_the_unit():
    figure = figures.convergence(FORCES, history())
    left, right = figure.axes
    assert left.get_ylabel() == "RMSE (meV/Å)"
    assert (left.get_xlabel(), right.get_xlabel()) == ("Labels trained on", "Core-hours spent")
    assert labels(right) == ["new labels", "training", "target"]
    assert left.get_yscale() == "log"
    new, training, target = left.lines
    assert list(new.get_ydata()) == list(500.0 / np.array([24, 48, 72, 96]))
    assert list(new.get_xdata()) == [24, 48, 72, 96]
    assert len(training.get_ydata()) == 4
    assert set(target.get_ydata()) == {40.0}
    assert left.get_ylim()[0] < 200 / 96
    assert left.get_ylim()[1] > 500 / 24


def test_convergence_without_target_or_data():
    assert "target" not in labels(figures.convergence(FORCES, history(None)).axes[1])
    nothing = figures.Convergence(np.zeros(0, int), np.zeros(0), np.zeros(0), np.zeros(0), None)
    axes = figures.convergence(FORCES, nothing).axes[0]
    assert [t.get_text() for t in axes.texts] == ["not assessed yet"]


def test_parity_shows_every_point_twice_and_the_errors_in_their_own_unit():
    true = RNG.normal(size=60)
    predicted = true + 0.01
    latest = np.arange(60) >= 40
    upper, lower = figures.parity(ENERGY, true, predicted, latest).axes
    assert points(upper) == points(lower) == 60
    assert lower.get_xlabel() == "Labelled (eV/atom)"
    assert lower.get_ylabel() == "Error (meV/atom)"
    residuals = np.concatenate([c.get_offsets()[:, 1] for c in lower.collections])
    np.testing.assert_allclose(residuals, 10.0)
    assert labels(upper) == ["earlier iterations: RMSE 10 meV/atom", "latest iteration: RMSE 10 meV/atom"]
    assert upper.get_xlim() == upper.get_ylim()


def test_parity_of_stress_is_in_gpa():
    upper, lower = figures.parity(
        quantity("stress"), np.array([1.0, 2.0]), np.array([1.5, 2.0]), np.array([True, True])
    ).axes
    assert upper.get_ylabel() == "Predicted (GPa)"
    assert labels(upper) == ["latest iteration: RMSE 0.354 GPa"]
    assert lower.get_ylabel() == "Error (GPa)"


def test_dense_layers_become_pixels():
    few, many = (
        figures.parity(FORCES, x, x, np.ones(len(x), bool)) for x in (RNG.normal(size=100), RNG.normal(size=DENSE + 1))
    )
    assert "<image" not in to_svg(few, "few", "few")
    assert "<image" in to_svg(many, "many", "many")


def test_calibration_draws_points_bins_and_both_lines():
    deviation = RNG.uniform(1, 10, 80)
    error = np.abs(RNG.normal(size=80) * deviation * 2)
    model, of_bins = ErrorModel(2.0, 3.0), binned(deviation, error)
    (axes,) = figures.calibration(FORCES, deviation, error, model, of_bins).axes
    assert points(axes) == 80
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_xlabel() == "Deviation of the ensemble (meV/Å)"
    assert axes.get_ylabel() == "|error| (meV/Å)"
    same, scaled, bins = axes.lines
    np.testing.assert_allclose(same.get_xdata(), same.get_ydata())
    np.testing.assert_allclose(scaled.get_ydata(), np.hypot(2.0 * np.asarray(scaled.get_xdata()), 3.0))
    assert "2.00 x and 3 (calibrated)" in labels(axes)
    assert len(bins.get_xdata()) == len(of_bins) == 10
    # bins lie among the raw deviations
    assert min(bins.get_xdata()) >= deviation.min()
    assert max(bins.get_xdata()) <= deviation.max()


def test_calibration_of_one_member_has_nothing_to_show():
    zero = np.zeros(5)
    (axes,) = figures.calibration(FORCES, zero, np.ones(5), ErrorModel(), binned(zero, np.ones(5))).axes
    assert [t.get_text() for t in axes.texts] == ["no deviations to compare yet"]


def test_coverage_counts_strata_and_pool():
    strata = {"AlFe FM": (np.array([11.0, 12.0]), np.array([1.0, 2.0])), "Fe2 AFM": (np.array([11.5]), np.array([0.5]))}
    (axes,) = figures.coverage(strata, (RNG.uniform(10, 12, 50), RNG.uniform(0, 2, 50))).axes
    assert points(axes) == 53
    assert labels(axes) == ["offered (50)", "AlFe FM (2)", "Fe2 AFM (1)"]
    assert "μB" in axes.get_ylabel()
    assert "Å³/atom" in axes.get_xlabel()


@pytest.mark.parametrize("share", [True, False])
def test_stacked_bars_add_up(share):
    parts = {"selected": np.array([10.0, 20.0]), "below-trust": np.array([30.0, 20.0])}
    (axes,) = figures.stacked(["iteration 0", "iteration 1"], parts, "x", share=share).axes
    widths = np.array([p.get_width() for p in axes.patches]).reshape(2, 2)
    expected = np.array([[10.0, 20.0], [30.0, 20.0]])
    np.testing.assert_allclose(widths, expected / [40, 40] * 100 if share else expected)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["iteration 0", "iteration 1"]
    assert labels(axes) == ["selected", "below-trust"]


def test_durations_count_every_label_and_name_the_median():
    (axes,) = figures.durations(np.array([1.0, 2.0, 3.0, 400.0])).axes
    assert sum(p.get_height() for p in axes.patches) == 4
    assert axes.get_xscale() == "log"
    assert labels(axes) == ["median 2.5 s"]
    (axes,) = figures.durations(np.array([0.001, 0.002, 0.003])).axes
    assert labels(axes) == ["median 2 ms"]
    assert axes.get_xlabel() == "CPU time of a label (ms)"
    (axes,) = figures.durations(np.array([2.0, 2.0])).axes
    assert sum(p.get_height() for p in axes.patches) == 2


def test_timeline_has_one_bar_per_job():
    lane, start, length = np.array([0, 1, 0]), np.array([0.0, 0.0, 2.0]), np.array([1.0, 3.0, 1.0])
    (axes,) = figures.timeline(["slot 1", "slot 2"], lane, start, length, ["label", "train", "label"]).axes
    assert [len(c.get_paths()) for c in axes.collections] == [2, 1]
    (bar,) = axes.collections[1].get_paths()
    assert (bar.get_extents().x0, bar.get_extents().x1) == (0.0, 3.0)
    assert bar.contains_point((1.0, 1.0))
    assert labels(axes) == ["label", "train"]
    assert axes.get_xlabel() == "Minutes since the first job"


def every_figure():
    x = RNG.uniform(1, 2, 30)
    yield figures.convergence(FORCES, history())
    yield figures.parity(FORCES, x, x, x > 1.5)
    yield figures.calibration(FORCES, x, x, ErrorModel(), binned(x, x))
    yield figures.coverage({"AlFe FM": (x, x)}, (x, x))
    yield figures.stacked(["a"], {"b": np.array([1.0])}, "x")
    yield figures.durations(x)
    yield figures.timeline(["slot 1"], np.zeros(1, int), np.zeros(1), np.ones(1), ["label"])


def test_every_drawing_is_sound_svg_that_follows_the_theme_and_loads_nothing():
    for n, figure in enumerate(every_figure()):
        svg = to_svg(figure, f"fig{n}", "a <label> & more")
        root = ElementTree.fromstring(svg)  # parses: every text is escaped
        assert root.get("aria-label") == "a <label> & more"
        assert root.get("width") is None
        assert not re.search(r"https?://", svg)
        for colour in VARIABLES:
            assert colour not in svg.lower()
        ids = re.findall(r'id="([^"]+)"', svg)
        assert len(ids) == len(set(ids))
        assert all(i.startswith(f"fig{n}-") for i in ids)
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) == set(ids)


def test_drawing_is_reproducible():
    first, second = (to_svg(figures.convergence(FORCES, history()), "a", "a") for _ in range(2))
    assert first == second


def test_text_of_a_figure_cannot_become_markup_or_mathematics():
    hostile = "<script>a</script>$\\frac{1}{2}$"
    svg = to_svg(figures.stacked([hostile], {hostile: np.array([1.0])}, "x"), "a", hostile)
    assert "<script" not in svg
    texts = ["".join(t.itertext()) for t in ElementTree.fromstring(svg).iter("text")]
    assert texts.count(hostile) == 2


def test_units_of_all_quantities():
    assert [(q.name, q.unit) for q in SHOWN] == [
        ("energy", "meV/atom"), ("forces", "meV/Å"), ("stress", "GPa"), ("magnetic_forces", "meV/μB"),
    ]  # fmt: skip
    assert quantity("stress").factor == pytest.approx(160.2177, abs=1e-3)
    assert quantity("enthalpy_of_things").title == "enthalpy of things"
