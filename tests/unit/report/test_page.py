from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from campaign_records import MODEL, TARGETS, Builder, batch_failed, finished, finished_outcome, hostile, started

from magflow.errors import StoreError
from magflow.presentation.blocks import MAX_ROWS, csv_link
from magflow.presentation.page import script_hash
from magflow.report.page import render, write
from magflow.report.record import CampaignRecord

VOID = {"meta", "br", "img", "link", "use", "path"}


class Page(HTMLParser):
    """Text and tags of a page; knows whether the tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.hidden = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def scripts(self) -> list[dict]:
        """Attributes of each script."""
        return [attributes for tag, attributes in self.tags if tag == "script"]

    def attributes(self, name: str) -> list[str]:
        return [a[name] for _, a in self.tags if name in a]


@pytest.fixture(scope="module")
def done() -> str:
    return render(finished())


def without_parity(record: CampaignRecord) -> CampaignRecord:
    """For tests of what the page says elsewhere: half of its figures, which show numbers and no text of the record."""
    return dataclasses.replace(record, parities=tuple({} for _ in record.parities))


@pytest.fixture(scope="module")
def small() -> CampaignRecord:
    builder = Builder(batch=6, offered=30)
    builder.iteration(0, failed=1).iteration(1)
    last = builder.parts["iterations"][-1]
    return dataclasses.replace(builder.record(), outcome=finished_outcome(builder, last))


def test_a_finished_campaign_says_what_became_of_it(done):
    text = Page(done).text
    for expected in (
        "feal-quick", "Target reached", "predicted the new labels of 2 iterations in a row within every target",
        "magflow export 'runs/feal quick' --models -o ensemble", "magflow predict ensemble frames.extxyz",
        "114 usable labels", "6 failed", "✓ met", "Measured in iteration 4", "scf-unconverged", "time-limit",
        "residual 3e-4 after 80 steps", "abinit", "9.6.2", "PBE", "f9e8d7c6b5a4039281706f5e4d3c2b1a", "10 Ha",
        "2.2 bohr",
        "4 4 4", "1004", "below-trust", "AlFe FM", "md:bcc-Fe:AFM", "moment-collapse", "c0ffee0123456789", "0.1.0",
    ):  # fmt: skip
        assert expected in text
    assert "model Hamiltonian" not in text
    assert "not met" not in text


def test_all_figures_are_there_with_their_numbers(done):
    page = Page(done)
    files = page.attributes("download")
    quantities = ("energy", "forces", "stress", "magnetic_forces")
    expected = [f"{kind}-{q}.csv" for kind in ("convergence", "parity", "calibration") for q in quantities]
    assert files == [*expected, "coverage.csv", "selection.csv", "cost.csv", "label-cpu.csv", "timeline.csv"]
    links = {a["download"]: a["href"] for _, a in page.tags if "download" in a}
    rows = base64.b64decode(links["convergence-energy.csv"].split(",", 1)[1]).decode().splitlines()
    assert rows[0] == "iteration,labels_trained_on,core_hours,rmse_new_labels (meV/atom),rmse_training (meV/atom)"
    assert [r.split(",")[:2] for r in rows[1:]] == [["1", "22"], ["2", "46"], ["3", "67"], ["4", "90"]]
    assert sum(t == "svg" for t, _ in page.tags) == len(files)


def test_the_page_is_small_whole_and_loads_nothing(done):
    assert len(done) < 1_500_000
    page = Page(done)
    assert page.open == []
    assert not {t for t, _ in page.tags} & {"link", "iframe", "object", "embed", "img"}
    assert all(v.startswith(("#", "data:")) for v in page.attributes("href") + page.attributes("src"))
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert page.scripts == [{}]
    assert f"script-src '{script_hash()}'" in policy
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
    assert not re.findall(r"https?://", done)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))


def test_energies_of_several_compositions_share_one_figure(done):
    page = Page(done)
    link = next(a["href"] for _, a in page.tags if a.get("download") == "parity-energy.csv")
    rows = base64.b64decode(link.split(",", 1)[1]).decode().splitlines()[1:]
    labelled = np.array([float(r.split(",")[0]) for r in rows])
    # the law of the records spreads a composition over 0.1 eV/atom, two orderings over 0.4
    assert labelled.min() >= 0
    assert labelled.max() < 0.6


@pytest.mark.parametrize("phase", ["none", "explore", "select", "label", "iteration"])
def test_a_campaign_under_way_is_shown_as_far_as_it_is(phase):
    page = Page(render(started(phase)))
    text = page.text
    assert page.open == []
    assert ("Not started" if phase == "none" else "In progress") in text
    assert "not measured" in text
    assert "Nothing to compare yet" in text
    assert ("24 of 24 selected frames are labelled" in text) == (phase == "label")
    assert ("No label failed." in text) == (phase in ("label", "iteration"))
    assert ("No model has been trained yet." in text) == (phase != "iteration")


def test_a_failed_campaign_says_so_and_why():
    page = Page(render(batch_failed()))
    assert "Stopped: every label of a batch failed" in page.text
    assert "24 labels of 24 failed" in page.text
    assert any(a.get("class") == "verdict failed" for _, a in page.tags)


def test_a_spent_budget_names_what_was_not_reached():
    record = without_parity(finished(2))
    outcome = record.outcome.model_copy(
        update={"reason": "label-budget", "explanation": "the budget of 48 labels is spent"}
    )
    page = Page(render(dataclasses.replace(record, outcome=outcome)))
    assert "The budget of 48 labels is spent. Not within target: energy, forces, magnetic forces." in page.text
    assert any(a.get("class") == "verdict short" for _, a in page.tags)
    assert "✗ not met" in page.text


def test_a_model_hamiltonian_is_named_at_the_top():
    text = Page(render(finished(1, level=MODEL))).text
    notice = text.index("The labels come from a model Hamiltonian, not from DFT.")
    assert notice < text.index("Errors on new labels against targets")


def test_without_targets_or_queue(small):
    record = dataclasses.replace(without_parity(small), targets={}, text="", jobs=())
    text = Page(render(record)).text
    assert "no target" in text
    assert "not met" not in text
    assert "Jobs against time" not in text
    assert "Not found in the campaign's directory." in text


PAYLOAD = " ".join(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "'};</style><script>alert(1)</script>",
        "{{ 7 * 7 }}{% raw %}",
        "</details></main><iframe src='//evil.example'>",
        "$\\frac{a}{b}$ &amp; ]]> --><!--",
    ]
)


def test_hostile_text_stays_text(small):
    page = Page(render(without_parity(hostile(small, PAYLOAD))))
    assert page.open == []
    assert not {t for t, _ in page.tags} & {"iframe", "img", "object"}
    assert len(page.scripts) == 1
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
    # name, directory, file, failed jobs, labels, figures: it is there, verbatim, as text
    assert "".join(page.words).count(PAYLOAD) > 10


def test_secrets_never_reach_the_page(small):
    secret = "hunter2" * 8
    text = f"store:\n  uri: mongodb://ada:{secret}@db.example/x\n  password: {secret}\n"
    record = without_parity(hostile(small, f"mongodb://ada:{secret}@db.example/x"))
    html = render(dataclasses.replace(record, text=text))
    assert secret not in html
    for link in Page(html).attributes("href"):
        if link.startswith("data:"):
            assert secret not in base64.b64decode(link.split(",", 1)[1]).decode()
    assert "mongodb://***@db.example/x" in Page(html).text
    # names are cut short in figures, but after they are masked
    assert "hunter" not in html


def test_the_page_is_reproducible():
    record = batch_failed()
    assert render(record) == render(record)


def test_it_stays_small_for_a_large_campaign():
    builder = Builder(batch=800, offered=20_000)
    for i in range(2):
        builder.iteration(i, failed=300)
    html = render(builder.record())
    assert len(html) < 3_000_000
    text = Page(html).text
    assert "the newest 300 of 600" in text
    assert f"{MAX_ROWS} of 41000 rows" in text


def test_numbers_are_thinned_evenly_and_important_rows_stay():
    link, rows, shown = csv_link({"n": np.arange(10 * MAX_ROWS)}, always=7)
    values = [int(x) for x in base64.b64decode(link.split(",", 1)[1]).decode().splitlines()[1:]]
    assert (rows, shown) == (10 * MAX_ROWS, MAX_ROWS) == (10 * MAX_ROWS, len(values))
    assert values[:7] == list(range(7))
    assert values[-1] == 10 * MAX_ROWS - 1
    assert values == sorted(set(values))


def test_a_spreadsheet_takes_no_text_for_a_formula():
    link, _, _ = csv_link({"name": ["=1+1", "@x", "fine"], "x": [-1.5, 2.0, np.nan]})
    assert base64.b64decode(link.split(",", 1)[1]).decode().splitlines() == [
        "name,x",
        "'=1+1,-1.5",
        "'@x,2",
        "fine,nan",
    ]


def test_writing_replaces_the_old_page_whole(tmp_path):
    target = tmp_path / "deep" / "report.html"
    record = started("none")
    assert write(record, target) == target
    first = target.read_text()
    write(dataclasses.replace(record, name="second"), target)
    assert "second" in target.read_text()
    assert "second" not in first
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written") as caught:
        write(started("none"), tmp_path / "file" / "report.html")
    assert "choose another file" in str(caught.value)


def test_targets_of_the_records_are_reached():
    last = finished().iterations[-1]
    assert all(last.rmse[q] <= t for q, t in TARGETS.items())
