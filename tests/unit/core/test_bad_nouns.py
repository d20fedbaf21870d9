"""What the nouns refuse, each with one clear error."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from magflow.core import plugins
from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import FailureKind, Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.moments import as_vectors, collinear
from magflow.errors import InputError, MagflowError, MissingToolError
from strategies import LEVEL

CELL = np.eye(3) * 3
ZERO = np.zeros((1, 3))
FRAME = Frame(("Fe",), CELL, ZERO, [2.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), CELL, np.zeros((0, 3))), "no atoms"),
        ((("Xq",), CELL, ZERO), "unknown element"),
        ((("X",), CELL, ZERO), "unknown element"),
        ((("fe",), CELL, ZERO), "unknown element"),
        ((("Fe",), np.eye(2), ZERO), "cell has the wrong shape"),
        ((("Fe",), CELL * np.nan, ZERO), "cell has a value that is not finite"),
        ((("Fe",), np.ones((3, 3)), ZERO), "no volume"),
        ((("Fe",), np.zeros((3, 3)), ZERO), "no volume"),
        ((("Fe",), "abc", ZERO), "not an array of numbers"),
        ((("Fe", "Fe"), CELL, ZERO), "positions has the wrong shape"),
        ((("Fe",), CELL, ZERO + np.inf), "positions has a value that is not finite"),
        ((("Fe",), CELL, ZERO, [1.0, 2.0]), "wrong number of moments"),
        ((("Fe",), CELL, ZERO, [[1.0, 2.0]]), "wrong number of moments"),
        ((("Fe",), CELL, ZERO, [np.nan]), "not finite"),
        ((("Fe",), CELL, ZERO, ["up"]), "not numbers"),
        ((("Fe",), CELL, ZERO, [1.0], [True, False]), "wrong number of constraint flags"),
        ((("Fe",), CELL, ZERO, None, [True]), "no moments"),
    ],
)
def test_bad_frames(arguments, message):
    with pytest.raises(InputError, match=message):
        Frame(*arguments)


def test_none_and_zero_moments_differ():
    assert Frame(("Fe",), CELL, ZERO).frame_id != Frame(("Fe",), CELL, ZERO, [0.0]).frame_id


def test_constraining_all_atoms_is_the_default():
    assert Frame(("Fe",), CELL, ZERO, [2.0], [True]).frame_id == FRAME.frame_id
    assert Frame(("Fe",), CELL, ZERO, [2.0], [False]).frame_id != FRAME.frame_id


def test_vectors_that_are_not_collinear():
    with pytest.raises(InputError, match="non-collinear"):
        collinear(as_vectors([[1.0, 0.0, 1.0]], 1))


def label(**changes):
    return Label(FRAME.frame_id, LEVEL, **({"energy": -1.0} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy": None}, "no finite energy"),
        ({"energy": np.nan}, "no finite energy"),
        ({"forces": np.zeros((2, 3))}, "forces has the wrong shape"),
        ({"stress": np.zeros(9)}, "stress has the wrong shape"),
        ({"magmoms": np.zeros(1)}, "magmoms has the wrong shape"),
        ({"magnetic_forces": np.zeros(3)}, "magnetic_forces has the wrong shape"),
    ],
)
def test_bad_labels(changes, message):
    with pytest.raises(InputError, match=message):
        LabeledFrame(FRAME, label(**changes))


def test_a_failed_label_stays_out_of_a_dataset():
    failed = Label.failed(FRAME, LEVEL, FailureKind.SCF_UNCONVERGED, "no")
    assert not failed.ok
    with pytest.raises(InputError, match="cannot enter a dataset"):
        LabeledFrame(FRAME, failed)


def test_levels_of_theory_do_not_mix_silently():
    other = LevelOfTheory("abinit", "9.6.2", LabelKind.NON_MAGNETIC, "PBE")
    items = [LabeledFrame(FRAME, label()), LabeledFrame(FRAME, Label(FRAME.frame_id, other, energy=0.0))]
    with pytest.raises(InputError, match="several levels of theory"):
        Dataset(items)
    mixed = Dataset(items, mixed=True)
    assert len(mixed) == 2
    assert set(mixed.kinds) == {LabelKind.CONSTRAINED, LabelKind.NON_MAGNETIC}
    with pytest.raises(InputError):
        Dataset(items[:1]).merge(Dataset(items[1:]))


def test_plugins():
    assert {"abinit", "spin-lattice"} <= set(plugins.names(plugins.LABEL_ENGINES))
    with pytest.raises(InputError, match="did you mean abinit"):
        plugins.load(plugins.LABEL_ENGINES, "abinti")
    with pytest.raises(InputError, match="expected: one of"):
        plugins.load(plugins.POTENTIAL_FAMILIES, "zzz")


def test_a_plugin_that_does_not_import_is_a_missing_tool(monkeypatch):
    from importlib.metadata import EntryPoint

    for target in ("no_such_module:X", "magflow.errors:NoSuchClass"):
        found = {"broken": EntryPoint("broken", target, plugins.LABEL_ENGINES)}
        monkeypatch.setattr(plugins, "_found", lambda group, found=found: found)
        with pytest.raises(MissingToolError, match="does not import"):
            plugins.load(plugins.LABEL_ENGINES, "broken")


def test_errors_survive_processes_and_say_it_all():
    error = InputError("bad", where="file:3", seen=[1], expected="two", hint="look")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is InputError
    assert str(again) == str(error) == "file:3: bad; seen: [1]; expected: two; hint: look"
    assert isinstance(error, MagflowError) and error.exit_code == 2


def test_what_was_seen_is_never_a_page():
    with pytest.raises(InputError) as caught:
        Frame(("Fe",) * 500, CELL, np.full((500, 3), np.nan))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("cell", "position", "says"),
    [
        ([[2.8, 0.0, 0.0], [0.0, 2.8, 2.0**63], [0.0, 0.0, 2.8]], 0.0, "cell beyond all sizes"),
        (2.8 * np.eye(3), 1e12, "positions beyond all sizes"),
        ([[1e5, 0.0, 0.0], [0.0, 1e-3, 0.0], [0.0, 0.0, 1e5]], 0.0, "too thin"),
        ([[2.8, 0.0, 0.0], [1e5, 2.8, 0.0], [0.0, 0.0, 2.8]], 0.0, "too thin"),
    ],
)
def test_sizes_that_no_list_of_neighbours_bears(cell, position, says):
    """The list of neighbours counts cells in integers, and ends the process where they do not suffice."""
    with pytest.raises(InputError, match=says):
        Frame(("Fe",), cell, [[position, 0.0, 0.0]])
