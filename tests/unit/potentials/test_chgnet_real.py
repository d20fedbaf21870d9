"""The real chgnet: its own numbers, second derivatives, what it learns, killed and gone on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.hessian import hessian
from magflow.errors import InputError
from magflow.potentials.chgnet import ChgnetFamily, ChgnetPotential
from magflow.potentials.chgnet.program import CHGNET
from magflow.potentials.outside.curve import read_curve
from magflow.potentials.outside.process import LAUNCH
from magflow.testing.springs import ELEMENTS, spring_constants, springs, two_atoms, without_moments

pytestmark = [pytest.mark.chgnet, pytest.mark.slow, pytest.mark.usefixtures("chgnet")]

LABELS = without_moments([springs(frame) for frame in two_atoms(8, seed=0)])
TUNE = {"turns": 6, "crystals": 1, "label_steps": 1, "learning_rate": (1e-3, 1e-5), "average": 0.9}
FAMILY = ChgnetFamily(finetuning=TUNE)
CONSTANTS = spring_constants(magnetic=False)


def published(**settings) -> ChgnetPotential:
    family = ChgnetFamily(finetuning={"turns": 0}, **settings)
    return family.fit(LABELS, elements=ELEMENTS, seed=1)[0]


@pytest.fixture(scope="module")
def start(chgnet) -> ChgnetPotential:
    return published()


def skewed() -> Frame:
    """Four atoms in a cell without symmetry."""
    rng = np.random.default_rng(3)
    cell = 3.1 * np.array([[2.0, 0.1, 0.0], [0.2, 1.0, 0.3], [0.0, -0.2, 1.0]])
    positions = np.array([[0.0, 0, 0], [3.1, 0, 0], [1.5, 1.6, 1.5], [4.6, 1.4, 1.7]]) + rng.normal(0, 0.1, (4, 3))
    return Frame(tuple(ELEMENTS) * 2, cell, positions)


OWN = """
import json, sys
import numpy as np
from chgnet.model import CHGNet
from pymatgen.core import Lattice, Structure
given = json.loads(sys.argv[1])
structure = Structure(Lattice(given["cell"]), given["species"], given["positions"], coords_are_cartesian=True)
model = CHGNet.load(model_name=given["name"], use_device="cpu", verbose=False)
said = model.predict_structure(structure, task="efs")
print(json.dumps([float(said["e"]) * len(structure), said["f"].tolist(), (said["s"] / 160.21766208).tolist()]))
"""


@pytest.mark.parametrize("name", ["0.3.0", "0.2.0", "r2scan"])
def test_a_published_network_says_what_chgnet_makes_it_say(chgnet, name):
    frame = skewed()
    found = published(pretrained=name, start_bias="keep", precision="float32").predict([frame])
    given = {
        "name": name,
        "species": frame.species,
        "cell": frame.cell.tolist(),
        "positions": frame.positions.tolist(),
    }
    done = subprocess.run([CHGNET.python, "-c", OWN, json.dumps(given)], capture_output=True, text=True, check=True)
    energy, forces, stress = json.loads(done.stdout.splitlines()[-1])
    assert found.energy[0] == pytest.approx(energy, abs=1e-4)
    np.testing.assert_allclose(found.forces, forces, atol=2e-5)
    matrix = 0.5 * (np.array(stress) + np.array(stress).T)
    np.testing.assert_allclose(found.stress[0], matrix.flat[[0, 4, 8, 5, 2, 1]], atol=2e-6)


def test_product_is_the_derivative_of_the_forces(start):
    frame, step = skewed(), 3e-5  # far below the rounding of a cusp near 180 degrees
    along = np.random.default_rng(7).normal(size=(2, 4, 4))
    products = start.hessian_vector_product(frame, along)
    for vector, product in zip(along[..., :3], products, strict=True):

        def slope(h: float, v=vector) -> np.ndarray:
            return -start.predict([frame.replace(positions=frame.positions + h * v)]).forces

        terms = ((1, 45.0), (2, -9.0), (3, 1.0))
        expected = sum(w * (slope(k * step) - slope(-k * step)) for k, w in terms) / (60 * step)
        np.testing.assert_allclose(product[:, :3], expected, rtol=0, atol=1e-9 + 1e-6 * np.abs(expected).max())
        assert not product[:, 3].any()


def test_hessian_is_symmetric_with_sum_rule(start):
    found = hessian(start, skewed()).array
    rounding = 1e-11 * np.abs(found).max()
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(found, found.transpose(2, 3, 0, 1), atol=rounding)
    np.testing.assert_allclose(found[..., :3].sum(axis=2), 0.0, atol=10 * rounding)


def test_three_atoms_in_a_line_make_a_hessian_that_is_no_force_constant():
    """Rock salt: within hundredths of an Angstrom of its place Mg is held less, or not at all."""
    cell = 2.125 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    frame = Frame(("Mg", "O"), cell, np.array([[0.0, 0, 0], [2.125, 2.125, 2.125]]))
    oxide = ChgnetFamily(finetuning={"turns": 0}, elements=("Mg", "O"), start_bias="keep")
    mine = oxide.fit(LABELS, elements=ELEMENTS, seed=1)[0]
    unit = np.zeros((1, 2, 4))
    unit[0, 0, 0] = 1.0
    exact, over = mine.hessian_vector_product(frame, unit)[0, 0, 0], mine.columns(frame, unit)[0, 0, 0]
    assert over - exact > 1.0


def test_force_constants_are_learnt(start):
    told: list[str] = []
    family = ChgnetFamily(finetuning={**TUNE, "turns": 15, "label_steps": 0, "learning_rate": (3e-3, 1e-4)})
    options = {"elements": ELEMENTS, "seed": 3, "start": start, "force_constants": [CONSTANTS]}
    tuned, report = family.fit(LABELS, **options, progress=lambda f, text: told.append(text))

    def off(potential: ChgnetPotential) -> float:
        found = potential.columns(CONSTANTS.frame, CONSTANTS.directions)
        return float(np.sqrt(np.mean((found - CONSTANTS.columns) ** 2)))

    assert off(tuned) < 0.6 * off(start)
    assert report.details["force_constants"] == {"rows": 36, "rmse": pytest.approx(off(tuned))}
    assert report.iterations == 15 == len(report.history) and "force constants" in told[-2]
    assert tuned.definition == start.definition
    reference = "composition_model.fc.weight"
    np.testing.assert_array_equal(tuned.parameters[reference], start.parameters[reference])


def test_what_elements_are_can_be_left_alone(start):
    shared = tuned(start, family=ChgnetFamily(finetuning={**TUNE, "turns": 1, "learn_elements": False}))
    own = tuned(start, family=ChgnetFamily(finetuning={**TUNE, "turns": 1}))
    embedding = "atom_embedding.embedding.weight"
    np.testing.assert_array_equal(shared.parameters[embedding], start.parameters[embedding])
    changed = (own.parameters[embedding] != start.parameters[embedding]).any(axis=1)
    assert set(np.flatnonzero(changed)) >= {12, 25}  # aluminium and iron
    assert not np.array_equal(shared.parameters["bond_embedding.weight"], start.parameters["bond_embedding.weight"])


GRADIENT = """
import json, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:]
import numpy as np, torch
from finetune import tuning
tuning = tuning(Path("finetune.json"))
torch.manual_seed(0)

