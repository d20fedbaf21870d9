"""Fingerprints of levels of theory that stores are full of: a stored label is found by them, so they never change."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import replay_vasp
from magflow.core.frame import Frame
from magflow.core.label import label_id
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.dft.vasp import VaspEngine

FRAME = Frame(("Fe", "Al"), 2.884 * np.eye(3), [[0.02, 0, 0], [1.47, 1.44, 1.40]], [1.5, -0.02])

ABINIT = [
    ({}, "d8a42eee14ab2cf5", "3fa6222c9240e7cfbf8e03bf"),
    ({"kind": "non-magnetic", "kpoints": 0.25}, "8849c76873fad761", "aaa61baeca470a0f654610e7"),
    (
        {"ratsph_bohr": {"Fe": 2.3, "Al": 2.2}, "ecut_ha": 14, "shift": (0.5, 0.5, 0.5)},
        "4966244be9f71fbc",
        "07d7cca0388d1d9b90fa73bc",
    ),
]
VASP = [
    ({}, "775cd18308161e97", "a8839f627373d9d4c07db4c8"),
    (
        {"kind": "spin-polarised", "kpoints": (3, 3, 2), "smearing": "fermi-dirac"},
        "82d05fcb1c72f838",
        "d6a225c298c62b9518a69623",
    ),
    (
        {"constraint": {"method": "deltaspin"}, "rwigs_a": {"Fe": 1.1}, "incar": {"IVDW": 12}},
        "2e1d36ad3b5347c4",
        "0cfe570ba3c78954ef3ac8c5",
    ),
    (
        {"hubbard": {"Fe": {"l": 2, "u_ev": 4}}, "constraint": {"method": "penalty", "mode": 4}},
        "927b7e9a631caacf",
        "dbff8953a6f2d3fb53c66a6b",
    ),
]
MODEL = [
    ({}, "ad11d77fba586493", "e24db7bbc0778c8901df998e"),
    ({"kind": "non-magnetic"}, "0a6e54972b72df0e", "fbd0e4c9aae76367e05dab08"),
]


def found(engine) -> tuple[str, str]:
    level = engine.level_of_theory(["Al", "Fe"])
    return level.fingerprint, label_id(FRAME.frame_id, level)


@pytest.mark.parametrize(("settings", "fingerprint", "identity"), ABINIT)
def test_abinit(fake, settings, fingerprint, identity):
    assert found(fake(**settings)) == (fingerprint, identity)


def test_a_fading_basis_is_another_level(fake):
    engine = fake(ecutsm_ha=0.5)
    assert engine.level_of_theory(["Fe"]).parameters["ecutsm_ha"] == 0.5
    assert found(engine)[0] not in {fingerprint for _, fingerprint, _ in ABINIT}


@pytest.mark.parametrize(("settings", "fingerprint", "identity"), VASP)
def test_vasp(potcars, settings, fingerprint, identity):
    engine = VaspEngine(version=replay_vasp.VERSION, command=sys.executable, **settings)
    assert found(engine) == (fingerprint, identity)


@pytest.mark.parametrize(("settings", "fingerprint", "identity"), MODEL)
def test_spin_lattice(settings, fingerprint, identity):
    assert found(SpinLatticeEngine(**settings)) == (fingerprint, identity)
