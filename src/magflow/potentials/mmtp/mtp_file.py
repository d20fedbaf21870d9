"""MLIP's ``.mtp`` files and their magnetic dialects (``.mmtp``), in and out.

A file holds the raw form: the bare polynomials, no symmetrisation. Radial coefficients are indexed
zeta * N_psi^2 + beta(m_i) * N_psi + gamma(m_j); one magnetic range serves all species (:class:`Dialect` spells it).
Species are numbers in the file; their symbols come from the caller. MLIP's active set may follow the text
(:mod:`magflow.potentials.mmtp.selection_state`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

from magflow.core.files import replace_file
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.io.records import located
from magflow.potentials.mmtp.basis import Basis
from magflow.potentials.mmtp.grade import ParameterActiveSet
from magflow.potentials.mmtp.model import Form, MmtpModel
from magflow.potentials.mmtp.mtp_text import MtpText
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.ranges import on_ranges
from magflow.potentials.mmtp.selection_state import START, read_selection_state, selection_state

MAX_RANK = 20
"""Largest rank of a moment; level 20 has 18."""


class Dialect(StrEnum):
    """How a file spells the magnetic range. Both are read; motep reads both too."""

    MAG = "mag"
    """``min_mag``, ``max_mag``, ``mag_basis_size``: the older one."""
    BASIS = "basis"
    """``magnetic_basis_type = BChebyshev`` with ``min_val``, ``max_val``, ``basis_size``: MLIP-3."""


def read_mtp(path: Path | str, species: Sequence[str]) -> MmtpPotential:
    """A potential from an ``.mtp`` or ``.mmtp`` file, with the active set MLIP left in it, if it did.

    Parameters
    ----------
    species
        Symbols of the file's types 0, 1, ..

    Raises
    ------
    InputError
        A file that is damaged, of another radial basis, or not for this number of species.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError("the potential file cannot be read", where=str(path), seen=error.strerror) from error
    text, mark, rest = data.partition(START)
    try:
        file = MtpText.parse(str(path), text.decode("ascii"))
    except UnicodeDecodeError as error:
        raise InputError(
            "the potential file is not text", where=str(path), seen=f"byte {data[error.start]:#x} at {error.start}"
        ) from error
    model = _model(file, species)
    if not mark:
        return MmtpPotential(model)
    with located(f"{path}: from byte {len(text)}"):
        return MmtpPotential(model, read_selection_state(mark + rest, model, _scaling(file)))


def _model(file: MtpText, species: Sequence[str]) -> MmtpModel:
    n = file.count("species_count")
    if n != len(species):
        seen, expected = str(n), f"{len(species)}: {', '.join(species)}"
        raise file.bad("species_count", "wrong number of species", seen=seen, expected=expected)
    for key, known in (("radial_basis_type", "RBChebyshev"), ("magnetic_basis_type", "BChebyshev")):
        if file.word(key, known) != known:
            raise file.bad(key, "unknown basis", seen=file.word(key, known), expected=known)
    basis = _basis(file)
    n_phi, (n_psi, largest) = file.count("radial_basis_size"), _magnetic_range(file)
    low, high = file.scalar("min_dist"), file.scalar("max_dist")
    if not 0.0 <= low < high:
        raise file.bad("max_dist", "the distances are out of order", seen=f"min_dist {low}, max_dist {high}")
    linear, energies = file.values("moment_coeffs"), file.values("species_coeffs")
    for key, values, length in (("moment_coeffs", linear, basis.n_scalar), ("species_coeffs", energies, n)):
        if len(values) != length:
            raise file.bad(key, "wrong number of coefficients", seen=f"{len(values)} {key}", expected=str(length))
    radial = _radial(file, n, basis.n_mu, n_phi * n_psi**2)
    with located(file.name):
        return MmtpModel(
            species=tuple(species),
            form=Form.PAPER,
            level=_level(basis),
            cutoff=high,
            r_min=low,
            n_phi=n_phi,
            n_psi=n_psi,
            symmetrise=False,
            extend=False,
            max_moment=np.full(n, largest),
            basis=basis,
            parameters=np.concatenate([radial, linear, energies]),
            pulay=np.zeros(n),
        )


