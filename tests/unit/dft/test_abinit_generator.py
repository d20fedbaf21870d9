"""The engine's input as a pymatgen input set."""

from __future__ import annotations

import json

import pytest
from monty.json import MontyDecoder, MontyEncoder

from magflow.core.frame import Frame
from magflow.dft.abinit.datasets import datasets_of
from magflow.dft.abinit.generator import CdftSetGenerator
from magflow.dft.abinit.inputs import input_text
from magflow.dft.abinit.settings import AbinitSettings
from magflow.errors import InputError, MissingToolError
from magflow.io.structure import to_structure
from magflow.settings import load_settings


def test_writes_what_the_engine_runs(datasets, feal, tmp_path):
    generator = CdftSetGenerator({"kpoints": [2, 2, 2], "nstep": 40})
    generator.get_input_set(to_structure(feal)).write_input(tmp_path / "run")
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"run.abi", "Fe.xml", "Al.xml"}
    settings = AbinitSettings(kpoints=(2, 2, 2), nstep=40)
    found = datasets_of(settings, feal.species, load_settings())
    expected = input_text(settings, feal, found, {"nstep": 40, "magcon_lambda": 0.2})
    assert (tmp_path / "run" / "run.abi").read_text().split() == expected.split()
    assert "<paw_setup" in (tmp_path / "run" / "Fe.xml").read_text()


def test_goes_through_json():
    generator = CdftSetGenerator({"kpoints": [2, 2, 2]})
    assert json.loads(json.dumps(generator, cls=MontyEncoder), cls=MontyDecoder) == generator


def test_bad_settings_moments_and_datasets(datasets, feal):
    with pytest.raises(InputError, match="ecut"):
        CdftSetGenerator({"ecut": 10}).get_input_set(to_structure(feal))
    bare = Frame(feal.species, feal.cell, feal.positions)
    with pytest.raises(InputError, match="needs moments"):
        CdftSetGenerator().get_input_set(to_structure(bare))
    assert "nsppol 1" in CdftSetGenerator({"kind": "non-magnetic"}).get_input_set(to_structure(bare))["run.abi"]
    nickel = Frame(("Ni",), feal.cell, [[0, 0, 0]], [0.6])
    with pytest.raises(MissingToolError, match="Ni"):
        CdftSetGenerator().get_input_set(to_structure(nickel))
