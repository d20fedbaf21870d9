"""A NequIP that reads collinear moments and is even in them.

The messages of NequIP (Batzner et al., Nat. Commun. 13, 2453 (2022)) are weighted by a network of the distance. Here
that network reads the products

    B_n(r_ij) T_b(x_i) T_g(x_j),    b + g even,    x_i = m_i / (unit of its element)

of Bessel functions and Chebyshev polynomials, and the attributes of an atom are those of its element and T_2(x_i),
T_4(x_i)... Under M -> -M each product is the same number, and so are energy, forces and stress; -dE/dm changes its
sign. Moments are the z components of collinear ones: without spin-orbit coupling nothing but their products counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from e3nn import o3
from nequip.data import AtomicDataDict as Keys
from nequip.model import model_builder
from nequip.nn import (
    ApplyFactor,
    AtomwiseReduce,
    ConvNetLayer,
    GraphModuleMixin,
    PerTypeScaleShift,
    ScalarMLP,
    SequentialGraphNetwork,
)
from nequip.nn.embedding import (
    BesselEdgeLengthEncoding,
    EdgeLengthNormalizer,
    NodeTypeEmbed,
    PolynomialCutoff,
    SphericalHarmonicEdgeAttrs,
)

MAGNETIC_FORCES = "magnetic_forces"
CUTOFF_POWER = 6
"""Of the polynomial that takes neighbours to zero at the cutoff, as in NequIP."""


class MomentEmbedding(GraphModuleMixin, torch.nn.Module):
    """Moments into the scalars of pairs and atoms.

    Parameters
    ----------
    units
        Per type, the moment that counts as one, muB.
    functions
        Chebyshev polynomials of a moment, the constant included.
    """

    units: torch.Tensor
    _init_irreps: Any  # of the mixin

    def __init__(self, units: Sequence[float], functions: int, irreps_in: dict[str, Any]) -> None:
        super().__init__()
        self.register_buffer("units", torch.tensor(units, dtype=torch.float64), persistent=False)
        self.functions = functions
        self.products = [(b, g) for b in range(functions) for g in range(functions) if (b + g) % 2 == 0]
        pair, atom = Keys.EDGE_EMBEDDING_KEY, Keys.NODE_ATTRS_KEY
        of_pairs = o3.Irreps([(o3.Irreps(irreps_in[pair]).dim * len(self.products), (0, 1))])
        of_atoms = o3.Irreps([(o3.Irreps(irreps_in[atom]).dim + len(range(2, functions, 2)), (0, 1))])
        self._init_irreps(
            irreps_in={**irreps_in, Keys.MAGMOM_KEY: o3.Irreps("0e")},
            irreps_out={pair: of_pairs, atom: of_atoms, Keys.NODE_FEATURES_KEY: of_atoms},
        )

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Extend embeddings of pairs, and attributes and features of atoms."""
        x = data[Keys.MAGMOM_KEY].view(-1) / self.units[data[Keys.ATOM_TYPE_KEY].view(-1)]
        polynomials = [torch.ones_like(x), x]
        for _ in range(2, self.functions):
            polynomials.append(2.0 * x * polynomials[-1] - polynomials[-2])
        embedding = data[Keys.EDGE_EMBEDDING_KEY]
        values = torch.stack(polynomials, dim=1).to(embedding.dtype)
        centre, other = (values[index] for index in data[Keys.EDGE_INDEX_KEY])
        products = torch.stack([centre[:, b] * other[:, g] for b, g in self.products], dim=1)
        data[Keys.EDGE_EMBEDDING_KEY] = (embedding[:, :, None] * products[:, None, :]).flatten(1)
        attributes = torch.cat([data[Keys.NODE_ATTRS_KEY], values[:, 2::2]], dim=1)
        data[Keys.NODE_ATTRS_KEY] = data[Keys.NODE_FEATURES_KEY] = attributes
        return data