chosen, vectors, columns = tuning.columns.drawn(1, np.random.default_rng(0))
weights = torch.randn_like(columns)

def loss():
    # what symmetry makes zero is zero but for rounding: an absolute value has no derivative there
    products, forces = tuning.learner.of_crystals(chosen, vectors)
    errors = tuning.label_errors(np.random.default_rng(1))
    of_labels = sum(tuning.said["weights"][name] * error for name, error in errors.items())
    return of_labels + 100.0 * (weights * (products - columns)).sum() + 20.0 * (weights * forces).sum()

worst, n = 0.0, 0
value = loss()
value.backward()
for p in [p for p in tuning.parameters.values() if p.grad is not None][::12]:
    along = torch.randn_like(p)
    slope = float((p.grad * along).sum())
    sides = []
    for side in (1.0, -1.0):
        with torch.no_grad():
            p += side * 1e-7 * along
        sides.append(float(loss()))
        with torch.no_grad():
            p -= side * 1e-7 * along
    worst, n = max(worst, abs((sides[0] - sides[1]) / 2e-7 - slope) / max(abs(slope), 1.0)), n + 1
print(json.dumps([worst, n]))
"""


def test_the_gradient_of_the_loss_is_that_of_differences(start, tmp_path):
    family = ChgnetFamily(finetuning={**TUNE, "turns": 1})
    family.fit(LABELS, elements=ELEMENTS, seed=3, start=start, force_constants=[CONSTANTS], workdir=tmp_path)
    (directory,) = tmp_path.glob("training-*")
    (directory / "checkpoint.npz").unlink()
    arguments = [str(CHGNET.backend.parent), str(LAUNCH.with_name("runtime"))]
    done = subprocess.run(
        [CHGNET.python, "-c", GRADIENT, *arguments], cwd=directory, capture_output=True, text=True, check=True
    )
    worst, parameters = json.loads(done.stdout.splitlines()[-1])
    assert worst < 1e-4 and parameters > 5


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_chgnet_real as t
start = t.FAMILY.load(Path(sys.argv[2]).read_bytes())
t.tuned(start, Path(sys.argv[3]))
"""


def tuned(start: ChgnetPotential, workdir: Path | None = None, family: ChgnetFamily = FAMILY) -> ChgnetPotential:
    given = {"elements": ELEMENTS, "seed": 3, "start": start, "workdir": workdir}
    return family.fit(LABELS, force_constants=[CONSTANTS], **given)[0]


def test_kill_9_and_go_on_to_the_same_numbers(start, tmp_path):
    (tmp_path / "start.bin").write_bytes(start.to_bytes())
    arguments = [str(Path(__file__).parent), str(tmp_path / "start.bin"), str(tmp_path / "fit")]
    with subprocess.Popen([sys.executable, "-c", KILLED, *arguments]) as process:
        deadline = time.monotonic() + 900
        while not (found := list(tmp_path.glob("fit/training-*/checkpoint.npz"))):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    time.sleep(2.0)
    reached = read_curve(found[0].parent, "turn").step
    time.sleep(2.0)
    assert 0 < read_curve(found[0].parent, "turn").step == reached < 6  # the training died with magflow
    assert tuned(start, tmp_path / "fit").to_bytes() == tuned(start).to_bytes()
    with pytest.raises(InputError, match="another training"):
        tuned(start, tmp_path / "fit", FAMILY.weighing(50.0))


def test_a_loss_that_is_not_finite_says_so(start, tmp_path):
    huge = ChgnetFamily(finetuning={**TUNE, "learning_rate": (1e250, 1e250)})
    with pytest.raises(InputError, match=r"diverged.*learning_rate"):
        tuned(start, tmp_path, huge)


def test_an_atom_that_sees_nobody_is_refused(start):
    frame = Frame(("Fe",), 20.0 * np.eye(3), np.zeros((1, 3)))
    with pytest.raises(InputError, match="isolated atom"):
        start.predict([frame])
