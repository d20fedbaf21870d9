"""Potentials with random parameters, and random frames for them."""

from __future__ import annotations

import numpy as np

from magflow.core.frame import Frame
from magflow.potentials.mmtp.basis import enumerate_basis
from magflow.potentials.mmtp.model import Form, MmtpModel, moment_pairs
from magflow.potentials.mmtp.potential import MmtpPotential

RANGES = {"Al": 0.2, "Fe": 2.8, "Cr": 3.2}


def random_potential(
    form: Form = Form.EVEN,
    *,
    level: int = 8,
    n_psi: int = 3,
    n_phi: int = 5,
    species: tuple[str, ...] = ("Al", "Fe"),
    seed: int = 0,
) -> MmtpPotential:
    """Random parameters of a size that gives energies of a few eV."""
    rng = np.random.default_rng(seed)
    basis = enumerate_basis(level)
    n = len(species)
    radial = rng.normal(size=n * n * basis.n_mu * n_phi * len(moment_pairs(form, n_psi))) * 0.01
    linear = rng.normal(size=basis.n_scalar) * 0.3
    return MmtpPotential(
        MmtpModel(
            species=species,
            form=form,
            level=level,
            cutoff=4.5,
            r_min=1.8,
            n_phi=n_phi,
            n_psi=n_psi,
            symmetrise=form is Form.PAPER,
            extend=True,
            max_moment=np.array([RANGES[s] for s in species]),
            basis=basis,
            parameters=np.concatenate([radial, linear, rng.normal(size=n)]),
            pulay=np.zeros(n),
        )
    )


def random_frame(seed: int, species: tuple[str, ...] = ("Al", "Fe"), n: int = 4) -> Frame:
    """`n` atoms on distorted sites 2.3 A apart or more, moments inside the ranges."""
    rng = np.random.default_rng(seed)
    grid = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])[:n]
    cell = 3.9 * (np.eye(3) + rng.uniform(-0.05, 0.05, (3, 3)))
    positions = grid @ cell + rng.normal(0, 0.05, (n, 3))
    symbols = tuple(rng.choice(species, n))
    moments = rng.uniform(-0.9, 0.9, n) * np.array([RANGES[s] for s in symbols])
    return Frame(symbols, cell, positions, moments)
