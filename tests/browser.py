"""A headless Chromium that tests talk to over two pipes: the DevTools protocol without a port and without a library.

Messages are JSON that end in NUL (`--remote-debugging-pipe`). Everything the page complains about or asks the network
for is kept: `complaints`, `requests`.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FOUND = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
"""A browser on this machine; None: tests with one are skipped."""
_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
    "--no-first-run", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One page in one browser; used as a context manager."""

    def __init__(self, profile: Path) -> None:
        assert FOUND is not None
        mine, self._answers = os.pipe(), b""
        theirs = os.pipe()
        command = f'exec "$0" "$@" 3<&{mine[0]} 4>&{theirs[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, FOUND, *_ARGUMENTS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(mine[0], theirs[1]), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(mine[0])
        os.close(theirs[1])
        self._to, self._from = mine[1], theirs[0]
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def __enter__(self) -> Self:
        target = next(row for row in self.ask("Target.getTargets")["targetInfos"] if row["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._to)
        self._process.terminate()
        self._process.wait(timeout=120)
        os.close(self._from)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call *method* and return its result; notes what happens meanwhile."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._answers:
            more = os.read(self._from, 1 << 16)
            assert more, "the browser has gone"
            self._answers += more
        line, _, self._answers = self._answers.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, facts: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(facts["exceptionDetails"].get("text")))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(" ".join(str(each.get("value")) for each in facts["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(facts["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])

    def open(self, path: Path, *, width: int = 1280, height: int = 900) -> None:
        """Show the file at *path* in a window of that size and wait until it has loaded."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.ask("Page.navigate", url=path.resolve().as_uri())
        self.run("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def run(self, script: str) -> Any:
        """Return the value of *script*; a promise is awaited."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Send a mouse event: `mouseMoved`, `mousePressed` or `mouseReleased`."""
        pressed = kind != "mouseMoved"
        self.ask(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y,
            button="left" if pressed else "none", clickCount=int(pressed),
        )  # fmt: skip

    def press(self, key: str, code: int) -> None:
        """Press and release a key, by name and virtual code."""
        text = {"text": "\r"} if key == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def theme(self, name: str) -> None:
        """Prefer the `light` or the `dark` scheme."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path: Path) -> None:
        """Write what is seen to *path* as PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))
