"""The examples of docs/testing-a-plugin.md run and print what it shows."""

from __future__ import annotations

import re
from pathlib import Path

from magflow.testing import LabelEngineContract, PotentialContract

PAGE = (Path(__file__).parents[2] / "docs" / "testing-a-plugin.md").read_text()


def test_what_the_page_shows(capsys):
    blocks = re.findall(r"<!-- run -->\n```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "testing-a-plugin.md", "exec"), {"__name__": "example"})
    said = capsys.readouterr().out
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.S)
    assert re.sub(r"\d{6,}", "", said) == re.sub(r"\d{6,}", "", shown)


def test_the_arguments_it_names_are_there():
    for contract in (LabelEngineContract, PotentialContract):
        named = re.search(rf"`{contract.__name__}\((.*?)\)`", PAGE)[1]
        assert set(re.findall(r"(\w+)=", named)) <= set(contract.__dataclass_fields__)
