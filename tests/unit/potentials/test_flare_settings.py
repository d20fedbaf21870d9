"""What the family flare says without the core of mir-flare."""

from __future__ import annotations

import importlib
import sys

import pytest
from mmtp_toy import toy_labels
from pydantic import ValidationError

from magflow.errors import InputError, MissingToolError
from magflow.potentials.flare import FlareFamily
from magflow.potentials.flare.environments import Form
from magflow.potentials.flare.settings import Descriptor


def test_without_the_wheel_one_line_says_how_to_get_it(monkeypatch):
    for name in ("mir_flare_core", "mir_flare_core._environments"):
        monkeypatch.setitem(sys.modules, name, None)
    labels = toy_labels(4, 0, magnetic=False)
    with pytest.raises(MissingToolError, match=r"needs the wheel mir-flare-core.*make flare"):
        FlareFamily().fit(labels, elements=("Al", "Fe"), seed=1)
    (probe,) = FlareFamily().probe()
    assert not probe.ok and "make flare" in probe.hint


def test_a_wheel_that_does_not_load_says_why(monkeypatch):
    def fails(name: str) -> None:
        raise ImportError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr("magflow.potentials.flare.core.import_module", fails)
    (probe,) = FlareFamily().probe()
    assert not probe.ok and "does not load" in probe.detail and importlib.import_module is not fails


def test_no_labels_are_told_first():
    with pytest.raises(InputError, match="no labels to fit"):
        FlareFamily().fit([], elements=("Fe",), seed=1)


@pytest.mark.parametrize(
    ("form", "size"),
    [
        (Form(("Mo",), Descriptor.B2, 8, 3, 5.0), 144),
        (Form(("Al", "Fe"), Descriptor.B2, 8, 3, 5.0), 544),
        (Form(("A", "B", "C", "D"), Descriptor.B2, 8, 3, 5.0), 2112),
        (Form(("Mo",), Descriptor.B1, 8, 3, 5.0), 8),
        (Form(("Mo",), Descriptor.B3, 4, 3, 5.0), 20 * 34),
        (Form(("Mo",), Descriptor.B3, 4, 4, 5.0), 20 * 65),
    ],
)
def test_numbers_of_descriptors_are_those_of_mir_flare(form, size):
    assert form.size == size


def test_harmonics_that_mir_flare_lacks_are_refused():
    with pytest.raises(ValidationError, match="l_max of B3 is 4 at most, seen: 5"):
        FlareFamily(descriptor="B3", l_max=5)
    assert FlareFamily(descriptor="B3", l_max=4).cutoff == 5.0
