"""``input.json`` of deepmd-kit from the settings of a settings.

Keys and loss: https://docs.deepmodeling.com/projects/deepmd, "Training parameters"; the descriptor se_e2_a is that of
Zhang et al., NeurIPS 31 (2018), dpa1 that of Zhang et al., npj Comput. Mater. 10, 94 (2024), the virtual atoms that
carry the spins those of Yang et al., Phys. Rev. B 110, 064427 (2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.label import LabeledFrame
from magflow.errors import InputError
from magflow.potentials.deepmd.data import most_neighbours
from magflow.potentials.deepmd.settings import DeepmdSettings
from magflow.potentials.outside.labels import largest_moments

TRAIN, VALIDATION = "train", "validation"
"""Folders of the labels in a training's directory."""
NEIGHBOUR_MARGIN = 1.5
"""Neighbours a model has room for, per largest number in its training labels; beyond that the farthest are cut off."""
ZERO_MOMENT = 0.01
"""muB; an element whose moments all stay below carries no virtual atom."""
AXIS_NEURONS = 16
_UNCHANGED = ("seed", "trainable")
"""Keys that may differ between a model and the one its training starts from."""


def model_section(settings: DeepmdSettings, items: Sequence[LabeledFrame], species: Sequence[str]) -> dict[str, Any]:
    """Section ``model``: the form of the model, with the sizes that follow from the labels, and no seeds yet."""
    frames = [item.frame for item in items]
    room = [_room(n) for n in most_neighbours(frames, species, settings.cutoff)]
    descriptor: dict[str, Any] = {
        "type": str(settings.descriptor),
        "rcut": settings.cutoff,
        "rcut_smth": settings.smooth_from,
        "neuron": list(settings.descriptor_neurons),
        "axis_neuron": min(AXIS_NEURONS, settings.descriptor_neurons[-1]),
        "precision": str(settings.precision),
    }
    descriptor |= {"sel": room} if settings.descriptor == "se_e2_a" else {"sel": sum(room), "attn_layer": 0}
    section: dict[str, Any] = {
        "type_map": list(species),
        "data_stat_nbatch": 1_000_000,  # energies of the atoms by least squares over all labels, not over ten batches
        "descriptor": descriptor,
        "fitting_net": {"neuron": list(settings.fitting_neurons), "precision": str(settings.precision)},
    }
    return section


def _room(neighbours: int) -> int:
    """Neighbours to reserve memory for: a multiple of four, as deepmd-kit rounds them."""
    return max(4, 4 * math.ceil(NEIGHBOUR_MARGIN * neighbours / 4))


def spin_section(virtual_length: float, items: Sequence[LabeledFrame], species: Sequence[str]) -> dict[str, Any]:
    """Section ``model.spin``: which elements carry a virtual atom, and its distance per moment, A/muB.

    Raises
    ------
    InputError
        If no element carries a moment.
    """
    largest = largest_moments(items, species)
    carries = [m > ZERO_MOMENT for m in largest]
    if not any(carries):
        raise InputError("no frame carries a moment", seen=f"at most {max(largest):g} muB", hint="use the family dp")
    scale = [virtual_length / m if c else 0.0 for m, c in zip(largest, carries, strict=True)]
    return {"use_spin": carries, "virtual_scale": scale}


def seeded(model: Mapping[str, Any], seed: int, *, freeze_descriptor: bool) -> dict[str, Any]:
    """A copy of section ``model`` with its seeds and with the parts that learn marked."""
    descriptor_seed, fitting_seed = (int(s) for s in np.random.SeedSequence([seed]).generate_state(2) % 2**31)
    section = deepcopy(dict(model))
    section["descriptor"] |= {"seed": descriptor_seed, "trainable": not freeze_descriptor}
    section["fitting_net"] |= {"seed": fitting_seed}
    return section


def same_form(asked: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse to start from a model of another form; room for neighbours and virtual distances are those of the start.

    Raises
    ------
    InputError
        Naming what differs.
    """
    if list(given.get("type_map", [])) != asked["type_map"]:
        raise InputError(
            "the model to start from knows other elements",
            seen=", ".join(given.get("type_map", [])),
            expected=", ".join(asked["type_map"]),
            hint="train on the same system.elements, or start afresh",
        )
    for part in ("descriptor", "fitting_net"):
        for key, expected in asked[part].items():
            seen = given[part].get(key)
            if key not in (*_UNCHANGED, "sel") and seen != expected:
                raise InputError(
                    f"the model to start from differs in {part}.{key}",
                    seen=seen,
                    expected=str(expected),
                    hint="use the settings that model was trained with, or start afresh",
                )


def training_input(
    settings: DeepmdSettings,
    model: Mapping[str, Any],
    systems: Mapping[str, Sequence[Path]],
    metric: str,
    seed: int,
    *,
    freeze_descriptor: bool,
) -> dict[str, Any]:
    """The whole ``input.json``; `systems` maps :data:`TRAIN` and maybe :data:`VALIDATION` to folders."""
    training: dict[str, Any] = {
        "training_data": _data(settings, systems[TRAIN]),
        "numb_steps": settings.steps,
        "disp_freq": settings.interval,
        "save_freq": settings.interval,
        "max_ckpt_keep": 2,
        "seed": int(np.random.SeedSequence([seed, 1]).generate_state(1)[0] % 2**31),
    }
    content: dict[str, Any] = {
        "model": seeded(model, seed, freeze_descriptor=freeze_descriptor),
        "learning_rate": {
            "type": "exp",
            "start_lr": settings.learning_rate[0],
            "stop_lr": settings.learning_rate[1],
            "decay_steps": max(1, settings.steps // 200),
        },
        "loss": loss_section(settings),
        "training": training,
    }
    if systems.get(VALIDATION):
        training["validation_data"] = _data(settings, systems[VALIDATION])
        content["validating"] = {
            "full_validation": True,
            "validation_freq": settings.interval,
            "full_val_start": 0,
            "save_best": True,
            "validation_metric": metric,
        }
    return content


def _data(settings: DeepmdSettings, folders: Sequence[Path]) -> dict[str, Any]:
    return {"systems": [str(folder) for folder in folders], "batch_size": f"auto:{settings.batch_atoms}"}


def loss_section(settings: DeepmdSettings) -> dict[str, Any]:
    """Section ``loss``: a prefactor runs from its first to its second value as the learning rate decays."""
    weights = settings.weights
    force = "fr" if settings.magnetic else "f"
    pairs = {"e": weights.energy, force: weights.forces, "v": weights.virial}
    if settings.magnetic:
        pairs["fm"] = weights.magnetic_forces
    section: dict[str, Any] = {"type": "ener_spin" if settings.magnetic else "ener"}
    for name, (first, last) in pairs.items():
        section |= {f"start_pref_{name}": first, f"limit_pref_{name}": last}
    return section


def validation_metric(settings: DeepmdSettings, validation: Sequence[LabeledFrame]) -> str:
    """What the best step is judged by: forces where they are learnt and labelled, else energies."""
    forces = settings.weights.forces[0] > 0.0 and any(item.label.forces is not None for item in validation)
    if not forces:
        return "E:RMSE"
    return "FR:RMSE" if settings.magnetic else "F:RMSE"
