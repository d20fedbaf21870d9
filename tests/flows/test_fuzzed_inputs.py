"""Thousands of damaged inputs: one clear line or an answer, an exit code of the page of errors, nothing executed."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import typer.main
import typer.testing
from ruamel.yaml import YAML

from attacks import FIRST, rounds
from flows.test_past_versions import unpacked
from fuzzing import Damage
from magflow.campaign.load import MOST
from magflow.campaign.templates import template_text
from magflow.cli.app import app
from magflow.errors import MAX_PART

CODES = {0, 1, 2, 3, 4, 5}
PATIENCE_S = 60
LONGEST = 3 * MAX_PART
TEMPLATES = ("model_hamiltonian", "transfer_model")
STORE = {"docs_store": {"type": "MemoryStore"}, "additional_stores": {"data": {"type": "MemoryStore"}}}
SETTINGS = {
    "abinit_command": "abinit",
    "mpirun_command": "mpirun",
    "deepmd_python": None,
    "deepmd_threads": 1,
    "dataset_dirs": ["/usr/share/gpaw-setups", "~/.magflow/datasets"],
    "cache_dir": "~/.cache/magflow",
    "scratch_dir": None,
}
KEYS = {
    "labels": ("state", "formula", "force_max", "source", "iteration", "energy_per_atom", "label_id", "reason"),
    "frames": ("reason", "formula", "source", "iteration", "position"),
    "models": ("member", "family", "n_labels", "rmse.train.energy"),
    "iterations": ("iteration", "rmse", "failures", "core_hours_total"),
    "jobs": ("state", "name", "cpu_seconds", "tries", "error"),
    "measurements": ("property", "value", "unit"),
}
EXECUTED = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "pickle.find_class"}
_watching: list[list[str]] = []


def _watch(event: str, arguments: tuple) -> None:
    if _watching and event in EXECUTED:
        _watching[-1].append(f"{event} {arguments}"[:200])


@contextmanager
def executed() -> Iterator[list[str]]:
    """What was run or unpickled meanwhile."""
    if not hasattr(_watch, "hooked"):
        sys.addaudithook(_watch)
        _watch.hooked = True
    seen: list[str] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.pop()


class Fuzz:
    """A folder with a campaign, its frames and its ensemble, and the ways to damage what a command reads."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.canary = root, root / "canary"
        patch.setenv("HOME", str(root))
        patch.delenv("MAGFLOW_DEBUG", raising=False)
        patch.chdir(root)
        command = typer.main.get_command(app)
        patch.setattr(typer.testing, "_get_command", lambda _: command)  # the tree of commands is made once
        self.runner = typer.testing.CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
        unpacked("0.1-half-done", root / "whole")
        assert self.invoke("export", "whole", "--models", "-o", "models").exit_code == 0
        assert self.invoke("export", "whole", "-o", "labels.extxyz").exit_code == 0
        text = (root / "labels.extxyz").read_text().splitlines(keepends=True)
        self.frames = "".join(text[: 2 * (int(text[0]) + 2)])
        (root / "frames.extxyz").write_text(self.frames)
        shutil.copytree(root / "whole", root / "campaign")

    def invoke(self, *words: str) -> typer.testing.Result:
        return self.runner.invoke(app, list(words))

    def campaign_file(self, damage: Damage) -> list[str]:
        text = template_text(damage.rng.choice(TEMPLATES))
        data = YAML(typ="safe").load(text) | ({"store": STORE} if damage.rng.random() < 0.2 else {})
        Path("it.yaml").write_bytes(damage.yaml_or_json(data, text))
        return ["check", "it.yaml"]

    def frames_file(self, damage: Damage) -> list[str]:
        changed = damage.text if damage.rng.random() < 0.8 else lambda t: damage.bytes(t.encode()).decode("latin-1")
        Path("it.extxyz").write_bytes(changed(self.frames).encode(errors="surrogatepass"))
        out = damage.rng.choice(("out.extxyz", "out.cfg"))
        ways = (["convert", "it.extxyz", "-o", out], ["predict", "models", "it.extxyz", "-o", "out.extxyz"])
        return damage.rng.choice((*ways, ["import", "it.extxyz"]))

    def ensemble(self, damage: Damage) -> list[str]:
        shutil.rmtree("damaged", ignore_errors=True)
        shutil.copytree("models", "damaged")
        member, *_ = damage.rng.sample(sorted(Path("damaged").glob("*.bin")), 1)
        if damage.rng.random() < 0.4:
            manifest = Path("damaged/ensemble.json")
            manifest.write_bytes(damage.yaml_or_json(json.loads(manifest.read_bytes()), manifest.read_text()))
        else:
            content = damage.archive(member.read_bytes())
            for name in Path("damaged").glob("*.bin"):  # named by content, so that the damage is looked at
                name.write_bytes(content)
            _name_by_content(Path("damaged"))
        return ["predict", "damaged", "frames.extxyz", "-o", "out.extxyz"]

    def question(self, damage: Damage) -> list[str]:
        rng = damage.rng
        what = rng.choice(list(KEYS))
        words = ["query", "whole", what, "--format", rng.choice(("table", "json", "csv"))]
        for _ in range(rng.randrange(3)):
            words += ["--where", damage.condition(KEYS[what])]
        if rng.random() < 0.4:
            words += ["--sort", rng.choice(("", "-")) + rng.choice((*KEYS[what], str(damage.odd())))]
        if rng.random() < 0.4:
            words += ["--fields", ",".join(rng.choice((*KEYS[what], str(damage.odd()))) for _ in range(3))]
        return words

    def identity(self, damage: Damage) -> list[str]:
        name = damage.rng.choice(("campaign.json", "campaign.json", "campaign.yaml", "backend.json"))
        shutil.copy("whole/campaign.json", "campaign/campaign.json")
        shutil.copy("whole/campaign.yaml", "campaign/campaign.yaml")
        Path("campaign/backend.json").unlink(missing_ok=True)
        text = Path("whole", name).read_text() if name != "backend.json" else '{"backend": "local"}'
        Path("campaign", name).write_bytes(damage.yaml_or_json(YAML(typ="safe").load(text), text))
        return damage.rng.choice((["status", "campaign", "--json"], ["query", "campaign", "labels", "--limit", "1"]))

    def settings(self, damage: Damage) -> list[str]:
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in SETTINGS.items())
        Path(".magflow.yaml").write_bytes(damage.yaml_or_json(SETTINGS, text))
        return ["db", "move", "--from", "mongodb", "--to", "new"]

    def judge(self, target: str, seed: int) -> int:
        """Damage one input, run the command; returns its exit code, or fails with what reproduces it."""
        damage = Damage(Random(f"{target} {seed}"), str(self.canary))
        words = getattr(self, target)(damage)
        with executed() as seen, _no_longer_than(PATIENCE_S):
            done = self.invoke(*words)
        Path(".magflow.yaml").unlink(missing_ok=True)
        said = f"{target} {seed}: {words}\nexit {done.exit_code}\n{done.stderr[-3000:]}\n{done.exception!r}"
        assert done.exit_code in CODES, said
        assert "Traceback" not in done.output, said
        assert not seen, (seen, said)
        assert not self.canary.exists(), said
        if done.exit_code:
            _judge_lines(target, done, said)
        return done.exit_code


