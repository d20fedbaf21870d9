from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from magflow import __version__
from magflow.campaign.templates import template_names, template_text
from magflow.cli.app import COMMANDS, INTERNAL_ERROR, app
from magflow.errors import CampaignError, MissingToolError, StoreError

runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
LIGHT = frozenset(["magflow", "typer", "click", "shellingham", "annotated_doc", "typing_extensions"])
DRAWING = frozenset(["rich", "pygments", "markdown_it", "mdurl", "attr"])
"""What typer draws its help with; rich asks whether attr is there."""


def test_version():
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.strip() == f"magflow {__version__}"


def test_help_names_every_command():
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(f" {name} " in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command):
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"magflow {command}" in result.stdout.split("Usage:")[1].split("\n", 1)[1]


@pytest.mark.parametrize(("option", "packages"), [("--version", LIGHT), ("--help", LIGHT | DRAWING)])
def test_who_only_asks_waits_for_nothing_heavy(option, packages):
    """All that is imported, beside what comes with Python, by the command itself in a process of its own."""
    code = (
        "import sys; before = set(sys.modules)\n"
        f"sys.argv = ['magflow', '{option}']\n"
        "from magflow.cli.app import main\n"
        "try: main()\n"
        "finally: print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *said, imported = done.stdout.splitlines()
    assert any(("predict" if option == "--help" else __version__) in line for line in said)
    assert "magflow.cli.app" in imported.split()
    assert {name.partition(".")[0] for name in imported.split()} - sys.stdlib_module_names <= packages


WORK = {"jobflow", "maggma", "monty", "pymongo", "pydash", "pymatgen", "numpy", "scipy", "ase", "matplotlib", "phonopy"}
WORK |= {"spglib", "vesin", "torch", "jinja2", "magflow.campaign.schema", "magflow.campaign.budget"}
"""What is for those who make, run or check a campaign, and takes longer to import than the answer may."""


TAKING_OUT = {"numpy", "ase", "matplotlib", "jinja2"}
"""What labels are written with, and what a report is drawn with."""


@pytest.mark.parametrize(
    "words",
    [
        *(["status", "DIR"], ["status", "DIR", "--json"]),
        *(["query", "DIR", what] for what in ("labels", "models", "iterations", "jobs")),
        ["query", "DIR", "labels", "--where", "force_max > 0", "--sort", "-force_max", "--format", "csv"],
    ],
    ids=" ".join,
)
def test_who_looks_into_a_campaign_waits_for_nothing_that_makes_one(tmp_path, words):
    said, imported = said_and_imported(tmp_path, words)
    assert len(said) > 1
    assert not WORK & imported


@pytest.mark.parametrize(
    "words",
    [["export", "DIR", "-o", "DIR/labels.extxyz"], ["report", "DIR", "-o", "DIR/report.html"]],
    ids=" ".join,
)
def test_who_takes_something_out_of_a_campaign_neither(tmp_path, words):
    said, imported = said_and_imported(tmp_path, words)
    assert len(said) == 1
    assert Path(words[-1].replace("DIR", str(tmp_path))).stat().st_size > 1000
    assert not (WORK - TAKING_OUT) & imported


def kept_campaign(folder: Path) -> None:
    """Put a campaign of an older release into `folder`."""
    kept = Path(__file__).parents[2] / "past" / "0.1-half-done"
    for name in ("campaign.yaml", "campaign.json"):
        (folder / name).write_bytes((kept / name).read_bytes())
    (folder / "campaign.db").write_bytes(gzip.decompress((kept / "campaign.db.gz").read_bytes()))


def said_and_imported(tmp_path: Path, words: list[str]) -> tuple[list[str], set[str]]:
    """What a command about a half-done campaign prints, in a process of its own, and the modules it imports there.

    PyTorch is a stand-in: vesin imports it where it is there, and took seconds.
    """
    (tmp_path / "torch.py").write_text("")
    kept_campaign(tmp_path)
    words = [word.replace("DIR", str(tmp_path)) for word in words]
    code = (
        f"import sys; sys.argv = ['magflow', *{words}]\n"
        "from magflow.cli.app import main\n"
        "try: main()\n"
        "finally: print(*sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    *said, imported = done.stdout.splitlines()
    assert done.returncode in (0, 5), done.stderr
    return said, set(imported.split())


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("tra", {"train", "transfer"}),
        ("init mod", {"model-hamiltonian"}),
        ("train x --family mm", {"mmtp"}),
        ("train x --family sgp --set mm", {"mmtp="}),
        ("label x --engine spin", {"spin-lattice"}),
        ("query nowhere labels --where form", {"formula"}),
        ("query nowhere frames --fields formula,vol", {"formula,volume"}),
        ("query nowhere jobs --sort wa", {"wall_seconds"}),
        ("query nowhere nothing --where form", set()),
    ],
)
def test_a_shell_completes_names(typed, completed):
    words = f"magflow {typed}"
    asked = {"_MAGFLOW_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    program = Path(sys.executable).parent / "magflow"
    done = subprocess.run([program], capture_output=True, text=True, env=os.environ | asked, check=False)
    assert set(done.stdout.split()) == completed, done.stderr


def test_a_shell_completes_the_fields_of_a_campaign(tmp_path, monkeypatch, capsys):
    kept_campaign(tmp_path)
    asked = {"COMP_WORDS": f"magflow query {tmp_path} labels --where 'level_of", "COMP_CWORD": "5"}
    for name, value in {"_MAGFLOW_COMPLETE": "complete_bash", **asked}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        app(prog_name="magflow")
    assert capsys.readouterr().out.split() == ["level_of_theory", "level_of_theory_id"]


def test_no_arguments_is_help():
    result = runner.invoke(app, [])
    assert "Usage" in result.output


def test_misspelled_command():
    result = runner.invoke(app, ["chekc"])
    assert result.exit_code == 2
    assert "check" in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MissingToolError("no ABINIT", where="here", seen=1, expected="two", hint="install it"), 3),
        (StoreError("disk full"), 4),
        (CampaignError("batch failed"), 5),
        (ZeroDivisionError("oops\nsecond line"), INTERNAL_ERROR),
    ],
)
def test_errors_are_one_line_on_stderr(monkeypatch, error, code):
    def fail(*args, **kw):
        raise error

    monkeypatch.setattr("magflow.campaign.jsonschema.campaign_schema", fail)
    result = runner.invoke(app, ["schema"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert str(error).split("\n")[0] in result.stderr
    monkeypatch.setenv("MAGFLOW_DEBUG", "1")
    debugged = runner.invoke(app, ["schema"])
    assert debugged.exit_code == code
    assert "Traceback" in debugged.stderr
    assert str(error) in debugged.stderr


@pytest.mark.parametrize("name", template_names())
def test_init(tmp_path, name):
    template = name.replace("_", "-")
    where = tmp_path / "new" / "folder"
    result = runner.invoke(app, ["init", template, str(where)])
    assert result.exit_code == 0
    assert (where / f"{name}.yaml").read_text() == template_text(name)
    assert f"magflow check {where / name}.yaml" in result.stdout


@pytest.mark.parametrize(
    ("words", "written"),
    [("export DIR -o labels.cfg", "extended XYZ"), ("report DIR -o page.pdf", "HTML")],
)
def test_an_ending_that_promises_another_format_is_refused(tmp_path, words, written):
    result = runner.invoke(app, [word.replace("DIR", str(tmp_path)) for word in words.split()])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"--out: {written} is written here; seen: .")


def test_a_misspelt_template_is_told_its_name(tmp_path):
    result = runner.invoke(app, ["init", "feal-quik"])
    assert result.exit_code == 2
    assert "did you mean feal-quick?" in result.stderr


def test_init_never_overwrites(tmp_path):
    (tmp_path / "feal_quick.yaml").write_text("mine")
    result = runner.invoke(app, ["init", "feal-quick", str(tmp_path)])
    assert result.exit_code == 2
    assert "taken" in result.stderr
    assert (tmp_path / "feal_quick.yaml").read_text() == "mine"
    assert runner.invoke(app, ["init", "feal-quick", str(tmp_path / "feal_quick.yaml")]).exit_code == 2
    assert runner.invoke(app, ["init", "iron"]).exit_code == 2


def campaign(tmp_path: Path, *changes: tuple[str, str]) -> str:
    text = template_text("model_hamiltonian")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    return str(path)


def test_check_says_ready(tmp_path):
    result = runner.invoke(app, ["check", campaign(tmp_path), "--dir", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert "is ready" in result.stdout
    assert not (tmp_path / "run").exists()


def test_check_as_json(tmp_path):
    path = campaign(tmp_path, ("a: 2.836", "a: 1.0"))
    result = runner.invoke(app, ["check", path, "--json", "--dir", str(tmp_path / "run")])
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert document["ok"] is False
    bad = [f["name"] for f in document["findings"] if not f["ok"]]
    assert bad == ["prototype bcc-Fe"]


def test_check_tells_missing_tools_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGFLOW_ABINIT_COMMAND", "no-such-abinit")
    (tmp_path / "q.yaml").write_text(template_text("feal_quick"))
    result = runner.invoke(app, ["check", str(tmp_path / "q.yaml")])
    assert result.exit_code == 3
    assert "no-such-abinit" in result.stdout
    assert "hint" in result.stdout


def test_check_explains_every_error_of_the_file(tmp_path):
    path = campaign(tmp_path, ("seed: 1", "seed: x"), ("  displacement:", "  displacment:"))
    result = runner.invoke(app, ["check", path])
    assert result.exit_code == 2
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        f"{path}:6 seed",
        f"{path}:28 explore.domain.displacment",
    ]
    assert "did you mean displacement?" in result.stderr


HOSTILE = {
    "bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
    "tag": "a: !!python/object/apply:os.system ['touch pwned']",
    "deep": "a: " + "[" * 20000,
    "binary": "\x00\x01",
    "empty": "",
    "list": "- a",
    "broken": "a: [1, 2",
    "huge number": "magflow: " + "9" * 5000,
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("command", ["check", "run"])
def test_hostile_campaign_files(tmp_path, monkeypatch, case, command):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "campaign.yaml"
    path.write_text(HOSTILE[case])
    begin = time.perf_counter()
    result = runner.invoke(app, [command, str(path)])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert f"{path}:" in result.stderr
    assert list(tmp_path.iterdir()) == [path]
    assert time.perf_counter() - begin < 30


def test_schema_is_json():
    document = json.loads(runner.invoke(app, ["schema"]).stdout)
    assert document["title"] == "magflow campaign file"


def test_as_a_program_no_traceback(tmp_path):
    """The same through the console script's own entry point, in a process of its own."""
    code = "from magflow.cli.app import main; main()"
    environment = {k: v for k, v in os.environ.items() if k != "MAGFLOW_DEBUG"}
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(tmp_path / "absent.yaml")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no such file" in done.stderr


NO_RESULTS = {"schema", "daemon logs", "cluster pilot", "execute"}
"""Commands that print a document, a log or nothing."""


def leaves(command, name=""):
    """Every command with its full name, and the options it takes."""
    for child, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, f"{name} {child}".strip())
    if not hasattr(command, "commands"):
        yield name, {option for parameter in command.params for option in parameter.opts}


def test_every_command_that_prints_results_offers_json():
    from typer.main import get_command

    without = {name for name, options in leaves(get_command(app)) if "--json" not in options}
    assert without <= NO_RESULTS | {"convert"}


def test_what_is_written_goes_to_out_in_every_command():
    from typer.main import get_command

    for name, options in leaves(get_command(app)):
        assert not options & {"--output", "--destination"}, name
        assert ("--out" in options) == ("-o" in options), name
