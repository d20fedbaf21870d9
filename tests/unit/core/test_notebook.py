"""What objects say of themselves: one line, and a small table without markup or credentials of others."""

from __future__ import annotations

import numpy as np

from magflow.core.dataset import Dataset
from magflow.core.frame import Frame
from magflow.core.label import FailureKind, Label, LabeledFrame, LevelOfTheory
from magflow.core.notebook import facts_html

FRAME = Frame(("Fe", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45, 1.45, 1.45]], [2.1, -0.1])
LEVEL = LevelOfTheory("abinit", "9.6.2", "constrained", "PBE")
LABEL = Label(FRAME.frame_id, LEVEL, energy=-5.0, forces=np.full((2, 3), 0.1))


def test_texts_are_escaped_and_lose_credentials():
    page = facts_html("<b>", {"a & b": "<i>", "where": "mongodb://me:word@host/db", "none": None, "empty": ""})
    assert "&lt;b&gt;" in page and "a &amp; b" in page and "&lt;i&gt;" in page
    assert "word" not in page and "none" not in page and "empty" not in page


def test_a_frame():
    assert repr(FRAME) == "<Frame Al1Fe1 FiM, 24.39 A^3, |m| up to 2.1 muB>"
    assert repr(FRAME.non_magnetic()) == "<Frame Al1Fe1 NM, 24.39 A^3>"
    assert FRAME.frame_id in FRAME._repr_html_() and "2.1 muB" in FRAME._repr_html_()
    assert "muB" not in FRAME.non_magnetic()._repr_html_()


def test_a_label_and_a_failed_one():
    assert repr(LABEL) == "<Label constrained, abinit 9.6.2: -5.0 eV>"
    assert "-2.5 eV" in LABEL._repr_html_() and "force max" in LABEL._repr_html_()
    failed = Label.failed(FRAME, LEVEL, FailureKind.CRASH, "<signal 9>")
    assert repr(failed) == "<Label constrained, abinit 9.6.2: failed, crash>"
    assert "crash: &lt;signal 9&gt;" in failed._repr_html_()


def test_labelled_frames_and_datasets():
    item = LabeledFrame(FRAME, LABEL)
    assert repr(item) == "<LabeledFrame Al1Fe1 FiM, constrained: -5.0 eV>"
    assert item._repr_html_() == FRAME._repr_html_() + item.label._repr_html_()
    assert repr(Dataset([item])) == "<Dataset of 1 label: Al, Fe; constrained>"
    assert repr(Dataset()) == "<Dataset of 0 labels>"
    assert "1 Al1Fe1" in Dataset([item])._repr_html_()
