"""Whether a label that says it succeeded is believed: by itself, and beside the others of its level of theory.

An engine looks at what only it knows: how its program ended, the structure in its output. What is looked at here holds
for every engine. A label that cannot be right is `inconsistent`. One whose energy lies far from those of all others of
its composition is `suspect`: it trains nothing, until a second calculation has given the same energy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jobflow import JobStore

from magflow.core.frame import Frame
from magflow.core.label import Failure, FailureKind, Label
from magflow.core.types import FloatArray
from magflow.io.importing.oddities import FEWEST, deviations, energy_residuals, label_oddities
from magflow.makers.documents import LabelDoc

_COMPARED = 400
"""Labels, the newest, that one is held against."""
_SAME_EV = 1e-3
"""eV/atom; two calculations whose energies differ by less confirm each other."""
SEEN = "suspect_energy_ev"
"""Key of a label's details: the energy that was suspected, or confirmed."""


@dataclass(frozen=True)
class Sibling:
    """Another usable label of the same level of theory: number of atoms of each element, eV/atom."""

    counts: dict[str, int]
    energy: float


def judged(frame: Frame, label: Label) -> Label:
    """`label`, or a failed one if it cannot be right."""
    if label.failure is not None:
        return label
    wrong = "; ".join(label_oddities(frame, label))
    if not wrong:
        return label
    return _failed(frame, label, FailureKind.INCONSISTENT, f"the calculation ended well, but gave {wrong}", {})


def compared(frame: Frame, label: Label, siblings: Sequence[Sibling], earlier: Sequence[float]) -> Label:
    """`label`, or a failed one if its energy lies far from those of its siblings.

    Parameters
    ----------
    earlier
        Energies per atom, eV, of calculations of the same label that were suspected: one that agrees confirms it.
    """
    if label.failure is not None or label.energy is None:
        return label
    energy = label.energy / len(frame)
    counts = {element: frame.species.count(element) for element in set(frame.species)}
    far = far_from_others([*siblings, Sibling(counts, energy)])[-1]
    if far is None:
        return label
    if any(abs(energy - e) < _SAME_EV for e in earlier):
        return replace(label, details={**label.details, SEEN: energy})
    message = (
        f"its energy lies {far:.3g} eV/atom from those of all others of its composition; "
        "`magflow retry --reason suspect` computes it again, and the same energy confirms it"
    )
    return _failed(frame, label, FailureKind.SUSPECT, message, {SEEN: energy})


def is_doubtful(document: LabelDoc, siblings: Sequence[Sibling]) -> bool:
    """Whether a usable label lies far from the others that have come since it was made, and nothing confirms it."""
    return SEEN not in document.details and far_from_others([*siblings, sibling(document)])[-1] is not None


def far_from_others(labels: Sequence[Sibling]) -> list[float | None]:
    """For each label how far its energy lies from those of the others, eV/atom; None if it does not, or nobody knows.

    Nobody knows with fewer than ten labels, or for a composition that the others do not span.
    """
    if len(labels) <= FEWEST:
        return [None] * len(labels)
    shares = _shares(labels)
    distances, limit = deviations(energy_residuals(shares, np.array([s.energy for s in labels])))
    return [
        float(distance) if distance > limit and _spanned(np.delete(shares, i, axis=0), shares[i]) else None
        for i, distance in enumerate(distances)
    ]


def siblings_in(store: JobStore, level: str) -> list[Sibling]:
    """Usable labels of the level of theory with this fingerprint, the newest."""
    criteria = {"output.doc_type": "label", "output.state": "ok", "output.level_of_theory_id": level}
    properties = ["output.formula", "output.energy_per_atom"]
    found = store.query(criteria | LabelDoc.readable(), properties, sort={"completed_at": -1}, limit=_COMPARED)
    rows = [document["output"] for document in found]
    return [Sibling(_counts(r["formula"]), r["energy_per_atom"]) for r in rows if r.get("energy_per_atom") is not None]


def suspected(store: JobStore, label_id: str) -> list[float]:
    """Energies per atom, eV, that earlier calculations of this label gave and that were not believed."""
    criteria = {"output.doc_type": "label", "output.label_id": label_id, "output.failure": str(FailureKind.SUSPECT)}
    found = store.query(criteria | LabelDoc.readable(), ["output.details"])
    return [d["output"]["details"][SEEN] for d in found if SEEN in d["output"].get("details", {})]


def sibling(document: LabelDoc) -> Sibling:
    """A usable label as others are compared to it."""
    return Sibling(_counts(document.formula), float(document.energy_per_atom or 0.0))


def _failed(frame: Frame, label: Label, kind: FailureKind, message: str, details: dict[str, Any]) -> Label:
    return replace(
        Label(label.frame_id, label.level_of_theory, label.orientation),
        failure=Failure(kind, message),
        cost=label.cost,
        attempts=label.attempts,
        details={**label.details, **details},
    )


def _counts(formula: str) -> dict[str, int]:
    return {element: int(number or 1) for element, number in re.findall(r"([A-Z][a-z]?)(\d*)", formula)}


def _shares(labels: Sequence[Sibling]) -> FloatArray:
    elements = sorted({element for s in labels for element in s.counts})
    counts = np.array([[s.counts.get(element, 0) for element in elements] for s in labels], float)
    shares: FloatArray = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _spanned(others: FloatArray, share: FloatArray) -> bool:
    """Whether the energies of `others` say what a composition should have."""
    fit, *_ = np.linalg.lstsq(others.T, share, rcond=None)
    return bool(np.abs(others.T @ fit - share).max() < 1e-6)
