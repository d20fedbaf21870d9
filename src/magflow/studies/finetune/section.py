"""What a fine-tuning says to people: phonons and errors, before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from magflow.core.prediction import QUANTITIES
from magflow.presentation.blocks import Plot, Table, padded, plot
from magflow.presentation.formats import NONE, number
from magflow.presentation.quantities import quantity
from magflow.presentation.sections import Section, TitledTable
from magflow.presentation.style import SERIES, draw
from magflow.properties.vibrations import HEADS as COMPARED_HEADS
from magflow.properties.vibrations import TEMPERATURE, Vibrations
from magflow.studies.base import Study, Traces
from magflow.studies.finetune.result import HELD_BACK, Crystal, FinetuneResult, Phonons
from magflow.studies.finetune.task import FinetuneTask

HEADS = {"rmse": "Force constants (eV/Å²)"} | COMPARED_HEADS
_PARTS = "cotrain: what the fits learnt from, then and now. held back: each member on the labels it has never seen."
SHARES = {True: "learnt from", False: "held out"}


def section(result: FinetuneResult) -> Section:
    """The fine-tuning as a part of a page."""
    curve = learning_curve(result)
    return Section(
        name="fine-tuning",
        label="Fine-tuning",
        title="Phonons and labels before and after fine-tuning",
        explanation=f"Thermodynamic functions are harmonic, at {TEMPERATURE:g} K, per mole of atoms.",
        plots=[] if curve is None else [curve],
        tables=[
            TitledTable("Phonons", crystal_table(result)),
            TitledTable("Mean error over the crystals", mean_table(result)),
            TitledTable("RMSE on labels", label_table(result), _PARTS if HELD_BACK in result.before else ""),
        ],
        remarks=remarks(result),
    )


def learning_curve(result: FinetuneResult) -> Plot | None:
    """What each fit minimised against its iterations, over where it began; None if no fit tells."""
    curves = [np.array(member.objective) for member in result.members if member.objective]
    if not curves:
        return None

    def paint(axes: Any) -> None:
        for k, curve in enumerate(curves):
            axes.plot(
                np.arange(1, len(curve) + 1), curve / curve[0], color=SERIES[k % len(SERIES)], label=f"member {k}"
            )
        axes.set_xlabel("Iteration")
        axes.set_ylabel("Objective / its first")
        axes.set_yscale("log")
        axes.legend()

    numbers = padded({f"member {k}: objective": curve for k, curve in enumerate(curves)})
    caption = "What the fits minimise, on labels and force constants together, against their iterations."
    return plot(draw(5.2, 2.8, paint), "fine-tuning-curve", caption, numbers)


def crystal_table(result: FinetuneResult) -> Table:
    """Three rows per crystal: labelled, before, after; the first column is the error of the force constants."""
    rows = []
    for crystal in result.crystals:
        about = [crystal.name, number(crystal.volume, 4), SHARES[crystal.learnt]]
        rows.append([*about, "labelled", NONE, *_cells(crystal.labelled)])
        rows += [["", "", "", when, *_said(said)] for when, said in _both(crystal)]
    values = [f"RMSE: {HEADS['rmse']}", *list(HEADS.values())[1:], "Lowest frequency (THz)"]
    heads = ["crystal", "Volume (Å³/atom)", "force constants", "", *values]
    return Table(heads, rows, frozenset({1, *range(4, len(heads))}))


def mean_table(result: FinetuneResult) -> Table:
    """Mean absolute error of each quantity before and after, and how it changed."""
    rows = []
    for learnt, share in SHARES.items():
        for name, (before, after) in result.mean_errors(learnt=learnt).items():
            rows.append([share, HEADS[name], number(before), number(after), _percent(after, before)])
    return Table(["crystals", "quantity", "before", "after", "change"], rows, frozenset({2, 3, 4}))


def label_table(result: FinetuneResult) -> Table:
    """RMSE of the mean of the ensemble on the labels, before and after."""
    rows = []
    for part, before in result.before.items():
        for q in (quantity(name) for name in QUANTITIES if name in before["errors"]):
            pair = [found[part]["errors"][q.name]["rmse"] for found in (result.before, result.after)]
            shown = [number(x * q.factor) for x in pair]
            rows.append([part, before["labels"], f"{q.title} ({q.unit})", *shown, _percent(pair[1], pair[0])])
    return Table(["labels", "number", "quantity", "before", "after", "change"], rows, frozenset({1, 3, 4, 5}))


def remarks(result: FinetuneResult) -> list[tuple[str, str]]:
    """The change of the mean errors in one number, fits that did not converge, and what else is to be told."""
    said = list(result.notes.items())
    for learnt, share in SHARES.items():
        change = result.change(learnt=learnt)
        if change is not None:
            about = f"mean error over highest frequency, entropy, free energy and heat capacity, crystals {share}"
            said.append((about, f"{100 * change:+.0f} %"))
    late = [str(k) for k, member in enumerate(result.members) if not member.converged]
    if late:
        said.append(("stopped at the last iteration, not converged", f"member {', '.join(late)}"))
    return said


def _both(crystal: Crystal) -> Iterator[tuple[str, Phonons]]:
    yield "before", crystal.before
    yield "after", crystal.after


def _said(said: Phonons) -> list[str]:
    return [number(said.rmse), *_cells(said.vibrations)]


def _cells(v: Vibrations | None) -> list[str]:
    if v is None:
        return [NONE] * 5
    return [number(x, 4) for x in (v.highest, v.entropy, v.free_energy, v.heat_capacity, v.lowest)]


def _percent(after: float, before: float) -> str:
    return f"{100 * (after / before - 1.0):+.1f} %" if before else NONE


def left_in(traces: Traces) -> FinetuneResult | None:
    """What force constants did to the last ensemble of a campaign; without any, why there were none."""
    documents = sorted(traces.documents("tuning"), key=lambda d: (d["iteration"], str(d["created_at"])))
    if not documents:
        return None
    last = documents[-1]
    notes = {f"no force constants of {name}": reason for name, reason in last["left_out"].items()}
    if last["tried"]:
        notes["weight of a force constant"] = "; ".join(_tried(one) for one in last["tried"])
    if last["reason"]:
        notes["the ensemble is as it was"] = last["reason"]
    plain = last["result"]
    result = FinetuneResult("", (), (), {}, {}, (), 0.0) if plain is None else FinetuneResult.from_dict(plain)
    return replace(result, notes=notes)


def _tried(one: Mapping[str, Any]) -> str:
    return (
        f"{one['weight']:g} 1/(eV/Å²), with which {one['quantity']} errors change by {100 * one['forgetting']:+.1f} %"
    )


STUDY = Study("finetune", FinetuneTask, FinetuneResult, left_in, section)
