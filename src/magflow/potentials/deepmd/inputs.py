"""``input.json`` of deepmd-kit from the settings of a settings.

Keys and loss: https://docs.deepmodeling.com/projects/deepmd, "Training parameters". The virtual atoms that carry the
spins are those of Yang et al., Phys. Rev. B 110, 064427 (2024); dpa4 takes spins as vectors of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.label import LabeledFrame
from magflow.errors import InputError
from magflow.potentials.deepmd.descriptors import ROOM, descriptor_section
from magflow.potentials.deepmd.settings import DeepmdSettings, Descriptor
from magflow.potentials.outside.labels import largest_moments

TRAIN, VALIDATION = "train", "validation"
"""Folders of the labels in a training's directory."""
ZERO_MOMENT = 0.01
"""muB; an element whose moments all stay below carries no virtual atom."""
_UNCHANGED = ("seed", "trainable", *ROOM)
"""Keys that may differ between a model and the one its training starts from."""


def model_section(settings: DeepmdSettings, items: Sequence[LabeledFrame], species: Sequence[str]) -> dict[str, Any]:
    """Section ``model``: the form of the model, with the sizes that follow from the labels, and no seeds yet."""
    descriptor = descriptor_section(settings, [item.frame for item in items], species)
    fitting = {"neuron": list(settings.fitting_neurons), "precision": str(settings.precision)}
    return whole_section(descriptor, fitting, species)


def whole_section(descriptor: Mapping[str, Any], fitting: Mapping[str, Any], species: Sequence[str]) -> dict[str, Any]:
    """Section ``model`` of a descriptor and of the network that makes energies of it."""
    section: dict[str, Any] = {
        "type_map": list(species),
        "data_stat_nbatch": 1_000_000,  # energies of the atoms by least squares over all labels, not over ten batches
        "descriptor": dict(descriptor),
        "fitting_net": dict(fitting),
    }
    return section | ({"type": str(Descriptor.DPA4)} if native_spins(section) else {})


def native_spins(model: Mapping[str, Any]) -> bool:
    """Whether the descriptor of section `model` takes spins as they are, without virtual atoms."""
    return bool(model["descriptor"]["type"] == Descriptor.DPA4)


def with_spins(
    model: Mapping[str, Any], items: Sequence[LabeledFrame], *, virtual_length: float, softening: float
) -> dict[str, Any]:
    """Section ``model`` of a model that reads moments.

    Parameters
    ----------
    virtual_length
        Distance between an atom with the largest moment of its element and its virtual atom, A.
    softening
        The descriptor reads 1/(r + softening), A; where there are virtual atoms.

    Raises
    ------
    InputError
        If no element carries a moment.
    """
    largest = largest_moments(items, model["type_map"])
    carries = [m > ZERO_MOMENT for m in largest]
    if not any(carries):
        raise InputError("no frame carries a moment", seen=f"at most {max(largest):g} muB", hint="use the family dp")
    if native_spins(model):
        return {**model, "spin": {"scheme": "native", "use_spin": carries}}
    scale = [virtual_length / m if c else 0.0 for m, c in zip(largest, carries, strict=True)]
    descriptor = {**model["descriptor"], "env_protection": softening}
    return {**model, "descriptor": descriptor, "spin": {"use_spin": carries, "virtual_scale": scale}}


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
        known = dict(_leaves(given[part]))
        for key, expected in _leaves(asked[part]):
            seen = known.get(key)
            if key.rpartition(".")[2] not in _UNCHANGED and seen != expected:
                raise InputError(
                    f"the model to start from differs in {part}.{key}",
                    seen=seen,
                    expected=str(expected),
                    hint="use the settings that model was trained with, or start afresh",
                )


def _leaves(section: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots, and values, of a section and those it holds."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{within}{key}.")
        else:
            yield f"{within}{key}", value


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
