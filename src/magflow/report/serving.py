"""The report as a live page: a server that shows a campaign while it runs, to whoever holds its token."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from ipaddress import ip_address
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from magflow.campaign.directory import CampaignDirectory
from magflow.core.masking import mask
from magflow.errors import InputError, MagflowError
from magflow.execution.status import campaign_status, line
from magflow.presentation.page import script_hash
from magflow.report.page import render_served
from magflow.report.record import read_record

_FRESH = 1.0
"""Seconds for which a state that was read is shown to everybody who asks."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    f"script-src '{script_hash()}' 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class LiveReport:
    """State and page of one campaign, read anew when they are asked for and something has changed.

    Parameters
    ----------
    path
        Directory of the campaign.

    Raises
    ------
    InputError
        If there is no campaign.
    """

    def __init__(self, path: Path) -> None:
        CampaignDirectory.existing(path)
        self.path = path
        self._lock = Lock()
        self._state: dict[str, Any] = {}
        self._read = -_FRESH
        self._page: tuple[str, str] = ("", "")

    def state(self) -> dict[str, Any]:
        """`state` and `line` for people; `version` changes when the page does."""
        with self._lock:
            return self._current()

    def page(self) -> str:
        """The HTML page of the state."""
        with self._lock:
            state = self._current()
            if self._page[0] != state["version"]:
                self._page = state["version"], render_served(read_record(self.path), state)
            return self._page[1]

    def _current(self) -> dict[str, Any]:
        if time.monotonic() - self._read >= _FRESH:
            status = campaign_status(CampaignDirectory.existing(self.path))
            lasting = status.as_dict() | {"running": [], "seconds_left": None, "note": None, "queue": None}
            version = hashlib.sha256(json.dumps(lasting, sort_keys=True, default=str).encode()).hexdigest()[:16]
            said = "  ".join(filter(None, [line(status), status.note]))
            self._state = {"state": status.state, "line": mask(said), "version": version}
            self._read = time.monotonic()
        return self._state


@dataclass(frozen=True)
class _Answer:
    status: HTTPStatus
    kind: str
    text: str


class _Handler(BaseHTTPRequestHandler):
    """Answers GET for the page, its script and its state; nothing else is there."""

    server: ReportServer
    server_version = "magflow"
    sys_version = ""

    def do_GET(self) -> None:
        """Hook of the server."""
        asked = urlsplit(self.path)
        if not self.server.is_own(self.headers.get("Host", "")):
            return self._send(_Answer(HTTPStatus.FORBIDDEN, "text/plain", "another name than that of this server"))
        given = parse_qs(asked.query).get("token", [""])[0]
        if given and self.server.admits(given):
            return self._enter()
        if not self.server.admits(self._cookie()):
            said = "open the address that `magflow serve` has printed, with its token"
            return self._send(_Answer(HTTPStatus.FORBIDDEN, "text/plain", said))
        return self._send(self._answer(asked.path))

    def _answer(self, path: str) -> _Answer:
        report = self.server.report
        try:
            if path == "/":
                return _Answer(HTTPStatus.OK, "text/html", report.page())
            if path == "/state":
                return _Answer(HTTPStatus.OK, "application/json", json.dumps(report.state()))
        except MagflowError as error:  # a store that is busy or away for a moment: the page asks again
            return _Answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", mask(str(error)))
        if path == "/live.js":
            script = resources.files("magflow.report").joinpath("templates/live.js").read_text(encoding="utf-8")
            return _Answer(HTTPStatus.OK, "text/javascript", script)
        return _Answer(HTTPStatus.NOT_FOUND, "text/plain", "nothing here")

    def _cookie(self) -> str:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(self.server.cookie)
        except CookieError:
            return ""
        return "" if found is None else found.value

    def _enter(self) -> None:
        """Keep the token where no link, history or log shows it, and lead to the page."""
        self._send(
            _Answer(HTTPStatus.SEE_OTHER, "text/plain", ""),
            {
                "Location": "/",
                "Set-Cookie": f"{self.server.cookie}={self.server.token}; Path=/; HttpOnly; SameSite=Strict",
            },
        )

    def _send(self, answer: _Answer, more: Mapping[str, str] = {}) -> None:
        body = answer.text.encode()
        self.send_response(answer.status)
        headers = {"Content-Type": f"{answer.kind}; charset=utf-8", "Content-Length": str(len(body))}
        for name, value in {**_HEADERS, **headers, **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Hook of the server: requests hold the token, and nobody reads them."""


class ReportServer(ThreadingHTTPServer):
    """Serves the live report of one campaign.

    Parameters
    ----------
    path
        Directory of the campaign.
    host
        Address it listens at. Others than those of this machine's loopback are read by whoever is on the way.
    port
        0: any that is free.

    Raises
    ------
    InputError
        If there is no campaign, or the address cannot be listened at.
    """

    daemon_threads = True

    def __init__(self, path: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.report = LiveReport(path)
        self.token = secrets.token_urlsafe(18)
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(
                "cannot listen here", where=f"{host}:{port}", seen=str(error), hint="choose another --port, or leave it"
            ) from error

    @property
    def url(self) -> str:
        """Where a browser finds it, token included."""
        return f"http://{self.address}:{self.server_port}/?token={self.token}"

    @property
    def address(self) -> str:
        """The number it listens at."""
        return str(self.server_address[0])

    @property
    def is_private(self) -> bool:
        """Whether only this machine reaches it."""
        return ip_address(self.address).is_loopback

    @property
    def cookie(self) -> str:
        """Name of the cookie; ports of one host share their cookies."""
        return f"magflow-{self.server_port}"

    def admits(self, token: str) -> bool:
        """Whether `token` is the right one."""
        return secrets.compare_digest(token.encode(), self.token.encode())

    def is_own(self, host: str) -> bool:
        """Whether a request names this server: a page elsewhere may have its own name lead to a loopback address."""
        return not self.is_private or host in {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}
