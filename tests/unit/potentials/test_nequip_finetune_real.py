"""Fine-tuning by the real nequip: the gradient of its loss, what it learns and keeps, killed and gone on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from magflow.core.label import LabeledFrame
from magflow.errors import InputError
from magflow.potentials.nequip import NequipPotential, NequipSpinFamily
from magflow.potentials.nequip.program import NEQUIP
from magflow.potentials.outside.curve import read_curve
from magflow.potentials.outside.process import LAUNCH
from magflow.testing.springs import ELEMENTS, spring_constants, springs, two_atoms

pytestmark = [pytest.mark.nequip, pytest.mark.slow, pytest.mark.usefixtures("nequip")]

NET = {"cutoff": 3.5, "layers": 1, "features": 8, "radial_neurons": 16, "radial_functions": 6}
LEARN = {"epochs": 40, "batch_frames": 4, "learning_rate": (2e-2, 1e-4)}
TUNE = {"turns": 60, "learning_rate": (3e-3, 1e-5), "average": 0.95}
FAMILY = NequipSpinFamily(**NET, **LEARN, finetuning=TUNE)
CONSTANTS = spring_constants(magnetic=True)


def labels(n: int, seed: int = 0) -> list[LabeledFrame]:
    return [springs(frame) for frame in two_atoms(n, seed=seed)]


def tuned(start: NequipPotential, workdir: Path | None = None, family: NequipSpinFamily = FAMILY, **options):
    given = {"elements": ELEMENTS, "seed": 3, "start": start, "workdir": workdir, **options}
    return family.fit(labels(24), force_constants=[CONSTANTS], **given)


@pytest.fixture(scope="module")
def start(nequip) -> NequipPotential:
    return FAMILY.fit(labels(24), elements=ELEMENTS, seed=1)[0]


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """The tuned potential, the report, and what progress told."""
    told: list[tuple[float, str]] = []
    potential, report = tuned(start, progress=lambda f, text: told.append((f, text)))
    return potential, report, told


def off(potential: NequipPotential) -> float:
    columns = potential.hessian_vector_product(CONSTANTS.frame, CONSTANTS.directions)[..., :3]
    return float(np.sqrt(np.mean((columns - CONSTANTS.columns) ** 2)))


def error(potential: NequipPotential, name: str) -> float:
    items = labels(20, seed=1)
    found = getattr(potential.predict([i.configuration for i in items]), name)
    return float(np.sqrt(np.mean((found - np.concatenate([getattr(i.label, name) for i in items])) ** 2)))


def test_force_constants_are_learnt_and_labels_not_forgotten(start, whole):
    potential, report, told = whole
    assert off(potential) < 0.3 * off(start)
    assert report.details["force_constants"] == {"rows": 36, "rmse": pytest.approx(off(potential))}
    for name in ("forces", "magnetic_forces"):
        assert error(potential, name) < 1.1 * error(start, name)
    objective = [row["objective"] for row in report.history]
    assert len(objective) == 60 == report.iterations and np.mean(objective[-10:]) < 0.8 * np.mean(objective[:10])
    assert "turn 60: force constants" in told[-2][1] and told[-1][0] == 1.0
    assert report.cost.cpu_seconds > 1.0 and potential.definition == start.definition


GRADIENT = """
import json, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:]
import numpy as np, torch
from finetune import tuning
tuning = tuning(Path("finetune.json"))
torch.manual_seed(0)

def loss():
    errors = tuning.crystal_errors(np.random.default_rng(0)) | tuning.label_errors(np.random.default_rng(1))
    return sum(tuning.said["weights"][name] * error for name, error in errors.items())

worst, n = 0.0, 0
value = loss()
value.backward()
for p in tuning.parameters.values():
    along = torch.randn_like(p)
    slope = float((p.grad * along).sum())
    sides = []
    for side in (1.0, -1.0):
        with torch.no_grad():
            p += side * 1e-6 * along
        sides.append(float(loss()))
        with torch.no_grad():
            p -= side * 1e-6 * along
    worst, n = max(worst, abs((sides[0] - sides[1]) / 2e-6 - slope) / max(abs(slope), 1.0)), n + 1
print(json.dumps([worst, n]))
"""


def test_the_gradient_of_the_loss_is_that_of_differences(start, tmp_path):
    tuned(start, tmp_path, NequipSpinFamily(**NET, **LEARN, finetuning={**TUNE, "turns": 1}))
    (directory,) = tmp_path.glob("training-*")
    (directory / "checkpoint.npz").unlink()
    runtime = [str(NEQUIP.backend.parent), str(LAUNCH.with_name("runtime"))]
    done = subprocess.run(
        [NEQUIP.python, "-c", GRADIENT, *runtime], cwd=directory, capture_output=True, text=True, check=True
    )
    worst, parameters = json.loads(done.stdout.splitlines()[-1])
    assert worst < 1e-5 and parameters > 5


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_nequip_finetune_real as t
start = t.NequipSpinFamily().load(Path(sys.argv[2]).read_bytes())
t.tuned(start, Path(sys.argv[3]))
"""


def test_kill_9_and_go_on_to_the_same_numbers(start, whole, tmp_path):
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
    assert 0 < read_curve(found[0].parent, "turn").step == reached < 60  # the training died with magflow
    potential, report = tuned(start, tmp_path / "fit")
    assert potential.to_bytes() == whole[0].to_bytes()
    assert [row["step"] for row in report.history] == [row["step"] for row in whole[1].history]
    with pytest.raises(InputError, match="another training"):
        tuned(start, tmp_path / "fit", FAMILY.weighing(50.0))


def test_a_loss_that_is_not_finite_says_so(start, tmp_path):
    huge = NequipSpinFamily(**NET, **LEARN, finetuning={"turns": 5, "learning_rate": (1e250, 1e250)})
    with pytest.raises(InputError, match=r"diverged.*learning_rate"):
        tuned(start, tmp_path, huge)