def _basis(file: MtpText) -> Basis:
    """The index tables, checked as far as sizes go; the kernel checks the order of the products."""
    basic = file.table("alpha_index_basic", "alpha_index_basic_count")
    times = file.table("alpha_index_times", "alpha_index_times_count")
    mapping = file.integers("alpha_moment_mapping")
    moments, functions = file.count("alpha_moments_count"), file.count("radial_funcs_count")
    if not len(basic) or basic[:, 0].max() >= functions or basic[:, 1:].sum(axis=1).max() > MAX_RANK:
        raise file.bad(
            "alpha_index_basic",
            "a basic moment is out of range",
            expected=f"mu below radial_funcs_count = {functions}, powers up to {MAX_RANK} in all",
        )
    if len(mapping) != file.count("alpha_scalar_moments"):
        raise file.bad(
            "alpha_moment_mapping",
            "wrong number of scalar moments",
            seen=str(len(mapping)),
            expected=f"alpha_scalar_moments = {file.keys['alpha_scalar_moments'][0]}",
        )
    highest = max(len(basic) - 1, times[:, [0, 1, 3]].max(initial=0), mapping.max())
    if highest >= moments or moments > len(basic) + len(times):
        raise file.bad("alpha_moments_count", "a moment is out of range", seen=f"{highest} of {moments}")
    return Basis(
        basic.astype(np.int32),
        np.ascontiguousarray(times[:, [0, 1, 3]], dtype=np.int32),
        times[:, 2].astype(float),
        mapping.astype(np.int32),
    )


def _magnetic_range(file: MtpText) -> tuple[int, float]:
    """N_psi and the largest moment, muB; a non-magnetic file has no range."""
    keys = ("min_mag", "max_mag", "mag_basis_size")
    if not any(key in file.keys for key in (*keys, "magnetic_basis_type")):
        return 1, 1.0
    low, high, n_psi = file.scalar(keys[0]), file.scalar(keys[1]), file.count(keys[2])
    if not (high > 0.0 and np.isclose(low, -high)):
        raise file.bad("max_mag", "the magnetic range is not symmetric", seen=f"{low} to {high}")
    return n_psi, high


def _level(basis: Basis) -> int:
    """Largest 2 + 4 mu + nu of a single scalar moment bounds the level from below."""
    alone = basis.basic[basis.basic[:, 1:].sum(axis=1) == 0, 0]
    return int(2 + 4 * alone.max(initial=0))


def _scaling(file: MtpText) -> float:
    return file.scalar("scaling") if "scaling" in file.keys else 1.0


def _radial(file: MtpText, n: int, n_mu: int, width: int) -> FloatArray:
    functions = file.count("radial_funcs_count")
    expected = {(i, j) for i in range(n) for j in range(n)}
    if set(file.radial) != expected:
        raise file.error(
            "radial coefficients of a pair are missing or in excess",
            seen=", ".join(f"{i}-{j}" for i, j in sorted(set(file.radial) ^ expected)),
        )
    rows = []
    for (i, j), block in sorted(file.radial.items()):
        if len(block) != functions or any(len(row) != width for row in block):
            raise file.error(
                "wrong number of radial coefficients",
                seen=f"pair {i}-{j}: {', '.join(str(len(row)) for row in block)}",
                expected=f"{functions} rows of {width}",
            )
        rows += block[:n_mu]
    return _scaling(file) * np.concatenate(rows)


