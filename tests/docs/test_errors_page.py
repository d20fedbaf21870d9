"""``docs/errors.md`` speaks of settings and failures that exist."""

from __future__ import annotations

import re
from pathlib import Path

from magflow.core import plugins
from magflow.core.label import FailureKind

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
NO_SETTINGS = {"gpaw-data"}
"""Words in code style that a user types, but not as a setting of an engine."""


def test_every_kind_of_failure_is_explained():
    assert all(f"`{kind}`" in PAGE for kind in FailureKind)


def test_every_setting_it_names_is_a_setting_of_an_engine():
    engines = [plugins.load(plugins.LABEL_ENGINES, name) for name in plugins.names(plugins.LABEL_ENGINES)]
    settings = {field for engine in engines for field in engine.model_fields}
    table = PAGE.partition("## Failed labels")[2]
    words = {word.removeprefix("label.settings.") for word in re.findall(r"`([^`]+)`", table)}
    commands = {word for word in words if word.startswith("magflow ")}
    named = words - commands - NO_SETTINGS - set(FailureKind)
    assert {"moment_tolerance_mub", "ratsph_bohr", "nstep", "ediff_ev"} <= named
    assert named <= settings
