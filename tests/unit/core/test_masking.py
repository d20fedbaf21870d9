from __future__ import annotations

import time

import pytest

from magflow.core.masking import MASK, mask


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("uri: mongodb://ada:hunter2@db.example/magflow", "hunter2"),
        ("uri: mongodb+srv://ada:p@ss:w0rd@db.example", "p@ss"),
        ("uri: mongodb://ada:p@ss:w0rd@db.example", "w0rd"),
        ("password: hunter2", "hunter2"),
        ("  - password: hunter2, with a comma", "comma"),
        ("db_password:   'hunter2'", "hunter2"),
        ('"password": "hunter2"', "hunter2"),
        ("{user: ada, password: hunter2, host: h}", "hunter2"),
        ("{user: ada, password: 'a, hunter2', host: h}", "hunter2"),
        ("password: |\n  hunter2\n  more\nhost: h", "hunter2"),
        ("password:\n  - hunter2\nhost: h", "hunter2"),
        ("uri: https://h/db?user=ada&authToken=hunter2&x=1", "hunter2"),
        ("API_KEY=hunter2", "hunter2"),
        ("aws_secret_access_key: hunter2", "hunter2"),
        ("Authorization: Bearer hunter2hunter2", "hunter2"),
        ("failed with header Bearer hunter2hunter2 at 3", "hunter2"),
    ],
)
def test_secrets_are_hidden(text, secret):
    shown = mask(text)
    assert secret not in shown
    assert MASK in shown


def test_what_stands_beside_a_secret_stays():
    assert mask("{user: ada, password: x1, host: h}") == "{user: ada, password: ***, host: h}"
    assert mask("password: |\n  x1\nhost: h") == "password: ***\nhost: h"
    assert mask("uri: mongodb://ada:x1@db.example/magflow") == "uri: mongodb://***@db.example/magflow"


@pytest.mark.parametrize(
    "text",
    [
        "tolvrs: 1e-8  # tolerance",
        "seed: 7\n\nstop:\n  labels: 120\n",
        "uri: mongodb://db.example/x",
        "passes: 3",
        "a @ b: c",
    ],
)
def test_other_text_is_left_alone(text):
    assert mask(text) == text


@pytest.mark.parametrize("text", ["a" * 300_000, "a://" * 50_000, "password" * 40_000, "x=" * 100_000, "- " * 100_000])
def test_long_lines_cost_linear_time(text):
    begin = time.process_time()
    mask(text)
    assert time.process_time() - begin < 10
