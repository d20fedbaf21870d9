"""A headless Chromium that a test types and clicks in: its DevTools protocol over two pipes, no driver in between."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROGRAM = "chromium"
needs_browser = pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM} is not on PATH")

_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run")
_KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class Browser:
    """One tab. Chromium reads commands from its descriptor 3 and answers on 4, a NUL behind each.

    Parameters
    ----------
    profile
        Directory for what it keeps.
    """

    def __init__(self, profile: Path) -> None:
        reads, self._out = os.pipe()
        answers, writes = os.pipe()
        command = ["bash", "-c", f'exec "$@" 3<&{reads} 4>&{writes}', "bash", PROGRAM, *_FLAGS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}"], pass_fds=(reads, writes), stderr=subprocess.DEVNULL
        )
        os.close(reads)
        os.close(writes)
        self._in = os.fdopen(answers, "rb")
        self._rest = b""
        self._asked = 0
        self._session: str | None = None
        self.said: list[str] = []
        """What the page said to its console, refusals of its security policy among it."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Runtime"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        self._ask("Browser.close")
        self._process.wait(30)
        os.close(self._out)
        self._in.close()

    def open(self, url: str) -> None:
        """Go there, and wait until the page is loaded."""
        self._ask("Page.navigate", url=url)
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def look(self, width: int, height: int, scheme: str = "light") -> None:
        """Size of the window and colours that the reader prefers."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def value(self, expression: str) -> Any:
        """What the page makes of a JavaScript expression; a promise is awaited."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key of the keyboard, down and up."""
        code = {"key": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"text": "\r" if key == "Enter" else key} if key != "Tab" else {}
        self._ask("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **code)

    def click(self, element: str) -> None:
        """The mouse on the middle of what a JavaScript expression names."""
        box = "e.scrollIntoView({block: 'center'}); const {x, y, width, height} = e.getBoundingClientRect()"
        x, y = self.value(f"(e => {{ {box}; return [x + width / 2, y + height / 2] }})({element})")
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._asked += 1
        question = {"id": self._asked, "method": method, "params": parameters}
        if self._session:
            question["sessionId"] = self._session
        os.write(self._out, json.dumps(question).encode() + b"\0")
        while (answer := self._message()).get("id") != self._asked:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._in.fileno(), 65536)
            assert more, "the browser has ended"
            self._rest += more
        first, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        if message.get("method") == "Log.entryAdded":
            self.said.append(message["params"]["entry"]["text"])
        return message
