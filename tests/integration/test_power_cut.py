"""The power goes at random moments: what was acknowledged is on the disk, and the campaign can be taken up again."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from jobflow import JobStore

from disks import Disk, held_still
from magflow.campaign.directory import FILE, IDENTITY, CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.execution.campaign import submit_campaign, unfinished
from magflow.stores import connection, queries
from magflow.stores.jobstore import campaign_store
from magflow.stores.layout import DATA, DATABASE

TINY = """
magflow: 1
name: tiny
seed: {seed}
system:
  elements: [Al, Fe]
  moments: {{Fe: [0.0, 2.5], Al: [0.0, 0.1]}}
  prototypes:
    - {{name: B2-FeAl, builder: {{structure: b2, species: [Fe, Al], a: 2.9}}, orderings: [FM]}}
explore: {{candidates: 60, domain: {{volume: [-0.05, 0.05], strain: 0.02, displacement: 0.08}}}}
select: {{initial: 20, batch: 10}}
label: {{engine: spin-lattice, settings: {{seconds: 0.1}}}}
train: {{family: mmtp, ensemble: 2, settings: {{level: 4, cutoff: 4.0, n_radial: 4, max_iterations: 3}}}}
stop: {{targets: {{energy_mev_per_atom: 0.01}}, labels: 30}}
"""


def start(*command: object) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, *map(str, command)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def opened(directory: Path) -> JobStore:
    store = campaign_store(directory)
    store.connect()
    return store


def labels(directory: Path) -> set[str]:
    """Ids of the labels that a reader can see; it waits for nobody, since those who hold the file may stand still."""
    if not (directory / DATABASE).exists():
        return set()
    uri = f"{(directory / DATABASE).as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=0)) as con:
        try:
            rows = con.execute('SELECT "output.label_id" FROM docs WHERE "output.doc_type" = \'label\'').fetchall()
        except sqlite3.OperationalError as error:
            assert "no such table" in str(error) or "locked" in str(error), error
            return set()
    return {row[0] for row in rows}


def assert_whole(directory: Path) -> None:
    con = connection.connect(directory / DATABASE)
    assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_a_call_has_stored_outlives_a_power_cut(tmp_path):
    """The cut comes as soon as a call has returned: the files of a campaign, its jobs, a document with its arrays."""
    disk, file = Disk(tmp_path / "disk"), tmp_path / "tiny.yaml"
    file.write_text(TINY.format(seed=1))
    with disk.mounted() as root:
        here = CampaignDirectory.prepare(root / "run", file, load_campaign(file))
        with disk.after_a_cut() as found:
            assert CampaignDirectory.existing(found / "run").id == here.id
            assert (found / "run" / FILE).read_bytes() == file.read_bytes()
        new = submit_campaign(here)
        with disk.after_a_cut() as found:
            assert unfinished(CampaignDirectory.existing(found / "run")) == new
        for number in range(4):
            output = {"doc_type": "label", "label_id": str(number), "array": os.urandom(2000).hex()}
            document = {"uuid": str(number), "index": 1, "output": output, "name": "label"}
            here.store.update(document, key=["uuid", "index"], save={DATA: ["array"]})
            with disk.after_a_cut() as found:
                assert labels(found / "run") == set(map(str, range(number + 1)))
                assert opened(found / "run").query_one({"uuid": str(number)}, load=True)["output"] == output
                assert_whole(found / "run")


def gone_on_with(directory: Path, file: Path) -> None:
    """What `magflow run` does first; every file of the campaign is whole or not there."""
    for name in (IDENTITY, FILE):
        assert not (directory / name).exists() or (directory / name).stat().st_size > 0
    if (directory / IDENTITY).exists():
        json.loads((directory / IDENTITY).read_bytes())
    here = CampaignDirectory.prepare(directory, file, load_campaign(file))
    submit_campaign(here)
    assert_whole(directory)


def run_with_cuts(tmp_path: Path, seed: int, rng: random.Random) -> tuple[int, int]:
    """One campaign on a disk of its own; returns cuts and labels lost. The first goes on with one disk to its end."""
    file, disk = tmp_path / f"tiny{seed}.yaml", Disk(tmp_path / f"disk{seed}")
    file.write_text(TINY.format(seed=seed))
    cuts = lost = 0
    with disk.mounted() as root:
        main = start("-m", "magflow", "run", file, "--dir", root / "run", "--quiet")
        continued = rng.randrange(4, 12) if seed == 1 else None
        try:
            while main.poll() is None:
                time.sleep(rng.uniform(0.05, 1.0))
                with held_still(main):
                    cuts += 1
                    lost += lost_in_a_cut(disk, file, to_the_end=cuts == continued)
        finally:
            main.kill()
            _, said = main.communicate()
        assert main.returncode == 0, said
    return cuts, lost


def lost_in_a_cut(disk: Disk, file: Path, *, to_the_end: bool) -> int:
    """Labels that could be seen when the power went and cannot afterwards; the campaign goes on from there."""
    acknowledged = labels(disk.root / "run")
    with disk.after_a_cut() as found:
        if acknowledged:
            assert_whole(found / "run")
        lost = len(acknowledged - labels(found / "run"))
        gone_on_with(found / "run", file)
        if to_the_end:
            again = start("-m", "magflow", "run", file, "--dir", found / "run", "--quiet")
            assert again.wait(timeout=1800) == 0, again.stderr.read()
            assert len(queries.labels(CampaignDirectory.existing(found / "run").store)) == 30
    return lost


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_power_cuts_take_no_acknowledged_label(tmp_path):
    rng = random.Random(17)
    cuts = lost = seed = 0
    while cuts < 100:
        seed += 1
        more, missing = run_with_cuts(tmp_path, seed, rng)
        cuts, lost = cuts + more, lost + missing
    print(f"{cuts} power cuts in {seed} campaigns, {lost} acknowledged labels lost")
    assert lost == 0
