"""A headless Chromium driven over its DevTools protocol: no driver, no download, only aiohttp."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --remote-debugging-port=0 --window-size=1240,900"
    " --use-fake-device-for-media-stream --use-fake-ui-for-media-stream --autoplay-policy=no-user-gesture-required"
).split()
PATIENCE = 300.0


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self._socket, self._numbers = socket, itertools.count(1)
        self.errors: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One DevTools command and its result; console errors seen on the way are kept."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=PATIENCE)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(message["params"]["exceptionDetails"]))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(str(message["params"]["entry"]))

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression (or promise) comes to."""
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait for it to be true."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not await self.value(expression):
            assert asyncio.get_running_loop().time() < deadline, f"{expression} never came true"
            await asyncio.sleep(0.1)

    async def screenshot(self, path: Path) -> None:
        """The window as a PNG."""
        result = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(result["data"]))


@asynccontextmanager
async def browse(url: str, microphone: Path) -> AsyncIterator[Page]:
    """A tab at `url`, whose microphone plays a wav file over and over."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:  # its children may outlive it a moment, and write
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", f"--use-file-for-fake-audio-capture={microphone}", url]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, **quiet, start_new_session=True)
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(await _tab(http, Path(profile), url), max_msg_size=0) as socket,
            ):
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                await page.until(f"location.href.startsWith('{url}') && document.readyState === 'complete'")
                yield page
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def _tab(http: aiohttp.ClientSession, profile: Path, url: str) -> str:
    """The DevTools address of the tab at `url`, once the browser is there."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while asyncio.get_running_loop().time() < deadline:
        port = profile / "DevToolsActivePort"
        if port.exists() and (lines := port.read_text().split()):
            async with http.get(f"http://127.0.0.1:{lines[0]}/json") as answer:
                for tab in await answer.json():
                    if tab["type"] == "page" and tab["url"].startswith(url):
                        return str(tab["webSocketDebuggerUrl"])
        await asyncio.sleep(0.1)
    raise TimeoutError("Chromium did not come up")
