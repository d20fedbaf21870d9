r"""MLIP's selection state, the block it appends to an ``.mtp`` file: the active set and how it was made.

Text, binary and text (as MLIP-2 and MLIP-3 write it)::

    #MVS_v1.1
    energy_weight 0.0
    force_weight 0.0
    stress_weight 0.0
    site_en_weight 1.0
    weight_scaling 0
    #<A: n x n doubles><invA: n x n doubles>
    #
    <n lines: configuration and equation each row of A came from; -1 -1: none>
    #
    <those configurations>

n counts radial, then species, then linear coefficients. The rows of invA are the columns of the inverse of A, so
grades are max \|invA b\|. ``site_en_weight`` set means rows of atoms (b = dE_i/d(coefficient)); ``energy_weight`` set
means rows of frames, multiplied by it and divided by N^(weight_scaling / 2). Doubles are little-endian.
"""

from __future__ import annotations

import math
import re

import numpy as np

from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.potentials.mmtp.grade import ParameterActiveSet
from magflow.potentials.mmtp.model import MmtpModel
from magflow.potentials.mmtp.scope import Scope

START = b"#MVS_v1.1"
_WEIGHTS = ("energy_weight", "force_weight", "stress_weight", "site_en_weight", "weight_scaling")
_END = b"\n#\n"
_CONSISTENT = 1e-2
"""Largest entry of A invA - 1 that is still rounding: MLIP updates invA swap by swap."""


def read_selection_state(block: bytes, model: MmtpModel, scaling: float) -> ParameterActiveSet:
    """The active set in `block`, the part of a file from :data:`START` on.

    Parameters
    ----------
    scaling
        The file's radial coefficients times this are the model's.

    Raises
    ------
    InputError
        A damaged block, one of another potential, or weights that mix equations (force and stress rows).
    """
    weights, at = _weights(block)
    scope, factor = _scope(weights)
    n = model.spec.n_parameters
    end = at + 16 * n * n
    if block[end : end + len(_END)] != _END:
        raise InputError(
            "the selection state does not fit the potential, or is damaged",
            seen=f"{len(block) - at} bytes of it",
            expected=f"two matrices of {n} x {n} doubles ({end - at} bytes) and a line with #",
        )
    links = re.match(rb"(?:-?\d+ -?\d+\r?\n){%d}#" % n, block[end + len(_END) :])
    if links is None:
        raise InputError("the selection state has no table of its rows", expected=f"{n} lines of two integers and #")
    rows, inverse = np.frombuffer(block, dtype="<f8", count=2 * n * n, offset=at).reshape(2, n, n)
    # Bytes of a damaged file can be anything: NaN compares false, and overflow is part of the test.
    with np.errstate(all="ignore"):
        sound = np.isfinite(rows).all() and np.isfinite(inverse).all()
        if not (sound and np.abs(rows @ inverse.T - np.eye(n)).max() < _CONSISTENT):
            raise InputError("the matrices of the selection state are not inverse to each other: it is damaged")
    order = _order(model)
    mine = np.empty((n, n))
    mine[order] = inverse.T * (_units(model, scaling)[order] * factor)[:, None]
    return ParameterActiveSet(scope, mine, int(weights["weight_scaling"]) if scope is Scope.FRAMES else 0)


def selection_state(active: ParameterActiveSet, model: MmtpModel) -> bytes:
    """The block for a file whose ``scaling`` is 1. Where the rows came from is not told."""
    order, n = _order(model), int(model.spec.n_parameters)
    inverse = active.inverse[order].T
    # A is huge along what few rows reach and tiny along virtual ones: equilibrate before inverting.
    size = np.abs(inverse).max(axis=1)
    rows = np.linalg.inv(inverse / size[:, None]).T / size[:, None]
    frames = active.scope is Scope.FRAMES
    values = (float(frames), 0.0, 0.0, float(not frames), active.size_power)
    text = "".join(f"{name} {value!r}\n" for name, value in zip(_WEIGHTS, values, strict=True))
    matrices: bytes = rows.astype("<f8").tobytes() + inverse.astype("<f8").tobytes()
    return START + b"\n" + text.encode() + b"#" + matrices + _END + b"-1 -1\n" * n + b"#\n"


def _weights(block: bytes) -> tuple[dict[str, float], int]:
    """The weights, and where the matrices begin."""
    lines = rb"".join(rb"\s+" + name.encode() + rb"\s+(\S{1,40})" for name in _WEIGHTS)
    match = re.match(re.escape(START) + lines + rb"\s*#", block)
    if match is None:
        raise InputError(
            "the selection state begins wrong",
            seen=block[:200].split(b"\n#", 1)[0].decode("ascii", "replace"),
            expected=", ".join(_WEIGHTS),
        )
    try:
        weights = {name: float(word) for name, word in zip(_WEIGHTS, match.groups(), strict=True)}
    except ValueError as error:
        raise InputError("a weight of the selection state is not a number", seen=str(error)) from error
    return weights, match.end()


def _scope(weights: dict[str, float]) -> tuple[Scope, float]:
    """What the rows are, and their factor. MLIP does not multiply the rows of sites by their weight."""
    energy, force, stress, site, power = weights.values()
    alone = force == stress == 0.0 and (energy == 0.0) != (site == 0.0)
    if not (alone and math.isfinite(energy + site) and power in (0.0, 1.0, 2.0)):
        raise InputError(
            "the selection state mixes rows of energies, forces and stresses, which is not supported",
            seen=weights,
            expected="energy_weight or site_en_weight alone, weight_scaling 0, 1 or 2",
            hint="cut the file at the line #MVS_v1.1 to read the potential without grades",
        )
    return (Scope.SITES, 1.0) if energy == 0.0 else (Scope.FRAMES, energy)


def _order(model: MmtpModel) -> np.ndarray:
    """(P,) our index of each of MLIP's coefficients: radial, species, linear."""
    radial, linear, species = np.split(
        np.arange(model.spec.n_parameters), [model.n_radial, model.n_radial + model.basis.n_scalar]
    )
    return np.concatenate([radial, species, linear])


def _units(model: MmtpModel, scaling: float) -> FloatArray:
    """(P,) d(our parameter)/d(MLIP's)."""
    return np.where(np.arange(model.spec.n_parameters) < model.n_radial, scaling, 1.0)
