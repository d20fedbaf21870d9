"""MLIP's ``.mtp`` files and their magnetic dialects (``.mmtp``), in and out.

A file holds the raw form: the bare polynomials, no symmetrisation. Radial coefficients are indexed
zeta * N_psi^2 + beta(m_i) * N_psi + gamma(m_j); one magnetic range serves all species. The magnetic block is either
``magnetic_basis_type = BChebyshev`` with min_val, max_val, basis_size, or the older min_mag, max_mag, mag_basis_size.
Species are numbers in the file; their symbols come from the caller.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from magflow.core.types import FloatArray
from magflow.errors import InputError, StoreError
from magflow.potentials.mmtp.basis import Basis
from magflow.potentials.mmtp.model import Form, MmtpModel
from magflow.potentials.mmtp.potential import MmtpPotential

_OLD = {"min_mag": "min_val", "max_mag": "max_val", "mag_basis_size": "basis_size"}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)", re.IGNORECASE)


def _numbers(text: str) -> FloatArray:
    return np.array([float(x) for x in _NUMBER.findall(text)])


class _File:
    """Keys and radial blocks of one file, with errors that name it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("the potential file cannot be read", where=str(path), seen=str(error)) from error
        if not lines or lines[0].strip() != "MTP":
            raise self.error("not an MTP file", expected="first line: MTP")
        self.keys: dict[str, str] = {}
        self.radial: dict[tuple[int, int], list[FloatArray]] = {}
        pair: tuple[int, int] | None = None
        for line in lines[1:]:
            text = line.strip()
            if "=" in text:
                key, value = (part.strip() for part in text.split("=", 1))
                self.keys[_OLD.get(key, key)] = value
                pair = None
            elif match := re.fullmatch(r"(\d+)-(\d+)", text):
                pair = (int(match[1]), int(match[2]))
                self.radial[pair] = []
            elif text.startswith("{") and pair is not None:
                self.radial[pair].append(_numbers(text))

    def error(self, message: str, **kwargs: str) -> InputError:
        return InputError(message, where=str(self.path), **kwargs)

    def values(self, key: str) -> FloatArray:
        if key not in self.keys:
            raise self.error("a key is missing", expected=key)
        numbers = _numbers(self.keys[key])
        if not np.isfinite(numbers).all():
            raise self.error("a value is not finite", seen=key)
        return numbers

    def scalar(self, key: str) -> float:
        numbers = self.values(key)
        if numbers.size != 1:
            raise self.error("not one number", seen=f"{key} = {self.keys[key]}")
        return float(numbers[0])

    def table(self, key: str) -> np.ndarray:
        numbers = self.values(key)
        if numbers.size % 4:
            raise self.error("rows of a table need four numbers", seen=key)
        return numbers.reshape(-1, 4).astype(np.int64)


def read_mtp(path: Path | str, species: Sequence[str]) -> MmtpPotential:
    """A potential from an ``.mtp`` or ``.mmtp`` file.

    Parameters
    ----------
    species
        Symbols of the file's types 0, 1, ..

    Raises
    ------
    InputError
        A file that is damaged, of another radial basis, or not for this number of species.
    """
    file = _File(Path(path))
    n = int(file.scalar("species_count"))
    if n != len(species):
        raise file.error("wrong number of species", seen=str(n), expected=f"{len(species)}: {', '.join(species)}")
    for key, known in (("radial_basis_type", "RBChebyshev"), ("magnetic_basis_type", "BChebyshev")):
        if file.keys.get(key, known) != known:
            raise file.error("unknown basis", seen=file.keys[key], expected=known)
    n_psi, largest = _magnetic_range(file)
    times = file.table("alpha_index_times")
    basis = Basis(
        file.table("alpha_index_basic").astype(np.int32),
        np.ascontiguousarray(times[:, [0, 1, 3]], dtype=np.int32),
        times[:, 2].astype(float),
        file.values("alpha_moment_mapping").astype(np.int32),
    )
    n_phi = int(file.scalar("radial_basis_size"))
    parameters = np.concatenate(
        [_radial(file, n, basis.n_mu, n_phi, n_psi), file.values("moment_coeffs"), file.values("species_coeffs")]
    )
    return MmtpPotential(
        MmtpModel(
            species=tuple(species),
            form=Form.PAPER,
            level=_level(basis),
            cutoff=file.scalar("max_dist"),
            r_min=file.scalar("min_dist"),
            n_phi=n_phi,
            n_psi=n_psi,
            symmetrise=False,
            extend=False,
            max_moment=np.full(n, largest),
            basis=basis,
            parameters=parameters,
            pulay=np.zeros(n),
        )
    )


