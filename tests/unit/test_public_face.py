"""What ``import magflow`` promises: its names, their examples, and that it loads nothing heavy."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import magflow

HEAVY = {"numpy", "ase", "scipy", "pydantic", "jobflow", "maggma", "pymatgen", "matplotlib", "torch", "rich", "typer"}
PAGE = Path(__file__).parents[2] / "docs" / "python.md"
OBJECTS = [name for name in magflow.__all__ if name != "__version__"]
DOCTESTED = [
    "magflow",
    "magflow.api.campaign",
    "magflow.api.opening",
    "magflow.api.simulation",
    "magflow.api.training",
    "magflow.core.dataset",
    "magflow.core.frame",
    "magflow.core.label",
    "magflow.errors",
    "magflow.potentials.ensemble",
]


def test_importing_magflow_imports_nothing_heavy():
    asked = "import sys, magflow; print(*sys.modules, dir(magflow))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_the_names_are_those_that_type_checkers_see():
    tree = ast.parse(Path(magflow.__file__).read_text())
    (guarded,) = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    seen = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert seen == magflow._HOME
    assert sorted(seen) == sorted(magflow.__all__) == dir(magflow)


def test_a_name_that_is_not_there_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'Campain'"):
        magflow.Campain  # noqa: B018


@pytest.mark.parametrize("name", OBJECTS)
def test_every_name_is_explained_with_an_example(name):
    value = getattr(magflow, name)
    text = inspect.getdoc(value)
    assert text and f">>> {'import magflow' if not inspect.isclass(value) else ''}".strip() in text
    assert f"`{name}" in PAGE.read_text() or f"magflow.{name}" in PAGE.read_text()


@pytest.mark.parametrize("module", DOCTESTED)
def test_the_examples_hold(module):
    result = doctest.testmod(import_module(module))
    assert result.failed == 0


def test_there_are_examples_that_are_run():
    finder, runnable = doctest.DocTestFinder(), 0
    for module in DOCTESTED:
        for test in finder.find(import_module(module)):
            runnable += sum(doctest.SKIP not in example.options for example in test.examples)
    assert runnable >= 20
