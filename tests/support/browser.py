"""A page in Chromium: what it says on the console, what it asks for, how it looks, and how it is printed."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_CONSOLE = re.compile(r":(INFO|WARNING|ERROR):CONSOLE[:(]\d+\)?\] (.*)")


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a browser made of a page."""

    console: list[str]
    requests: list[str]
    """paths that were asked for, that of the page first"""
    png: bytes


def chromium() -> str:
    """The browser; a skip where there is none, which fails in continuous integration."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium: make browser installs it")
    return found


class _Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def look(page: Path, *, width: int = 1100, height: int = 3000, dark: bool = False) -> Looked:
    """Open a page from a server of our own, and take its picture."""
    browser, asked = chromium(), list[str]()
    handler = type("Handler", (_Handler,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(page.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            picture = Path(profile, "page.png")
            command = [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
                *("--disable-component-update", "--no-first-run", "--hide-scrollbars", "--enable-logging=stderr"),
                *(f"--user-data-dir={profile}/data", f"--window-size={width},{height}", f"--screenshot={picture}"),
                *(["--blink-settings=preferredColorScheme=0"] if dark else []),
                f"http://127.0.0.1:{server.server_address[1]}/{page.name}",
            ]
            environment = {**os.environ, "HOME": profile, "NO_PROXY": "127.0.0.1"}
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
            assert picture.exists(), done.stderr[-2000:]
            said = [match[2] for line in done.stderr.splitlines() if (match := _CONSOLE.search(line))]
            return Looked(console=said, requests=asked, png=picture.read_bytes())
    finally:
        server.shutdown()
        server.server_close()


def printed(page: Path) -> int:
    """The number of pages that it has on paper."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        file = Path(profile, "page.pdf")
        command = [
            *(chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--disable-component-update", "--no-first-run", f"--user-data-dir={profile}/data"),
            *("--no-pdf-header-footer", f"--print-to-pdf={file}", page.as_uri()),
        ]
        environment = {**os.environ, "HOME": profile}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
        assert file.exists(), done.stderr[-2000:]
        return len(re.findall(rb"/Type\s*/Page\b", file.read_bytes()))
