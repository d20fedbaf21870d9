"""Section ``model.descriptor`` of deepmd-kit's input, and what follows from it.

se_e2_a is that of Zhang et al., NeurIPS 31 (2018), dpa1 that of Zhang et al., npj Comput. Mater. 10, 94 (2024), dpa3
that of Zhang et al., arXiv:2506.01686 (2025), dpa4 that of Li et al., arXiv:2606.02419 (2026).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from magflow.core.frame import Frame
from magflow.potentials.deepmd.data import most_neighbours
from magflow.potentials.deepmd.settings import DeepmdSettings, Descriptor

NEIGHBOUR_MARGIN = 1.5
"""Neighbours a model has room for, per largest number in its training labels; beyond that the farthest are cut off."""
AXIS_NEURONS = 16
ROOM = ("sel", "e_sel", "a_sel")
"""Keys that are room for neighbours: a model keeps its own when a training starts from it."""
_EDGES_FROM, _ANGLES_FROM = 5.3 / 6.0, 3.5 / 4.0
"""Where the exponential switch of dpa3 begins, per cutoff: the ratios that deepmd-kit recommends."""

Section = dict[str, Any]


def descriptor_section(settings: DeepmdSettings, frames: Sequence[Frame], species: Sequence[str]) -> Section:
    """Section ``descriptor``, with room for the neighbours that `frames` have, and no seed."""
    made = _SECTIONS[settings.descriptor](settings, frames, species)
    return {"type": str(settings.descriptor), "precision": str(settings.precision), **made}


def reach(descriptor: Mapping[str, Any]) -> float:
    """Largest distance at which atoms act on the energy of another, A: one cutoff for each message."""
    if descriptor["type"] == Descriptor.DPA3:
        return float(descriptor["repflow"]["nlayers"] * descriptor["repflow"]["e_rcut"])
    return float(descriptor["rcut"]) * int(descriptor.get("n_blocks", 1))


def _se_e2_a(settings: DeepmdSettings, frames: Sequence[Frame], species: Sequence[str]) -> Section:
    return _embedded(settings) | {"sel": _room(frames, species, settings.cutoff)}


def _dpa1(settings: DeepmdSettings, frames: Sequence[Frame], species: Sequence[str]) -> Section:
    return _embedded(settings) | {"sel": sum(_room(frames, species, settings.cutoff)), "attn_layer": 0}


def _embedded(settings: DeepmdSettings) -> Section:
    """What the descriptors by an embedding network share."""
    neurons = settings.descriptor_neurons
    return {
        "rcut": settings.cutoff,
        "rcut_smth": settings.smooth_from,
        "neuron": list(neurons),
        "axis_neuron": min(AXIS_NEURONS, neurons[-1]),
    }


def _dpa3(settings: DeepmdSettings, frames: Sequence[Frame], species: Sequence[str]) -> Section:
    sizes = settings.dpa3
    repflow = {
        "nlayers": sizes.layers,
        "n_dim": sizes.node,
        "e_dim": sizes.edge,
        "a_dim": sizes.angle,
        "e_rcut": settings.cutoff,
        "e_rcut_smth": _EDGES_FROM * settings.cutoff,
        "e_sel": sum(_room(frames, species, settings.cutoff)),
        "a_rcut": sizes.angle_cutoff,
        "a_rcut_smth": _ANGLES_FROM * sizes.angle_cutoff,
        "a_sel": sum(_room(frames, species, sizes.angle_cutoff)),
        "use_exp_switch": True,
        "smooth_edge_update": True,
        "edge_init_use_dist": True,
        "use_dynamic_sel": True,  # no padding: time goes with the neighbours there are
        "sel_reduce_factor": 1.0,
    }
    return {"repflow": repflow, "activation_function": "silut:10.0", "use_tebd_bias": False}


def _dpa4(settings: DeepmdSettings, frames: Sequence[Frame], species: Sequence[str]) -> Section:
    sizes = settings.dpa4
    return {
        "rcut": settings.cutoff,
        "sel": sum(_room(frames, species, settings.cutoff)),
        "channels": sizes.channels,
        "n_radial": sizes.radial_functions,
        "lmax": sizes.l_max,
        "n_blocks": sizes.blocks,
        "random_gamma": False,  # drawn anew at every call: a prediction would not repeat
        "use_amp": False,
    }


def _room(frames: Sequence[Frame], species: Sequence[str], cutoff: float) -> list[int]:
    """Neighbours of each species within `cutoff` to reserve memory for: multiples of four, as deepmd-kit has them."""
    return [max(4, 4 * math.ceil(NEIGHBOUR_MARGIN * n / 4)) for n in most_neighbours(frames, species, cutoff)]


_SECTIONS: dict[Descriptor, Callable[[DeepmdSettings, Sequence[Frame], Sequence[str]], Section]] = {
    Descriptor.SE_E2_A: _se_e2_a,
    Descriptor.DPA1: _dpa1,
    Descriptor.DPA3: _dpa3,
    Descriptor.DPA4: _dpa4,
}