class MagneticOutput(GraphModuleMixin, torch.nn.Module):
    """Forces, stress (1/V) dE/d(strain) and -dE/dm of an energy, by one pass back through its graph."""

    _init_irreps: Any  # of the mixin

    def __init__(self, func: Any) -> None:
        super().__init__()
        self.func = func
        outputs = {Keys.FORCE_KEY: "1o", Keys.STRESS_KEY: "1o", MAGNETIC_FORCES: "0e"}
        inputs = {**func.irreps_in, Keys.MAGMOM_KEY: "0e"}
        self._init_irreps(irreps_in=inputs, irreps_out={**func.irreps_out, **outputs})

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Energy and derivatives of periodic frames, a batch or one."""
        data = dict(data)
        position, moment = _leaf(data[Keys.POSITIONS_KEY]), _leaf(data[Keys.MAGMOM_KEY])
        cell = data[Keys.CELL_KEY]
        strain = torch.zeros_like(cell, requires_grad=True)
        symmetric = 0.5 * (strain + strain.transpose(1, 2))
        if Keys.BATCH_KEY in data:
            turned = torch.bmm(position[:, None, :], symmetric[data[Keys.BATCH_KEY]])[:, 0]
        else:  # a single frame, as a compiled network has it
            turned = position @ symmetric[0]
        data |= {Keys.POSITIONS_KEY: position + turned, Keys.CELL_KEY: cell + torch.bmm(cell, symmetric)}
        data = self.func(data | {Keys.MAGMOM_KEY: moment})
        by_position, by_strain, by_moment = torch.autograd.grad(
            data[Keys.TOTAL_ENERGY_KEY].sum(), [position, strain, moment], create_graph=self.training
        )
        volume = torch.linalg.det(cell).abs()[:, None, None]
        return data | {
            Keys.FORCE_KEY: -by_position,
            Keys.STRESS_KEY: by_strain / volume,
            MAGNETIC_FORCES: -by_moment,
        }


def _leaf(tensor: torch.Tensor) -> torch.Tensor:
    """What is differentiated by: the caller's own tensor where it asks for derivatives by it, too."""
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_(True)


@model_builder
def MagneticNequIPModel(  # noqa: N802  # named as nequip names its builders
    *,
    type_names: Sequence[str],
    r_max: float,
    num_layers: int,
    l_max: int,
    parity: bool,
    num_features: int,
    radial_mlp_depth: int,
    radial_mlp_width: int,
    num_bessels: int,
    avg_num_neighbors: float,
    per_type_energy_scales: float,
    per_type_energy_shifts: Mapping[str, float],
    moment_units: Sequence[float],
    moment_functions: int,
) -> Any:
    """``nequip.model.NequIPGNNModel``, whose arguments the others are, with a :class:`MomentEmbedding`."""
    assert not parity  # features of one parity per rotation order, as below
    harmonics = o3.Irreps.spherical_harmonics(l_max)
    hidden = o3.Irreps([(num_features, (l, (-1) ** l)) for l in range(l_max + 1)])  # noqa: E741
    modules: dict[str, Any] = {}

    def add(name: str, kind: Any, **options: Any) -> None:
        before = {"irreps_in": next(reversed(modules.values())).irreps_out} if modules else {}
        modules[name] = kind(**options, **before)

    add("type_embed", NodeTypeEmbed, type_names=type_names, num_features=num_features)
    add("spharm", SphericalHarmonicEdgeAttrs, irreps_edge_sh=repr(harmonics))
    add("edge_norm", EdgeLengthNormalizer, r_max=r_max, type_names=type_names)
    bessel = {"num_bessels": num_bessels, "edge_invariant_field": Keys.EDGE_EMBEDDING_KEY}
    add("bessel_encode", BesselEdgeLengthEncoding, cutoff=PolynomialCutoff(CUTOFF_POWER), **bessel)
    add("factor", ApplyFactor, in_field=Keys.EDGE_EMBEDDING_KEY, factor=2.0 * math.pi / r_max**2)
    add("moments", MomentEmbedding, units=moment_units, functions=moment_functions)
    for layer in range(num_layers):
        last = layer == num_layers - 1
        convolution: dict[str, Any] = {
            "radial_mlp_depth": radial_mlp_depth,
            "radial_mlp_width": radial_mlp_width,
            "use_sc": layer > 0,
            "is_first_layer": layer == 0,
            "avg_num_neighbors": avg_num_neighbors,
            "type_names": type_names,
        }
        features = f"{num_features}x0e" if last else repr(hidden)
        add(f"layer{layer}", ConvNetLayer, feature_irreps_hidden=features, convolution_kwargs=convolution)
    readout: dict[str, Any] = {"hidden_layers_depth": 0, "hidden_layers_width": num_features, "bias": False}
    readout |= {"forward_weight_init": True, "nonlinearity": "silu", "output_dim": 1}
    energy = Keys.PER_ATOM_ENERGY_KEY
    add("readout", ScalarMLP, field=Keys.NODE_FEATURES_KEY, out_field=energy, **readout)
    scales = {"scales": per_type_energy_scales, "shifts": per_type_energy_shifts}
    add("scale_shift", PerTypeScaleShift, type_names=type_names, field=energy, out_field=energy, **scales)
    add("total", AtomwiseReduce, reduce="sum", field=energy, out_field=Keys.TOTAL_ENERGY_KEY)
    return MagneticOutput(SequentialGraphNetwork(modules))
