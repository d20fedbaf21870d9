from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from magflow.campaign.templates import template_text


@pytest.fixture
def campaign_file(tmp_path: Path) -> Callable[..., Path]:
    """A campaign file: a template with texts exchanged."""

    def write(*changes: tuple[str, str], template: str = "model_hamiltonian") -> Path:
        text = template_text(template)
        for old, new in changes:
            assert old in text, f"{old!r} is not in the template"
            text = text.replace(old, new, 1)
        path = tmp_path / "campaign.yaml"
        path.write_text(text)
        return path

    return write
