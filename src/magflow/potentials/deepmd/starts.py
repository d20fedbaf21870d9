"""What a training begins with: another potential, or a checkpoint of deepmd-kit that somebody else has trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.protocols import Potential
from magflow.errors import InputError
from magflow.potentials.deepmd.inputs import native_spins, same_form, whole_section
from magflow.potentials.deepmd.potential import DeepmdPotential
from magflow.potentials.deepmd.program import DEEPMD_KIT
from magflow.potentials.deepmd.settings import Descriptor

_OTHER_NAMES = {"sezm": Descriptor.DPA4}
"""What deepmd-kit calls a descriptor beside the name used here."""
_ENERGIES = ("ener", "dpa4_ener", "sezm_ener")
"""Kinds of networks that give energies, whose derivatives the forces are."""


@dataclass(frozen=True)
class Start:
    """Where a training begins.

    Parameters
    ----------
    model
        Section ``model`` of what is trained, without seeds.
    checkpoint
        Its first parameters, as a file of ``torch.save``.
    """

    model: Mapping[str, Any]
    checkpoint: bytes


def from_potential(model: Mapping[str, Any], start: Potential, family: str) -> Start:
    """Go on from `start`, with its room for neighbours and its virtual distances.

    One that reads no moments may be the start of one that does, where moments are vectors beside the atoms (dpa4): what
    it says is then said of moments that are zero.

    Raises
    ------
    InputError
        If it is of another family, knows other elements or has another form.
    """
    if not isinstance(start, DeepmdPotential):
        raise InputError("the warm start is of another family", seen=start.family, expected=family)
    gains_spins = "spin" in model and not start.magnetic
    if gains_spins and not native_spins(model):
        raise InputError(
            "the warm start is of another family",
            seen=start.family,
            expected=family,
            hint="a potential without moments can be the start of one with them in descriptor dpa4 alone",
        )
    if start.magnetic and "spin" not in model:
        raise InputError("the warm start is of another family", seen=start.family, expected=family)
    same_form(model, start.model)
    kept = {key: start.model[key] for key in ("descriptor", "spin") if key in start.model}
    whole = {**model, **kept}
    return Start(whole, _adapted(start.checkpoint, whole, None, "the warm start") if gains_spins else start.checkpoint)


def pretrained_section(path: Path, branch: str | None, species: Sequence[str]) -> dict[str, Any]:
    """Section ``model`` that the checkpoint at `path` has, for the elements `species`.

    Raises
    ------
    InputError
        If it is no checkpoint of deepmd-kit, holds several models and `branch` names none of them, does not know an
        element, or has virtual atoms or no energies.
    """
    params = _of_branch(_described(path), branch, path)
    known = params["type_map"]
    if unknown := [s for s in species if s not in known]:
        raise InputError(
            "the pretrained model does not know an element",
            where=str(path),
            seen=", ".join(unknown),
            expected=f"elements of its type map ({', '.join(known)})",
            hint="begin with another model, or afresh",
        )
    if "virtual_scale" in params.get("spin", {}):
        raise InputError(
            "the pretrained model has virtual atoms for moments",
            where=str(path),
            expected="one without moments, or of descriptor dpa4",
        )
    descriptor, fitting = (
        {key: value for key, value in params.get(part, {}).items() if key != "seed"}
        for part in ("descriptor", "fitting_net")
    )
    kind = str(descriptor.get("type", params.get("type", ""))).lower()
    descriptor["type"] = str(_OTHER_NAMES.get(kind, kind))
    if fitting.get("type", "ener") not in _ENERGIES:
        raise InputError(
            "the pretrained model gives no energies",
            where=str(path),
            seen=fitting["type"],
            expected="a fit of energies",
        )
    return whole_section(descriptor, fitting, species)


def from_checkpoint(model: Mapping[str, Any], path: Path, branch: str | None) -> Start:
    """Begin with the checkpoint at `path`, brought to the elements and moments of `model`.

    Raises
    ------
    InputError
        If it does not fit.
    """
    return Start(model, _adapted(_read(path), model, branch, str(path)))


def _read(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise InputError(
            f"the pretrained model cannot be read: {error.strerror}", where=str(path), expected="a checkpoint (.pt)"
        ) from error


def _described(path: Path) -> dict[str, Any]:
    """``model_params`` of the checkpoint at `path`."""
    checkpoint = np.frombuffer(_read(path), dtype=np.uint8)
    try:
        answer = DEEPMD_KIT.server().ask(op="describe", checkpoint=checkpoint)
    except InputError as error:
        raise InputError(
            "not a checkpoint of deepmd-kit", where=str(path), seen=error.seen, expected="a file model.ckpt-STEP.pt"
        ) from error
    found: dict[str, Any] = json.loads(str(answer["model"]))
    return found


def _of_branch(params: dict[str, Any], branch: str | None, path: Path) -> dict[str, Any]:
    """Of the only model, or of the one that `branch` names."""
    models = params.get("model_dict", {None: params})
    if branch not in models:
        raise InputError(
            "the pretrained model has several branches" if not branch else "the pretrained model has no such branch",
            where=str(path),
            seen=branch or "no branch",
            expected=", ".join(models) if "model_dict" in params else "no branch: it is one model",
            hint="set branch",
        )
    found: dict[str, Any] = models[branch]
    return found


def _adapted(checkpoint: bytes, model: Mapping[str, Any], branch: str | None, where: str) -> bytes:
    """The parameters of `checkpoint` as those of `model`."""
    try:
        answer = DEEPMD_KIT.server().ask(
            op="adapt",
            checkpoint=np.frombuffer(checkpoint, dtype=np.uint8),
            section=json.dumps(model),
            branch=branch or "",
        )
    except InputError as error:
        raise InputError("the model does not fit what is to be trained", where=where, seen=error.seen) from error
    return answer["checkpoint"].tobytes()
