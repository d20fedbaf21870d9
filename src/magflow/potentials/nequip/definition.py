"""The definition of a network: plain numbers that, with its parameters, are the whole of a potential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from magflow.core.label import LabeledFrame
from magflow.errors import InputError
from magflow.potentials.nequip.graph import closest
from magflow.potentials.nequip.potential import NequipPotential
from magflow.potentials.nequip.settings import NequipSettings
from magflow.potentials.outside.labels import atomic_energies, largest_moments

FORM = ("species", "cutoff", "precision", "network")
"""What a network and the one its training starts from have to share; all else follows from the labels."""
_LEAST_SCALE = 1e-3
"""eV/A; of energies in labels without forces to speak of."""
_LEAST_MOMENT = 0.01
"""muB; an element whose moments all stay below has moments counted in units of 1 muB."""


def definition(
    settings: NequipSettings,
    network: Mapping[str, int],
    items: Sequence[LabeledFrame],
    arrays: dict[str, np.ndarray],
    species: Sequence[str],
) -> dict[str, Any]:
    """The definition of a fresh network.

    Parameters
    ----------
    network
        Its sizes.
    items, arrays
        The labels it is to learn, and their :func:`~magflow.potentials.nequip.graph.labelled_graph`.
    """
    found: dict[str, Any] = {
        "architecture": str(settings.architecture),
        "species": list(species),
        "cutoff": settings.cutoff,
        "precision": str(settings.precision),
        "network": dict(network),
        "neighbours": max(float(arrays["pairs"].sum() / arrays["counts"].sum()), 1.0),
        "energy_scale": _scale(arrays),
        "energy_shifts": [round(e, 9) for e in atomic_energies(items, species, arrays["energy"]).tolist()],
        "closest": closest(arrays),
    }
    if settings.magnetic:
        largest = largest_moments(items, species)
        found["largest_moments"] = largest
        found["moment_units"] = [m if m > _LEAST_MOMENT else 1.0 for m in largest]
    return found


def _scale(arrays: dict[str, np.ndarray]) -> float:
    """Root mean square of the labelled forces, eV/A; 1 without any."""
    forces = arrays["forces"][np.isfinite(arrays["forces"])]
    if not len(forces):
        return 1.0
    largest = max(float(np.abs(forces).max()), _LEAST_SCALE)
    return max(largest * float(np.sqrt(np.mean((forces / largest) ** 2))), _LEAST_SCALE)


def started(
    fresh: Mapping[str, Any], potential: NequipPotential, items: Sequence[LabeledFrame], *, refit: bool
) -> dict[str, Any]:
    """The definition of a network that starts from another: that one's, its energies of atoms refitted to `items`.

    Raises
    ------
    InputError
        Naming what differs in form.
    """
    start = potential.definition
    for key in FORM:
        seen, expected = start.get(key), fresh[key]
        if seen == expected:
            continue
        if key == "species":
            raise InputError(
                "the model to start from knows other elements",
                seen=", ".join(seen or []),
                expected=", ".join(expected),
                hint="train on the same system.elements, or start afresh",
            )
        raise InputError(
            f"the model to start from differs in {key}",
            seen=str(seen),
            expected=str(expected),
            hint="use the settings that model was trained with, or start afresh",
        )
    if not refit:
        return dict(start)
    predicted = potential.predict([item.configuration for item in items]).energy
    energy = np.array([item.label.energy for item in items], dtype=float)
    shift = atomic_energies(items, fresh["species"], energy - predicted)
    return {**start, "energy_shifts": (np.array(start["energy_shifts"]) + shift).tolist()}
