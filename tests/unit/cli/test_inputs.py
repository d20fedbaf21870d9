"""What is named on the command line, opened."""

from __future__ import annotations

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from magflow.api.opening import labels_of_file
from magflow.cli.app import app
from magflow.cli.inputs import settings_of
from magflow.errors import InputError

FRAME = """2
Lattice="2.8 0 0 0 2.8 0 0 0 2.8" Properties=species:S:1:pos:R:3:forces:R:3 energy=-16.5 virial="{virial}"
Fe 0.0 0.0 0.0  0.1 0.0 0.0
Fe 1.4 1.4 1.4 -0.1 0.0 0.0
"""


@pytest.fixture
def with_virial(tmp_path):
    path = tmp_path / "labels.extxyz"
    frame = FRAME.format(virial="3 0 0 0 4 0 0 0 5")
    path.write_text("".join(frame.replace("1.4 1.4 1.4", f"1.4 1.4 1.{k}") for k in range(2, 8)))
    return path


@pytest.mark.parametrize("command", ["predict models in.extxyz -o out.cfg", "relax models in.xyz -o out.json"])
def test_endings_that_mean_another_format_are_refused(command):
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 2
    assert "expected: .extxyz, .xyz" in done.stderr or "expected .extxyz, .xyz" in done.stderr


@pytest.mark.parametrize("sign", [1, -1])
def test_a_virial_is_read_with_its_sign(with_virial, sign):
    item, *_ = labels_of_file(with_virial, virial_sign=sign)
    np.testing.assert_allclose(item.label.stress, sign * np.array([3, 4, 5, 0, 0, 0]) / 2.8**3)


@pytest.mark.parametrize("command", ["train", "compare"])
def test_commands_that_read_labels_take_the_sign(with_virial, tmp_path, command):
    def told(*options):
        result = CliRunner().invoke(app, [command, str(with_virial), "-o", str(tmp_path / "out"), *options])
        return result.exit_code, re.sub(r"\s+", " ", result.stderr)

    code, text = told()
    assert code == 2 and "virial" in text
    code, text = told("--virial-sign", "2")
    assert code == 2 and "--virial-sign" in text and "1 or -1" in text
    code, text = told("--virial-sign", "-1", "--resume")
    assert code == 2 and "to go on with" in text  # which is looked at when the labels have been read


def test_no_guess_of_the_sign(with_virial):
    with pytest.raises(InputError, match="virial"):
        labels_of_file(with_virial)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("300,600", [300, 600]),
        ("[300, 600]", [300, 600]),
        ("0.5, 1e-3", [0.5, 1e-3]),
        ("300", 300),
        ("a,b", "a,b"),
        ("300,", "300,"),
        ("null", None),
    ],
)
def test_settings_are_numbers_lists_of_numbers_or_words(text, value):
    assert settings_of([f"stability.temperatures={text}"]) == {"stability": {"temperatures": value}}
