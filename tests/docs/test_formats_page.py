from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_says_what_formats_hold():
    script = ROOT / "scripts" / "formats_page.py"
    printed = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "formats.md").read_text()
    assert page == printed, "run: python scripts/formats_page.py > docs/formats.md"
