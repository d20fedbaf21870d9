"""Engines are values: equal settings are equal engines, as keys and after a journey as the payload of a job."""

from __future__ import annotations

import json

import pytest
from monty.json import MontyDecoder, MontyEncoder

from magflow.core.label import LabelKind
from magflow.dft.abinit import AbinitEngine
from magflow.dft.spin_lattice import SpinLatticeEngine
from magflow.dft.vasp import VaspEngine
from magflow.makers.base import Campaign
from magflow.makers.label import LabelMaker

ENGINES = [
    AbinitEngine(ratsph_bohr={"Fe": 2.2, "Al": 2.3}, datasets={"Fe": "/data/Fe.xml"}, kpoints=0.2),
    VaspEngine(version="6.4.2", hubbard={"Fe": {"l": 2, "u_ev": 4}}, incar={"IVDW": 12}, rwigs_a={"Fe": 1.1}),
    SpinLatticeEngine(kind="non-magnetic"),
]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name)
def test_equal_engines_are_one_key(engine):
    same = type(engine)(**engine.model_dump())
    other = engine.model_copy(update={"kind": LabelKind.SPIN_POLARISED})
    assert {engine: 1, same: 2} == {engine: 2}
    assert other not in {engine}


def test_the_order_of_a_mapping_does_not_matter():
    one, two = (AbinitEngine(ratsph_bohr=radii) for radii in ({"Fe": 2.2, "Al": 2.3}, {"Al": 2.3, "Fe": 2.2}))
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name)
def test_a_maker_brings_its_engine_back(engine):
    maker = LabelMaker(engine=engine, campaign=Campaign(id="0" * 24, name="c", elements=["Al", "Fe"], seed=0))
    written = json.dumps(maker, cls=MontyEncoder)
    assert f'"@class": "{type(engine).__name__}"' in written
    assert json.loads(written, cls=MontyDecoder).engine == engine


@pytest.mark.parametrize(
    ("module", "name", "settings"),
    [
        ("magflow.dft.abinit.engine", "AbinitEngine", {"kind": "constrained", "ecut_ha": 12.0, "cores": 2}),
        ("magflow.dft.vasp.engine", "VaspEngine", {"version": "6.4.2", "keep_files": True}),
        ("magflow.dft.spin_lattice.engine", "SpinLatticeEngine", {"seconds": 0.5}),
    ],
)
def test_payloads_of_the_first_release_are_read(module, name, settings):
    engine = MontyDecoder().process_decoded({"@module": module, "@class": name, **settings})
    assert type(engine).__name__ == name
    assert engine.model_dump(include=set(settings), mode="json") == settings
