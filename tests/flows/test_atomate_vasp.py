"""atomate2's VASP StaticMaker in a Flow, its calculation replayed by atomate2's own mock."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import SETTINGS

import replay_vasp
from magflow.core.frame import Frame
from magflow.core.label import LabelKind
from magflow.dft.spin_lattice.model import SpinLatticeModel
from magflow.dft.vasp.generator import MagneticSetGenerator
from magflow.errors import InputError
from magflow.io.structure import to_structure
from magflow.io.task_document import read_task_document
from magflow.makers.atomate import AtomateEngine
from magflow.makers.base import Campaign
from magflow.makers.label import LabelMaker
from magflow.makers.packing import pack_frame, unpack_labelled
from magflow.stores import queries

testing = pytest.importorskip("atomate2.utils.testing.vasp")

CAMPAIGN = Campaign("c0ffee", "atomate", ["Al", "Fe"], 1)
FRAME = Frame(
    ("Fe", "Al", "Fe"),
    3.5 * np.diag([1, 1, -1]),  # left-handed, and the elements do not stand together
    [[0.02, 0, 0], [1.67, 1.64, 1.40], [0.1, 1.7, 1.8]],
    [1.5, -0.02, 1.9],
)


def generator() -> MagneticSetGenerator:
    return MagneticSetGenerator(settings={"version": "6.4.2", "kind": "spin-polarised", "kpoints": [1, 1, 1]})


def maker():
    from atomate2.vasp.jobs.core import StaticMaker

    return StaticMaker(input_set_generator=generator(), write_input_set_kwargs={"potcar_spec": True})


@pytest.fixture
def reference(tmp_path, monkeypatch):
    """A folder of inputs and outputs as atomate2's mock wants it, made by the replayed VASP."""
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(replay_vasp.write_potcars(tmp_path / "potcars")))
    folder = tmp_path / "references" / "static"
    outputs, inputs = folder / "outputs", folder / "inputs"
    generator().get_input_set(to_structure(FRAME)).write_input(outputs)
    with contextlib.chdir(outputs), (outputs / "vasp.out").open("w") as log, contextlib.redirect_stdout(log):
        assert replay_vasp.main() == 0
    (outputs / "POTCAR").unlink()
    generator().get_input_set(to_structure(FRAME), potcar_spec=True).write_input(inputs)
    (outputs / "POTCAR.spec").write_text((inputs / "POTCAR.spec").read_text())
    return folder.parent


@pytest.mark.filterwarnings("ignore")
def test_a_static_calculation_of_vasp_is_a_label_in_the_order_of_the_frame(reference, tmp_path, monkeypatch):
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    for mock in testing.monkeypatch_vasp(monkeypatch, reference):
        mock({"static": "static"}, {"static": {"incar_settings": ["GGA", "ISPIN", "MAGMOM", "ENCUT", "ISYM"]}})
        flow = LabelMaker(engine=maker(), campaign=CAMPAIGN).flow([pack_frame(FRAME)], ["test"], 0)
        run_locally(flow, store=store, ensure_success=True, log=False)
    document = queries.labels(store, arrays=True)[0]
    assert document.state == "ok", document
    label = unpack_labelled(document.arrays)[0].label
    truth = SpinLatticeModel().predict([FRAME.replace(magmoms=label.magmoms)])
    assert label.energy == pytest.approx(truth.energy[0], abs=1e-4)
    np.testing.assert_allclose(label.forces, truth.forces, atol=1e-3)  # moments have three decimals
    np.testing.assert_allclose(label.stress, truth.stress[0], atol=1e-4)
    assert label.magmoms[1, 2] == pytest.approx(np.abs(label.magmoms[:, 2]).min() * np.sign(label.magmoms[1, 2]))
    assert label.level_of_theory.kind == LabelKind.SPIN_POLARISED
    assert label.level_of_theory.fingerprint == AtomateEngine(maker()).level_of_theory(("Al", "Fe")).fingerprint


def read(task):
    engine = AtomateEngine(maker())
    return read_task_document(task, FRAME, engine.level_of_theory(["Al", "Fe"]), engine.stress_in_gpa)


def test_the_free_energy_is_preferred_to_the_extrapolated_one():
    step = {"e_fr_energy": -3.0, "e_0_energy": -2.5}
    task = {
        "output": {"energy": -2.5, "forces": np.zeros((3, 3)), "stress": None, "structure": None},
        "calcs_reversed": [{"output": {"ionic_steps": [step]}}],
    }
    assert read(task).energy == -3.0


def test_sites_in_another_order_are_not_a_label():
    task = {
        "output": {"energy": -2.5, "forces": np.zeros((3, 3)), "stress": None, "structure": to_structure(FRAME)},
    }
    assert read(task).failure.kind == "inconsistent"


def test_constrained_labels_need_an_engine():
    with pytest.raises(InputError, match="constrained"):
        AtomateEngine(maker(), kind=LabelKind.CONSTRAINED)
