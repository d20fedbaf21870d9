"""``magflow benchmark tm``: files and names, what it writes, what it goes on with, what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from pydantic import Field
from typer.testing import CliRunner

from magflow.api import benchmark as api
from magflow.cli.app import app
from magflow.core import plugins
from magflow.errors import InputError
from magflow.io.extxyz import write_extxyz
from magflow.io.records import Record
from magflow.io.sources import Wish
from magflow.studies.compare import timing
from magflow.studies.tm.files import FILES
from metals import OffFamily, labels
from recorded_phonons import write_records

runner = CliRunner()


class EasyFamily(OffFamily):
    """Errs alike in all metals."""

    errors: dict[str, float] = Field(default_factory=lambda: {"Nb": 0.8, "Cu": 0.1})
    level: int = 8


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The family ``easy`` beside those that there are."""
    known = plugins.load
    monkeypatch.setattr(timing, "ENOUGH_CPU_S", 0.0)
    monkeypatch.setattr(plugins, "load", lambda group, name: EasyFamily if name == "easy" else known(group, name))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, element, seed in (("cu", "Cu", 1), ("cu_hot", "Cu", 2), ("nb", "Nb", 3)):
        records = [Record(i.frame, i.label, {"group": name}) for i in labels(element, 10, seed)]
        write_extxyz(folder / f"{name}.extxyz", records)
    return folder


def run(*options: str | Path, expected: int = 0):
    result = runner.invoke(app, ["benchmark", "tm", *map(str, options)], env={"COLUMNS": "160"})
    assert result.exit_code == expected, result.output
    return result


def test_one_command_measures_writes_and_goes_on(data, tmp_path, monkeypatch):
    files = (data / "cu.extxyz", data / "nb.extxyz", "--seeds", "2", "--dir", tmp_path)
    result = run(*files, "--families", "easy,nowhere", "--labels", "8")
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == set(FILES)
    shown = " ".join(result.stdout.split())
    assert "Relative error of forces (%), from 8 labels" in shown and "tm.html" in shown
    assert "Early and middle d metals: Nb beside late ones (Cu)" in shown and "8 times, harder in 1 of 1 pair" in shown
    assert "nowhere: 4 of 4 fits failed: unknown name in magflow.potential_families" in shown
    assert "0/8: Cu, easy, 8 labels, seed 1" in result.stderr and "8/8: done" in result.stderr
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert len(rows) == 8 and rows[0]["family"] == "easy"
    monkeypatch.setattr(api, "write_tm", lambda benchmark, directory: {})
    again = run(*files, "--families", "easy", "--vary", "easy.level=8,12", "--labels", "8", "--json")
    told = json.loads(again.stdout)
    assert told["format"] == "magflow-tm-1" and len(told["fits"]) == 8 and set(told["files"]) == set(FILES)
    again = run(*files, "--families", "easy", "--vary", "easy.level=8,12", "--labels", "8", "--json")
    assert "labels, seed" not in again.stderr, "nothing is fitted twice"


def test_rows_are_named_after_elements_files_or_as_one_likes(data):
    def rows(*files: str) -> dict[str, int]:
        paths = [f"{n}={data / f}" if (n := name) else data / f for name, f in (w.split(":") for w in files)]
        return {row.name: len(row.members) for row in api.read_rows(paths, Wish(), told=lambda line: None)}

    assert rows(":cu.extxyz", ":nb.extxyz") == {"Cu": 10, "Nb": 10}
    assert rows(":cu.extxyz", ":cu_hot.extxyz") == {"cu": 10, "cu_hot": 10}
    assert rows("Cu:cu.extxyz", "Cu:cu_hot.extxyz") == {"Cu": 20}
    assert rows("Cu-hot:cu_hot.extxyz", ":cu.extxyz") == {"Cu-hot": 10, "Cu": 10}


def test_settings_reach_into_each_other():
    made = api.contenders({"sgp": "sgp"}, {"sgp": {"mmtp": {"n_radial": 6}}}, {"sgp": {"mmtp.level": [4, 6]}})
    assert [c.name for c in made] == ["sgp mmtp.level 4", "sgp mmtp.level 6"]
    assert [c.family.mmtp.level for c in made] == [4, 6] and {c.family.mmtp.n_radial for c in made} == {6}
    with pytest.raises(InputError, match="settings of no family"):
        api.contenders({"sgp": "sgp"}, {"mmtp": {}}, {})
    with pytest.raises(InputError, match=r"settings of sgp: mmtp\.level"):
        api.contenders({"sgp": "sgp"}, {}, {"sgp": {"mmtp.level": [400]}})