def write_mtp(potential: MmtpPotential, path: Path | str, *, dialect: Dialect = Dialect.MAG) -> Path:
    """Write the raw form of a potential.

    An even potential is written with the products it leaves out at zero. A symmetrised one is written raw: its
    energy in use, (E(M) + E(-M))/2, is for the reader to form. The format holds one magnetic range: where species
    differ, all are written in the polynomials of the widest, which changes no energy inside their own.

    An active set in all parameters follows as MLIP's selection state (binary: readers of text alone, motep among them,
    refuse it) if the file's form is the one it grades: all products, not symmetrised, one range. Other active sets have
    no place in the format.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    model = on_ranges(
        potential.model, potential.r_min, np.full_like(potential.model.max_moment, potential.model.max_moment.max())
    )
    data = "\n".join([*_head(model, dialect), *_radial_lines(model), *_tables(model.basis), *_linear_lines(model), ""])
    block = b""
    graded = model.form is Form.PAPER and not model.symmetrise and np.ptp(potential.model.max_moment) == 0.0
    if isinstance(potential.active, ParameterActiveSet) and graded:
        block = b"\n" + selection_state(potential.active, model)
    replace_file(Path(path), data.encode("ascii") + block)
    return Path(path)


def _head(model: MmtpModel, dialect: Dialect) -> list[str]:
    lines = ["MTP", "version = 1.1.0", "potential_name = magflow", "scaling = 1.000000000000000e+00"]
    lines += [f"species_count = {len(model.species)}", "potential_tag = ", "radial_basis_type = RBChebyshev"]
    lines += [f"\tmin_dist = {model.r_min:.17g}", f"\tmax_dist = {model.cutoff:.17g}"]
    lines += [f"\tradial_basis_size = {model.n_phi}"]
    if model.magnetic:
        lines += _magnetic_lines(float(model.max_moment[0]), model.n_psi, dialect)
    return [*lines, f"\tradial_funcs_count = {model.basis.n_mu}", "\tradial_coeffs"]


def _radial_lines(model: MmtpModel) -> list[str]:
    n, n_mu, n_psi = len(model.species), model.basis.n_mu, model.n_psi
    radial = np.zeros((n, n, n_mu, model.n_phi, n_psi, n_psi))
    radial[..., model.pairs[:, 0], model.pairs[:, 1]] = model.parameters[: model.n_radial].reshape(
        n, n, n_mu, model.n_phi, len(model.pairs)
    )
    lines = []
    for i in range(n):
        for j in range(n):
            lines.append(f"\t\t{i}-{j}")
            lines += [f"\t\t\t{_braced(radial[i, j, mu].ravel())}" for mu in range(n_mu)]
    return lines


def _linear_lines(model: MmtpModel) -> list[str]:
    linear, species = np.split(model.parameters[model.n_radial :], [model.basis.n_scalar])
    return [f"species_coeffs = {_braced(species)}", f"moment_coeffs = {_braced(linear)}"]


def _magnetic_lines(top: float, n_psi: int, dialect: Dialect) -> list[str]:
    head, low, high, size = {
        Dialect.MAG: ([], "min_mag", "max_mag", "mag_basis_size"),
        Dialect.BASIS: (["magnetic_basis_type = BChebyshev"], "min_val", "max_val", "basis_size"),
    }[dialect]
    return [*head, f"\t{low} = {-top:.17g}", f"\t{high} = {top:.17g}", f"\t{size} = {n_psi}"]


def _tables(basis: Basis) -> list[str]:
    times = np.column_stack([basis.times[:, :2], basis.multiplicity.astype(np.int64), basis.times[:, 2]])
    moments = max(len(basis.basic), int(basis.times[:, 2].max(initial=-1)) + 1)

    def table(rows: np.ndarray) -> str:
        return "{" + ", ".join("{" + ", ".join(str(int(x)) for x in row) + "}" for row in rows) + "}"

    return [
        f"alpha_moments_count = {moments}",
        f"alpha_index_basic_count = {len(basis.basic)}",
        f"alpha_index_basic = {table(basis.basic)}",
        f"alpha_index_times_count = {len(times)}",
        f"alpha_index_times = {table(times)}",
        f"alpha_scalar_moments = {basis.n_scalar}",
        "alpha_moment_mapping = {" + ", ".join(str(int(k)) for k in basis.scalar) + "}",
    ]


def _braced(values: FloatArray) -> str:
    return "{" + ", ".join(f"{x:.15e}" for x in values) + "}"
