"""Non-magnetic labels among magnetic ones: when they are points of the same energy surface, and as what they enter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from magflow.core.dataset import Dataset
from magflow.core.label import LabeledFrame, LabelKind, LevelOfTheory
from magflow.errors import InputError


def at_zero_moments(items: Iterable[LabeledFrame]) -> list[LabeledFrame]:
    """Non-magnetic labels as what constrained ones with all moments zero would say.

    Without spin-orbit coupling and field the state without moments solves the constrained problem at M = 0, so energy,
    forces and stress carry over. Magnetic forces vanish there by symmetry: they are left out, because a potential that
    is even in the moments cannot get them wrong and they would only dilute an error.

    Raises
    ------
    InputError
        If a label is of another kind.
    """
    out = []
    for item in items:
        if item.label.level_of_theory.kind is not LabelKind.NON_MAGNETIC:
            raise InputError(
                "only non-magnetic labels are labels at zero moments",
                where=item.label_id,
                seen=item.label.level_of_theory.kind,
            )
        moments = np.zeros((len(item.frame), 3))
        frame = item.frame.replace(magmoms=moments)
        label = replace(item.label, frame_id=frame.frame_id, magmoms=moments, magnetic_forces=None, orientation=1)
        out.append(LabeledFrame(frame, label))
    return out


def check_same_surface(non_magnetic: LevelOfTheory, magnetic: LevelOfTheory) -> None:
    """Refuse non-magnetic labels that are no points of the magnetic labels' energy surface.

    Only the kind may differ, and with it the settings that a calculation without moments does not have (spheres,
    constraints).

    Raises
    ------
    InputError
        Naming what differs.
    """
    if magnetic.kind is not LabelKind.CONSTRAINED:
        raise InputError(
            "labels at zero moments belong to constrained labels alone: free moments make another surface",
            seen=magnetic.kind,
            expected=LabelKind.CONSTRAINED,
            hint="leave replay out",
        )
    pairs = {name: (getattr(non_magnetic, name), getattr(magnetic, name)) for name in ("code", "version", "functional")}
    for element in sorted(set(non_magnetic.datasets) & set(magnetic.datasets)):
        pairs[f"dataset of {element}"] = (non_magnetic.datasets[element], magnetic.datasets[element])
    for name, value in non_magnetic.parameters.items():
        pairs[name] = (value, magnetic.parameters.get(name, "nothing"))
    different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if different:
        raise InputError(
            "non-magnetic labels of other settings are no points of the magnetic energy surface",
            seen="; ".join(f"{name} {mine}, magnetic {theirs}" for name, (mine, theirs) in different.items()),
            expected="the same code, functional, datasets and cutoffs",
            hint="label again with the same settings, or leave replay out",
        )


def with_replay(magnetic: Dataset, non_magnetic: Dataset, *, share: float = 1.0, seed: int = 0) -> Dataset:
    """Magnetic labels and, at zero moments, a random `share` of non-magnetic ones: one dataset of two kinds.

    Raises
    ------
    InputError
        If the labels do not lie on one energy surface (:func:`check_same_surface`), or the share is out of range.
    """
    if not 0.0 <= share <= 1.0:
        raise InputError("share of replayed labels out of range", seen=share, expected="0 to 1")
    for own in magnetic.levels_of_theory:
        for other in non_magnetic.levels_of_theory:
            check_same_surface(other, own)
    chosen = np.random.default_rng(seed).permutation(len(non_magnetic))[: round(share * len(non_magnetic))]
    return Dataset([*magnetic, *at_zero_moments(non_magnetic.take(np.sort(chosen).tolist()))], mixed=True)