def test_axes_are_families_with_the_values_of_one_setting(data, tmp_path, monkeypatch):
    """Those of the study; what is set by name goes first."""
    asked = {}

    def task(**given):
        asked.update(given)
        raise InputError("that will do")

    monkeypatch.setattr(api, "TmTask", task)
    command = ["benchmark", "tm", str(data / "cu.extxyz"), "--dir", str(tmp_path), "--axis", "l_max"]
    settings = ["--set", "nequip.epochs=7", "--set", "flare-n4.n_max=3", "--vary", "mmtp.level=4,6"]
    assert "that will do" in runner.invoke(app, [*command, "--axis", "body_order", *settings]).output
    found = {c.name: c.family for c in asked["contenders"]}
    assert list(found) == [
        *(f"flare l_max {k}" for k in range(6)),
        *(f"nequip l_max {k}" for k in range(3)),
        *(f"flare-n4 descriptor {k}" for k in ("B1", "B2", "B3")),
        *(f"mmtp level {k}" for k in (4, 6)),
    ]
    assert [found[f"flare l_max {k}"].l_max for k in range(6)] == list(range(6))
    bodies = [found[f"flare-n4 descriptor {k}"] for k in ("B1", "B2", "B3")]
    assert [(f.n_max, f.l_max, f.descriptor) for f in bodies] == [(3, 2, "B1"), (3, 2, "B2"), (3, 2, "B3")]
    assert {f.epochs for name, f in found.items() if name.startswith("nequip")} == {7}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--labels", "a few"), "not a list of numbers"),
        (("--labels", "400"), "no row has as many labels"),
        (("--vary", "easy.level"), "a setting cannot be read"),
        (("--vary", "other.level=3"), "a setting of no entry"),
        (("--set", "easy.levle=3"), "unknown setting"),
        (("--moments", "some"), "no such choice"),
        (("--families", "nowhere"), "every fit failed"),
        (("--axis", "l"), "no such choice"),
        (("--axis", "l_max", "--families", "flare=easy"), "a name stands for two families"),
    ],
)
def test_what_is_wrong_is_said_at_once(data, tmp_path, options, said):
    wanted = () if "--families" in options else ("--families", "easy")
    labels = () if "--labels" in options else ("--labels", "4")
    command = ["benchmark", "tm", str(data / "cu.extxyz"), "--dir", str(tmp_path)]
    result = runner.invoke(app, [*command, *wanted, *labels, *options])
    assert result.exit_code not in (0, 70) and said in " ".join(result.output.split()), result.output


def test_a_file_without_labels_is_told(data, tmp_path):
    bare = tmp_path / "bare.extxyz"
    write_extxyz(bare, [i.frame for i in labels("Cu", 3, 0)])
    assert "no labels to learn from" in run(bare, "--families", "easy", "--dir", tmp_path / "o", expected=2).output


class TestPhonons:
    """``magflow benchmark phonons``."""

    @pytest.fixture(scope="class")
    def table(self, tmp_path_factory) -> Path:
        return write_records(tmp_path_factory.mktemp("records"), {"Cu": 3.59})

    def ask(self, *options: str | Path, expected: int = 0):
        result = runner.invoke(app, ["benchmark", "phonons", *map(str, options)], env={"COLUMNS": "200"})
        assert result.exit_code == expected, result.output
        return result

    def test_a_calculator_is_named_asked_and_kept(self, table, tmp_path):
        command = (table, "--dir", tmp_path, "--geometry", "kept", "--calculator", "EMT=ase.calculators.emt:EMT")
        said = self.ask(*command, "--set", "EMT.asap_cutoff=false")
        assert "Mean absolute error" in said.output
        found = json.loads((tmp_path / "results.json").read_text())
        assert max(found["mean_errors"]["EMT"].values()) < 1e-5
        kept = {path: path.stat().st_mtime_ns for path in (tmp_path / ".answers").glob("*.json")}
        again = self.ask(*command, "--set", "EMT.asap_cutoff=false", "--json")
        assert json.loads(again.stdout)["mean_errors"] == found["mean_errors"]
        assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / ".answers").glob("*.json")}

    @pytest.mark.parametrize(
        ("options", "code", "said"),
        [
            ((), 2, "nothing to hold against"),
            (("--calculator", "EMT"), 2, "NAME=MODULE:CALLABLE"),
            (("--calculator", "a=ase.calculators.emt:EMT", "--calculator", "a=x:y"), 2, "two of one name"),
            (("--calculator", "a=no_such_package:Calculator"), 3, "does not import"),
            (("--calculator", "a=ase.calculators.emt:EMT", "--model", "a=x"), 2, "two things"),
            (("--calculator", "a=ase.calculators.emt:EMT", "--set", "b.x=1"), 2, "a setting of no entry"),
            (("--calculator", "a=ase.calculators.emt:EMT", "--geometry", "melted"), 2, "no such choice"),
            (("--calculator", "a=ase.calculators.emt:EMT", "--most-atoms", "8"), 2, "smallest supercell has 32 atoms"),
            (("--model", "a=nowhere"), 2, "neither an ensemble nor a campaign"),
        ],
    )
    def test_bad_input_is_one_line(self, table, tmp_path, options, code, said):
        result = self.ask(table, "--dir", tmp_path, *options, expected=code)
        assert said in result.output
        assert len(result.output.strip().splitlines()) == 1

    def test_a_benchmark_without_any_answer_says_why(self, table, tmp_path):
        options = ("--calculator", "LJ=ase.calculators.lj:LennardJones", "--set", "LJ.epsilon=NaN")
        assert "no finite energy" in self.ask(table, "--dir", tmp_path, *options, expected=5).output
        assert json.loads((tmp_path / "results.json").read_text())["mean_errors"] == {"LJ": {}}
