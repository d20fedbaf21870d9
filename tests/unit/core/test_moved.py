"""What has moved is found under its old name: in payloads, by the import system, by monty."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from operator import attrgetter

import pytest

from magflow.core.moved import MOVED, renamed, where_now

TABLE = {
    "magflow.old.tasks": "magflow.core.units",
    "magflow.old.label:Label": "magflow.core.label:LabelKind",
    "magflow.old.label:Label.make": "magflow.core.label:LevelOfTheory.from_dict",
    "magflow.first.dataset": "magflow.old.dataset",
    "magflow.old.dataset": "magflow.core.dataset",
    "magflow.errors:Oops": "magflow.core.frame:Frame",
}


@pytest.fixture
def table(monkeypatch):
    for old, new in TABLE.items():
        monkeypatch.setitem(MOVED, old, new)
    yield
    for name in [n for n in sys.modules if n.startswith(("magflow.old", "magflow.first"))]:
        del sys.modules[name]


@pytest.mark.parametrize("old", MOVED)
def test_every_line_of_the_table_leads_somewhere(old):
    module, name = where_now(*(old.split(":") if ":" in old else (old, "")))
    found = import_module(module)
    assert not name or attrgetter(name)(found)
    assert (":" in old) == (":" in MOVED[old]), "a module moves to a module, a name to a name"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("magflow.old.tasks", "voigt"), ("magflow.core.units", "voigt")),
        (("magflow.old.label", "Label"), ("magflow.core.label", "LabelKind")),
        (("magflow.old.label", "Label.other"), ("magflow.core.label", "LabelKind.other")),
        (("magflow.old.label", "Label.make"), ("magflow.core.label", "LevelOfTheory.from_dict")),
        (("magflow.old.label", "Labeled"), ("magflow.old.label", "Labeled")),
        (("magflow.first.dataset", "Dataset"), ("magflow.core.dataset", "Dataset")),
        (("magflow.errors", "Oops"), ("magflow.core.frame", "Frame")),
        (("magflow.errors", "MagflowError"), ("magflow.errors", "MagflowError")),
        (("numpy", "array"), ("numpy", "array")),
    ],
    ids=["module", "class", "method of a class", "method by itself", "another", "twice", "left", "stays", "foreign"],
)
def test_a_name_is_looked_up_from_the_narrowest_line(table, old, new):
    assert where_now(*old) == new


def test_names_are_brought_up_to_date_at_any_depth(table):
    made = {"@module": "magflow.old.label", "@class": "Label", "@version": "0.1", "kind": {"a": [1, None, "@module"]}}
    bound = {"@module": "magflow.first.dataset", "@class": "Dataset", "inner": made}
    payload = {
        "function": {"@module": "magflow.old.label", "@callable": "Label.other", "@bound": bound},
        "args": [made],
    }
    untouched = str(payload)
    found = renamed(payload)
    assert (found["function"]["@module"], found["function"]["@callable"]) == ("magflow.core.label", "LabelKind.other")
    assert found["function"]["@bound"]["@module"] == "magflow.core.dataset"
    for now in (found["function"]["@bound"]["inner"], found["args"][0]):
        assert now == made | {"@module": "magflow.core.label", "@class": "LabelKind"}
    assert str(payload) == untouched


def test_what_names_nothing_that_has_moved_stays_as_it_is(table):
    payload = {"@module": None, "@class": None, "x": {"@module": "magflow.old.tasks"}, "y": ["@class", 1.5]}
    assert renamed(payload) == payload


def test_an_old_path_imports_the_module_itself(table):
    import magflow.core.dataset as now

    own = now.__spec__
    assert import_module("magflow.old.dataset") is now
    assert import_module("magflow.first.dataset") is now
    assert now.__spec__ is own


def test_a_module_that_is_gone_gives_the_names_that_have_moved(table):
    from magflow.core.label import LabelKind

    gone = import_module("magflow.old.label")
    assert gone.Label is LabelKind
    with pytest.raises(AttributeError):
        gone.Unknown  # noqa: B018


def test_a_path_that_never_was_is_not_found(table):
    with pytest.raises(ModuleNotFoundError):
        import_module("magflow.old.nothing")


def test_a_script_of_an_older_release_starts_the_module_where_it_is_now():
    code = """
import runpy, sys
from magflow.core.moved import MOVED
MOVED["magflow.old.start"] = "magflow.__main__"
sys.argv = ["magflow", "--version"]
runpy.run_module("magflow.old.start", run_name="__main__", alter_sys=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["magflow"]), done.stderr