def _judge_lines(target: str, done: typer.testing.Result, said: str) -> None:
    lines = done.stderr.splitlines() or done.stdout.splitlines()
    assert lines, said
    assert all(len(line) < LONGEST for line in lines), said
    if target == "campaign_file" or "campaign.yaml:" in lines[0]:  # one line for each thing that is wrong in it
        assert len(lines) <= MOST + 1, said
    elif target != "frames_file":  # what is odd in frames is told before what is wrong
        assert len(lines) == 1, said


def _name_by_content(folder: Path) -> None:
    """What a manifest says of its members follows the files that are there."""
    from magflow.core.arrays import digest

    manifest = json.loads((folder / "ensemble.json").read_bytes())
    for number, name in enumerate(manifest["members"]):
        content = (folder / name).read_bytes()
        new = f"member_{number:02d}-{digest([content])}.bin"
        (folder / name).rename(folder / new)
        manifest["members"][number] = new
    (folder / "ensemble.json").write_text(json.dumps(manifest))


@contextmanager
def _no_longer_than(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"no answer after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    left = signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(left)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    with pytest.MonkeyPatch.context() as patch:
        yield Fuzz(tmp_path_factory.mktemp("fuzz"), patch)


# what one input costs differs: of the cheap ones more are tried
TARGETS: dict[str, int] = {
    "campaign_file": 25,
    "frames_file": 60,
    "ensemble": 40,
    "question": 60,
    "identity": 30,
    "settings": 25,
}


@pytest.mark.parametrize("target", TARGETS)
def test_some_damaged_inputs(fuzz: Fuzz, target: str) -> None:
    for seed in range(TARGETS[target]):
        fuzz.judge(target, seed)


@pytest.mark.slow
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("target", TARGETS)
def test_thousands_of_damaged_inputs(fuzz: Fuzz, target: str) -> None:
    number = rounds(90 * TARGETS[target])
    seeds = range(FIRST * 1_000_000, FIRST * 1_000_000 + number)
    codes, wrong = Counter(), []
    for seed in seeds:
        try:
            codes[fuzz.judge(target, seed)] += 1
        except AssertionError as error:
            wrong.append(str(error).split("\nassert")[0])
    print(f"{number} inputs of {target} from seed {seeds[0]}: exit codes {dict(sorted(codes.items()))}")
    assert not wrong, f"{len(wrong)} of {number}\n" + "\n\n".join(wrong[:20])
