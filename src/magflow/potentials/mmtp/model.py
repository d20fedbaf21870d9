"""The parameters of one mMTP, what they mean, and their file."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from magflow.core.arrays import DAMAGE, read_archive
from magflow.core.types import FloatArray
from magflow.core.versions import Mark
from magflow.errors import InputError
from magflow.potentials.mmtp.basis import Basis
from magflow.potentials.mmtp.native import kernel

FORMAT = Mark("mMTP model", "magflow-mmtp", (dict, dict, dict))
"""2: draws of the posterior may grade its frames. 3: with their noise they tell deviations. 4: it says what it learnt
from.
"""


class Form(StrEnum):
    """Which products psi_beta(m_i) psi_gamma(m_j) enter, and how M -> -M is made a symmetry."""

    EVEN = "even"
    """beta + gamma even: symmetric in one evaluation."""
    PAPER = "paper"
    """All products; the energy in use is (E(M) + E(-M))/2 (Kotykhov et al., Sci. Rep. 13, 19728 (2023))."""


def moment_pairs(form: Form, n_psi: int) -> np.ndarray:
    """(P, 2) the pairs (beta, gamma) of a form, beta-major."""
    pairs = [(b, g) for b in range(n_psi) for g in range(n_psi) if form is Form.PAPER or (b + g) % 2 == 0]
    return np.array(pairs, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class MmtpModel:
    """One magnetic moment tensor potential.

    E = sum_i [e_{z_i} + sum_alpha xi_alpha B_alpha], with basic moments M_{mu,nu} = sum_j f_mu u_ij^(x nu),
    u the unit vector, and f_mu = (R_cut - r)^2 sum c_{mu,zi,zj}^{zeta,(beta,gamma)} phi_zeta(r) psi_beta(m_i)
    psi_gamma(m_j); phi and psi are Chebyshev polynomials on [r_min, cutoff] and [-max_moment, max_moment].

    Parameters
    ----------
    species
        Elements, in the order of the type index.
    form, n_psi
        The magnetic part; ``n_psi = 1`` is the non-magnetic potential.
    symmetrise
        Use (E(M) + E(-M))/2.
    extend
        Follow the tangent of phi below `r_min` and of psi beyond +-`max_moment` (energy and first derivatives stay
        continuous and grow slowly); False: the bare polynomials, as ``.mtp`` files mean them.
    max_moment
        (T,) muB.
    parameters
        Radial c[zi][zj][mu][zeta][pair], linear xi[alpha], species e[z], flat. eV.
    pulay
        (T,) eV per atom: the labels' stress is dE/d(strain)/V + sum over the atoms of this / V on the diagonal
        (:func:`magflow.potentials.mmtp.residuals.pulay_columns`). No part of the energy.
    learnt
        Fingerprints of the levels of theory of the labels it was fitted to; empty where they are not known.
    """

    species: tuple[str, ...]
    form: Form
    level: int
    cutoff: float
    r_min: float
    n_phi: int
    n_psi: int
    symmetrise: bool
    extend: bool
    max_moment: FloatArray
    basis: Basis
    parameters: FloatArray
    pulay: FloatArray
    learnt: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.parameters.shape != (self.spec.n_parameters,):
            raise InputError(
                "wrong number of parameters", seen=self.parameters.shape, expected=f"({self.spec.n_parameters},)"
            )
        if self.pulay.shape != (len(self.species),):
            raise InputError(
                "wrong number of Pulay constants", seen=self.pulay.shape, expected=f"({len(self.species)},)"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Fields alone: what is cached belongs to the kernel of this process."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def magnetic(self) -> bool:
        """Whether the energy depends on moments."""
        return self.n_psi > 1

    @property
    def n_radial(self) -> int:
        """Number of radial coefficients, the first of `parameters`."""
        return int(self.spec.n_radial)

    @cached_property
    def pairs(self) -> np.ndarray:
        """(P, 2) see :func:`moment_pairs`."""
        return moment_pairs(self.form, self.n_psi)

    @cached_property
    def spec(self) -> Any:
        """The kernel's view of everything but the parameters."""
        try:
            return kernel().make_spec(n_types=len(self.species), cutoff=self.cutoff, **self.shape)
        except ValueError as error:
            raise InputError("the potential is not consistent", seen=str(error)) from error

    @property
    def shape(self) -> dict[str, Any]:
        """What the kernel needs beyond the number of species, the cutoff and the parameters."""
        mono, of_basic = self.basis.monomials
        return {
            "n_mu": self.basis.n_mu,
            "n_phi": self.n_phi,
            "n_psi": self.n_psi,
            "r_min": self.r_min,
            "extend": self.extend,
            "max_moment": [float(m) for m in self.max_moment],
            "pairs": self.pairs,
            "basic": np.ascontiguousarray(np.stack([self.basis.basic[:, 0], of_basic], axis=1), dtype=np.int32),
            "mono": mono,
            "times": np.ascontiguousarray(self.basis.times, dtype=np.int32),
            "mult": self.basis.multiplicity,
            "scalar": self.basis.scalar,
        }

    def header(self) -> dict[str, Any]:
        """Scalars, JSON-ready."""
        return {
            "format": str(FORMAT),
            "species": list(self.species),
            "form": str(self.form),
            "level": self.level,
            "cutoff": self.cutoff,
            "r_min": self.r_min,
            "n_phi": self.n_phi,
            "n_psi": self.n_psi,
            "symmetrise": self.symmetrise,
            "extend": self.extend,
            "learnt": list(self.learnt),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays of the file."""
        return {
            "max_moment": self.max_moment,
            "parameters": self.parameters,
            "pulay": self.pulay,
            "basic": self.basis.basic,
            "times": self.basis.times,
            "multiplicity": self.basis.multiplicity,
            "scalar": self.basis.scalar,
        }


def encode(model: MmtpModel, extra: dict[str, np.ndarray]) -> bytes:
    """An ``.npz`` with the model and `extra` arrays; no pickle."""
    buffer = io.BytesIO()
    header = np.frombuffer(json.dumps(model.header()).encode(), dtype=np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, header=header, **model.arrays(), **extra)
    return buffer.getvalue()


def decode(data: bytes) -> tuple[MmtpModel, dict[str, np.ndarray]]:
    """Inverse of :func:`encode`.

    Raises
    ------
    InputError
        If the bytes are damaged, of another format or not consistent.
    """
    try:
        arrays = read_archive(data)
        header = FORMAT.upgraded(json.loads(arrays.pop("header").tobytes().decode()))
        del header["format"]
        header["species"] = tuple(header["species"])
        header["form"] = Form(header["form"])
        header["learnt"] = tuple(header.get("learnt", ()))
        basis = Basis(*(arrays.pop(name) for name in ("basic", "times", "multiplicity", "scalar")))
        rest = {name: arrays.pop(name) for name in ("max_moment", "parameters", "pulay")}
        if wrong := [name for name, array in rest.items() if array.dtype != np.float64]:
            raise ValueError(f"not of double precision: {', '.join(wrong)}")
        model = MmtpModel(**header, basis=basis, **rest)
        if not np.isfinite(model.parameters).all():
            raise ValueError("a parameter is not finite")
    except DAMAGE as error:
        raise InputError(
            "not a usable mMTP model", seen=f"{len(data)} bytes: {error}", hint="the file may be damaged"
        ) from error
    return model, arrays
