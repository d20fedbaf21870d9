"""One process runs a campaign; the others see which, and leave its files alone."""

from __future__ import annotations

import json
import os
import threading

import pytest

from magflow.api.campaign import Campaign
from magflow.campaign.directory import FILE, CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.campaign.lock import LOCK, campaign_lock, holder_of
from magflow.errors import CampaignError, MagflowError

LARGER = ("labels: 50", "labels: 51")


def in_another_thread(action):
    caught = []

    def tried():
        try:
            caught.append(action())
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=tried)
    thread.start()
    thread.join()
    return caught[0]


def test_it_tells_who_holds_it_and_how_the_workers_stand(tmp_path):
    with campaign_lock(tmp_path) as lock:
        assert lock.before is None
        lock.tell({"1.0": {"quiet": 900.0, "more": "x" * 500}})
        lock.tell({"1.0": {"quiet": 9.0}})
        held = holder_of(tmp_path)
        assert (held.pid, held.alive, held.workers) == (os.getpid(), True, {"1.0": {"quiet": 9.0}})
        assert held.since <= held.seen
        with campaign_lock(tmp_path) as same:
            assert same is lock
        error = in_another_thread(lambda: campaign_lock(tmp_path).__enter__())
        assert isinstance(error, CampaignError)
        assert error.seen.startswith(f"process {os.getpid()} on ")
    assert holder_of(tmp_path) is None
    assert holder_of(tmp_path / "absent") is None


def test_who_was_killed_is_known_until_another_lets_go(tmp_path):
    pid = os.fork()
    if pid == 0:
        with campaign_lock(tmp_path) as lock:
            lock.tell({"1.0": {"wall": 3.0}})
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    left = holder_of(tmp_path)
    assert (left.pid, left.alive) == (pid, False)
    with campaign_lock(tmp_path) as lock:
        assert lock.before.workers == {"1.0": {"wall": 3.0}}
        assert holder_of(tmp_path).workers == lock.before.workers, "a second kill loses nothing of it"
    assert holder_of(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"pid": "x"}', "\0" * 9])
def test_a_damaged_note_is_no_obstacle(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    assert holder_of(tmp_path) is None
    with campaign_lock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_the_file_of_a_campaign_that_runs_is_not_replaced(tmp_path, campaign_file):
    file = campaign_file()
    here = CampaignDirectory.prepare(tmp_path / "run", file, load_campaign(file))
    before = (here.path / FILE).read_bytes()
    larger = campaign_file(LARGER)
    with campaign_lock(here.path):
        error = in_another_thread(lambda: CampaignDirectory.prepare(here.path, larger, load_campaign(larger)))
        assert isinstance(error, CampaignError)
        assert (here.path / FILE).read_bytes() == before
        file.write_bytes(before)
        same = in_another_thread(lambda: CampaignDirectory.prepare(here.path, file, load_campaign(file)))
        assert same.id == here.id


def test_the_winner_of_two_starts_runs_by_its_own_file(tmp_path, campaign_file, monkeypatch):
    first_file = tmp_path / "first.yaml"
    first_file.write_bytes(campaign_file().read_bytes())
    first = Campaign.from_file(first_file, tmp_path / "run")
    Campaign.from_file(campaign_file(LARGER), tmp_path / "run")
    seen = []

    class Stop(Exception):
        pass

    def run(self, progress=None):
        seen.append((tmp_path / "run" / FILE).read_bytes())
        raise Stop

    monkeypatch.setattr("magflow.execution.local.executor.LocalExecutor.run", run)
    with pytest.raises(Stop):
        first.run()
    assert seen == [first_file.read_bytes()]


def test_starts_at_one_moment_all_end_well_or_say_who_was_first(tmp_path, campaign_file):
    file = campaign_file()
    spec = load_campaign(file)
    for n in range(4):
        pids = []
        for _ in range(4):
            pids.append(os.fork())
            if pids[-1] == 0:
                try:
                    CampaignDirectory.prepare(tmp_path / str(n), file, spec)
                    os._exit(0)
                except MagflowError as error:
                    os._exit(0 if "another process" in str(error) else 1)
                finally:
                    os._exit(2)
        assert {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids} == {0}
        assert (tmp_path / str(n) / FILE).read_bytes() == file.read_bytes()
