"""A CHGNet, its graphs of frames, and what its energy says with its derivatives.

The network is chgnet's own; here its energy is differentiated by positions and strain in one pass, in the precision
that is asked for, and as often as is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chgnet
import chgnet.graph.converter as converter_module
import chgnet.model.model as model_module
import numpy as np
import torch
from chgnet.model.model import BatchedGraph, CHGNet
from pymatgen.core import Lattice, Structure

REFERENCE = "composition_model.fc.weight"
"""Energies of the atoms, (1, 94) eV."""
_UNSAID = {"self", "kwargs", "composition_model", "version"}
_MORE = {"conv_norm", "mlp_out_bias"}
"""Arguments that CHGNet takes without naming them."""
ARGUMENTS = frozenset(inspect.signature(CHGNet.__init__).parameters) - _UNSAID | _MORE
"""What a definition may say of a network."""


def published(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Arguments and parameters of the weights `name` in the wheel of chgnet. Only tensors and numbers are unpickled."""
    (path,) = (Path(chgnet.__file__).parent / "pretrained" / name).glob("*.pth.tar")
    model = torch.load(path, map_location="cpu", weights_only=True)["model"]
    arguments = {key: value for key, value in model["model_args"].items() if key in ARGUMENTS}
    arguments["mlp_out_bias"] = name == "0.2.0"  # as CHGNet.load has it
    return arguments, {key: values.numpy() for key, values in model["state_dict"].items()}


def network(definition: Mapping[str, Any], parameters: Mapping[str, np.ndarray]) -> CHGNet:
    """The network of these arguments with these parameters, all of its own in its shapes."""
    arguments = definition["arguments"]
    if strange := sorted(set(arguments) - ARGUMENTS):
        raise ValueError(f"CHGNet has no arguments {strange}")
    model = CHGNet(**arguments)
    model.load_state_dict({name: torch.as_tensor(values) for name, values in parameters.items()})
    return model.to({"float32": torch.float32, "float64": torch.float64}[str(definition["precision"])])


@contextmanager
def _precision(model: CHGNet) -> Iterator[None]:
    """Chgnet makes its graphs in the precision of `model`; by itself it knows single precision alone."""
    modules = (converter_module, model_module)
    before = [module.TORCH_DTYPE for module in modules]
    for module in modules:
        module.TORCH_DTYPE = model.site_wise.weight.dtype
    try:
        yield
    finally:
        for module, dtype in zip(modules, before, strict=True):
            module.TORCH_DTYPE = dtype


def graphs(model: CHGNet, arrays: Mapping[str, np.ndarray]) -> list[Any]:
    """Chgnet's graphs of the frames of :func:`magflow.potentials.chgnet.frames.frame_arrays`."""
    found, last = [], np.cumsum(arrays["counts"])
    with _precision(model):
        for k, atoms in enumerate(arrays["counts"]):
            mine = slice(last[k] - atoms, last[k])
            lattice, numbers = Lattice(arrays["cell"][k]), arrays["number"][mine].tolist()
            structure = Structure(lattice, numbers, arrays["position"][mine], coords_are_cartesian=True)
            graph = model.graph_converter(structure, graph_id=f"frame {k}")
            for tensor in (graph.atom_frac_coord, graph.lattice):
                tensor.requires_grad_(False)  # positions are differentiated by, and depend on the strain
            found.append(graph)
    return found


@dataclass(frozen=True)
class Said:
    """What a network says of a batch of frames.

    Parameters
    ----------
    energy
        (n,) eV, double precision.
    forces
        (sum N, 3) eV/A.
    stress
        (n, 3, 3) eV/A^3.
    positions
        (N, 3) A of each frame: what the forces can be differentiated by, if their graph was kept.
    """

    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor
    positions: tuple[torch.Tensor, ...]

    def times(self, vectors: torch.Tensor) -> torch.Tensor:
        """(sum N, 3) the Hessian in positions times `vectors` (sum N, 3 or more); of each frame by itself."""
        slope = -(self.forces * vectors[:, :3].to(self.forces.dtype)).sum()
        parts = torch.autograd.grad(slope, self.positions, retain_graph=True, materialize_grads=True)
        return torch.cat(parts)


def said(model: CHGNet, batch: Sequence[Any], *, again: bool = False) -> Said:
    """What `model` says of some :func:`graphs`.

    Parameters
    ----------
    again
        Keep the graph of forces and stress, to differentiate them.
    """
    with _precision(model):
        batched = BatchedGraph.from_graphs(
            batch, model.bond_basis_expansion, model.angle_basis_expansion, compute_stress=True
        )
        found = model._compute(batched)
    counts = found["atoms_per_graph"]
    energy = found["e"] * counts if model.is_intensive else found["e"]
    leaves = (*batched.atom_positions, *batched.strains)
    slopes = torch.autograd.grad(energy.sum(), leaves, create_graph=again, materialize_grads=True)
    by_strain = torch.stack(slopes[len(batch) :]) / batched.volumes.abs()[:, None, None]
    return Said(
        energy.double() + torch.stack([_atoms(model, graph) for graph in batch]),
        -torch.cat(slopes[: len(batch)]),
        0.5 * (by_strain + by_strain.transpose(1, 2)),
        tuple(batched.atom_positions),
    )


def _atoms(model: CHGNet, graph: Any) -> torch.Tensor:
    """eV, what the atoms of a frame have by themselves."""
    reference: torch.Tensor = model.composition_model.fc.weight.detach()[0].double()
    return reference[graph.atomic_number.long() - 1].sum()