def _magnetic_range(file: _File) -> tuple[int, float]:
    if "basis_size" not in file.keys:
        return 1, 1.0
    low, high = file.scalar("min_val"), file.scalar("max_val")
    if not (high > 0.0 and np.isclose(low, -high)):
        raise file.error("the magnetic range is not symmetric", seen=f"{low} to {high}")
    return int(file.scalar("basis_size")), high


def _level(basis: Basis) -> int:
    """Largest 2 + 4 mu + nu of a single scalar moment bounds the level from below."""
    alone = basis.basic[basis.basic[:, 1:].sum(axis=1) == 0, 0]
    return int(2 + 4 * alone.max(initial=0))


def _radial(file: _File, n: int, n_mu: int, n_phi: int, n_psi: int) -> FloatArray:
    out = np.zeros((n, n, n_mu, n_phi * n_psi**2))
    for i in range(n):
        for j in range(n):
            rows = file.radial.get((i, j), [])
            if len(rows) < n_mu or any(len(row) != n_phi * n_psi**2 for row in rows):
                raise file.error("radial coefficients are missing", seen=f"pair {i}-{j}")
            out[i, j] = rows[:n_mu]
    if not np.isfinite(out).all():
        raise file.error("a radial coefficient is not finite")
    return (file.scalar("scaling") if "scaling" in file.keys else 1.0) * out.ravel()


def write_mtp(potential: MmtpPotential, path: Path | str) -> Path:
    """Write the raw form of a potential.

    An even potential is written with the products it leaves out at zero. A symmetrised one is written raw: its
    energy in use, (E(M) + E(-M))/2, is for the reader to form.

    Raises
    ------
    InputError
        If the species have different magnetic ranges: the format holds one.
    StoreError
        If the file cannot be written.
    """
    model = potential.model
    n, n_psi = len(model.species), model.n_psi
    ranges = set(model.max_moment.tolist())
    if n_psi > 1 and len(ranges) > 1:
        raise InputError(
            "an .mtp file holds one magnetic range for all species",
            seen=dict(zip(model.species, model.max_moment.tolist(), strict=True)),
            hint="set max_moment to one value for all elements before the fit",
        )
    radial = np.zeros((n, n, model.basis.n_mu, model.n_phi, n_psi, n_psi))
    radial[..., model.pairs[:, 0], model.pairs[:, 1]] = model.parameters[: model.n_radial].reshape(
        n, n, model.basis.n_mu, model.n_phi, len(model.pairs)
    )
    linear, species = np.split(model.parameters[model.n_radial :], [model.basis.n_scalar])
    lines = ["MTP", "version = 1.1.0", "potential_name = magflow", "scaling = 1.000000000000000e+00"]
    lines += [f"species_count = {n}", "potential_tag = ", "radial_basis_type = RBChebyshev"]
    if n_psi > 1:
        top = ranges.pop()
        lines += [f"\tmin_mag = {-top:.17g}", f"\tmax_mag = {top:.17g}", f"\tmag_basis_size = {n_psi}"]
    lines += [f"\tmin_dist = {model.r_min:.17g}", f"\tmax_dist = {model.cutoff:.17g}"]
    lines += [f"\tradial_basis_size = {model.n_phi}", f"\tradial_funcs_count = {model.basis.n_mu}", "\tradial_coeffs"]
    for i in range(n):
        for j in range(n):
            lines.append(f"\t\t{i}-{j}")
            lines += [f"\t\t\t{_braced(radial[i, j, mu].ravel())}" for mu in range(model.basis.n_mu)]
    lines += _tables(model.basis)
    lines += [f"species_coeffs = {_braced(species)}", f"moment_coeffs = {_braced(linear)}"]
    try:
        Path(path).write_text("\n".join(lines) + "\n", encoding="ascii")
    except OSError as error:
        raise StoreError(f"cannot write the potential: {error.strerror}", where=str(path)) from error
    return Path(path)


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
