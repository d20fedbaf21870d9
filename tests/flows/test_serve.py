"""The live report: what it shows, to whom, and that it renews itself in a browser."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from browser import Browser, needs_browser
from flows.test_past_versions import unpacked
from magflow.core.files import replace_file
from magflow.errors import InputError
from magflow.report.serving import ReportServer

TABLE = "document.querySelector('#errors table')"
HEAD = f"{TABLE}.tHead.rows[0].cells[1].querySelector('button')"
ROWS = f"Array.from({TABLE}.tBodies[0].rows, row => row.cells[1].textContent)"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ReportServer]:
    """Of a finished campaign."""
    campaign = unpacked("0.1-transfer", tmp_path_factory.mktemp("served") / "campaign")
    with ReportServer(campaign) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def get(server: ReportServer, path: str, *, method: str = "GET", **headers: str) -> tuple[HTTPResponse, str]:
    """An answer and its text; nothing is followed."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read().decode()


def known(server: ReportServer) -> dict[str, str]:
    return {"Cookie": f"{server.cookie}={server.token}"}


def test_the_address_leads_to_the_page_and_hides_the_token(server):
    entered, _ = get(server, server.url.partition(str(server.server_port))[2])
    assert entered.status == 303
    assert entered.headers["Location"] == "/"
    cookie = entered.headers["Set-Cookie"]
    assert cookie.startswith(known(server)["Cookie"])
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    answer, page = get(server, "/", **known(server))
    assert answer.status == 200
    assert server.token not in page
    assert 'src="live.js"' in page
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_state_names_the_version_of_the_page(server):
    state = json.loads(get(server, "/state", **known(server))[1])
    assert state["state"] == "finished"
    assert "labels" in state["line"]
    assert f'data-version="{state["version"]}"' in get(server, "/", **known(server))[1]


@pytest.mark.parametrize("path", ["/", "/state", "/live.js", "/?token=guessed", "/campaign.yaml"])
@pytest.mark.parametrize("headers", [{}, {"Cookie": "nothing"}, {"Cookie": "magflow-{port}=guessed"}])
def test_nothing_is_shown_without_the_token(server, path, headers):
    given = {k: v.format(port=server.server_port) for k, v in headers.items()}
    answer, text = get(server, path, **given)
    assert answer.status == 403
    assert text == "open the address that `magflow serve` has printed, with its token"


def test_other_names_files_and_methods_are_refused(server):
    assert get(server, "/", **known(server), Host=f"elsewhere.example:{server.server_port}")[0].status == 403
    for path in ("/campaign.yaml", "/../campaign.db", "/live.js/.."):
        assert get(server, path, **known(server))[0].status == 404
    assert get(server, "/", method="POST", **known(server))[0].status == 501


def test_a_store_that_is_away_is_said_and_asked_again(server, monkeypatch):
    monkeypatch.setattr(server.report, "_read", -1e9)
    identity = server.report.path / "campaign.json"
    content = identity.read_bytes()
    identity.unlink()
    answer, text = get(server, "/state", **known(server))
    assert answer.status == 503
    assert "no campaign here" in text
    replace_file(identity, content)
    assert get(server, "/state", **known(server))[0].status == 200


def test_what_cannot_be_served_is_refused(server, tmp_path):
    with pytest.raises(InputError, match="no campaign here"):
        ReportServer(tmp_path)
    with pytest.raises(InputError, match="cannot listen here"):
        ReportServer(server.report.path, port=server.server_port)


@needs_browser
def test_a_browser_renews_the_page_when_the_campaign_has_changed(server, monkeypatch, tmp_path: Path):
    report = server.report
    state, page = report.state(), report.page()
    later = state | {"version": "later", "state": "running", "line": "labels 7 of 9"}
    with Browser(tmp_path / "profile") as browser:
        browser.open(server.url)
        browser.value("document.querySelector('details').open = true")
        browser.click(HEAD)
        rows = browser.value(ROWS)
        monkeypatch.setattr(report, "state", lambda: later)
        monkeypatch.setattr(
            report, "page", lambda: page.replace(state["version"], "later").replace("<h1>", "<h1>New: ")
        )
        browser.value("poll()")
        assert browser.value("document.querySelector('h1').textContent").startswith("New: ")
        assert browser.value("document.getElementById('strip').dataset.version") == "later"
        assert browser.value("document.getElementById('strip').textContent") == "running labels 7 of 9"
        assert browser.value("document.querySelector('details').open"), "what the reader has opened stays open"
        assert browser.value(f"{HEAD}.parentNode.ariaSort") == "ascending", "what the reader has sorted stays sorted"
        assert browser.value(ROWS) == rows == sorted(rows, key=float)
        assert browser.value(f"document.activeElement === {HEAD}"), "and the keyboard where it was"
        assert browser.said == []
