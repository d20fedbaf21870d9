from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_lists_what_the_models_accept():
    script = ROOT / "scripts" / "campaign_reference.py"
    printed = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "campaign-file.md").read_text()
    assert page == printed, "run: python scripts/campaign_reference.py > docs/campaign-file.md"
