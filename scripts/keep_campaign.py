"""Keep a small campaign of this release for the tests of later ones: ``keep_campaign.py DIR NAME``.

Writes ``tests/past/NAME`` with the campaign's file, its identity and its database, compressed, without paths of this
machine. The campaign in DIR is only read, and must not be running.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

PAST = Path(__file__).parents[1] / "tests" / "past"
PLACE = "/campaign"
"""Stands for the directory that the campaign ran in."""


def keep(directory: Path, target: Path) -> None:
    """Write a copy of the campaign in `directory` to `target`, which must not exist."""
    target.mkdir(parents=True)
    (target / "campaign.yaml").write_text((directory / "campaign.yaml").read_text())
    identity = json.loads((directory / "campaign.json").read_text()) | {"structures": PLACE}
    (target / "campaign.json").write_text(json.dumps(identity, indent=1) + "\n")
    with gzip.GzipFile(target / "campaign.db.gz", "wb", mtime=0) as file:
        file.write(compact(directory))


def compact(directory: Path) -> bytes:
    """The database without free pages and without the path of `directory`."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "campaign.db"
        with closing(sqlite3.connect(f"file:{directory / 'campaign.db'}?mode=ro", uri=True)) as source:
            source.execute("VACUUM INTO ?", (str(copy),))
        with closing(sqlite3.connect(copy, isolation_level=None)) as con:
            path = str(directory.absolute())
            con.execute("UPDATE jobs SET directory = replace(directory, ?, ?)", (path, PLACE))
            con.execute("VACUUM")
        return copy.read_bytes()


if __name__ == "__main__":
    keep(Path(sys.argv[1]), PAST / sys.argv[2])
