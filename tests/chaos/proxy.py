"""An HTTP proxy in front of an S3 server that breaks chosen requests and answers, and keeps a log of what was stored.

Signed bytes go through unchanged. A fault is applied to requests of one kind, a number of times: before the server sees
the request, or after it has carried it out. Every successful PUT's key and body digest is logged, so that an overwrite
with other bytes can be seen afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

KINDS = (
    "input_get",
    "model_put",
    "model_head",
    "segment_put",
    "segment_get",
    "plan_put",
    "release_put",
    "release_list",
)
"""Requests of our protocol that are broken, each alone."""

FAULTS = (
    "status_500",
    "status_503",
    "status_429",
    "status_409",
    "refused",
    "reset_before",
    "reset_after",
    "timeout_after",
    "truncated",
    "late_duplicate",
)
"""What happens to them. ``…_after``: the server has done it, the answer is lost. ``late_duplicate``: delivered again
when the run is over."""


def kind_of(method: str, path: str) -> str | None:
    """Which of `KINDS` a request is; ``path`` is the request target."""
    parts = urlsplit(path)
    key = unquote(parts.path).partition("/")[2].partition("/")[2]
    query = parse_qs(parts.query)
    if method == "GET" and key.startswith("in/"):
        return "input_get"
    if key.startswith("out/models/"):
        return {"PUT": "model_put", "HEAD": "model_head"}.get(method)
    if "/segments/" in key and key.startswith("out/runs/"):
        return {"PUT": "segment_put", "GET": "segment_get"}.get(method)
    if "/plan/" in key and method == "PUT":
        return "plan_put"
    if key.startswith("out/index/_delta_log/") and method == "PUT":
        return "release_put"
    if method == "GET" and any("out/index/_delta_log" in prefix for prefix in query.get("prefix", [])):
        return "release_list"
    return None


SCORING_KINDS = ("model_get", "part_put", "segment_put", "predictions_put", "states_put", "errors_put")
"""Requests of a scoring whose output is ``scores/``, each alone."""


def scoring_kind_of(method: str, path: str) -> str | None:
    """Which of `SCORING_KINDS` a request is."""
    key = unquote(urlsplit(path).path).partition("/")[2].partition("/")[2]
    if method == "GET" and key.startswith("out/models/"):
        return "model_get"
    if method != "PUT" or not key.startswith("scores/"):
        return None
    places = {
        "predictions/parts/": "part_put",
        "predictions/_delta_log/": "predictions_put",
        "index/_delta_log/": "states_put",
        "errors/_delta_log/": "errors_put",
    }
    rest = key.removeprefix("scores/")
    found = next((kind for place, kind in places.items() if rest.startswith(place)), None)
    return "segment_put" if "/segments/" in rest else found


@dataclass
class Fault:
    """One thing that goes wrong."""

    kind: str
    fault: str
    times: int
    """how often; a negative number: always"""
    hits: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, kind: str | None) -> bool:
        """Whether this request is hit."""
        with self.lock:
            if kind != self.kind or self.times == 0:
                return False
            self.times -= 1
            self.hits += 1
            return True


@dataclass
class Stored:
    """A successful PUT."""

    key: str
    digest: str
    conditional: bool


class FaultProxy:
    """The proxy; use as a context manager. ``endpoint`` is what the job is given."""

    def __init__(self, target: str) -> None:
        host = urlsplit(target)
        self.target = (str(host.hostname), int(host.port or 80))
        self.fault: Fault | None = None
        self.kind_of: Callable[[str, str], str | None] = kind_of
        self.rate: Callable[[str, str], str | None] = lambda method, path: None
        self.stored: list[Stored] = []
        self.requests: list[tuple[str, str, int]] = []
        self.late: list[tuple[str, str, dict[str, str], bytes]] = []
        self._here = threading.local()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None: ...

            def _any(self) -> None:
                proxy.handle(self)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _any  # noqa: N815

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None: ...

        self.server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """One request, with or without a fault."""
        body = _body(request)
        kind = self.kind_of(request.command, request.path)
        fault = self.fault.fault if self.fault and self.fault.take(kind) else self.rate(request.command, request.path)
        if fault and fault.startswith("status_"):
            return self._refuse(request, int(fault[7:]))
        if fault in ("refused", "reset_before"):
            return _reset(request)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
        if fault == "late_duplicate":
            self.late.append((request.command, request.path, headers, body))
        status, answered, data = self._forward(request.command, request.path, headers, body)
        if fault == "reset_after":
            return _reset(request)
        if fault == "timeout_after":
            time.sleep(2.5)
            return _reset(request)
        try:
            request.send_response_only(status)
            for name, value in answered:
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    request.send_header(name, value)
            length = next((v for n, v in answered if n.lower() == "content-length"), str(len(data)))
            request.send_header("Content-Length", length if request.command == "HEAD" else str(len(data)))
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(data[: len(data) // 2] if fault == "truncated" else data)
        except OSError:
            return
        if fault == "truncated":
            _reset(request)

    def _forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = self._connection()
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "content-length"):
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            if method == "PUT" and answer.status < 300:
                key = unquote(urlsplit(path).path)
                conditional = any(name.lower() == "if-none-match" for name in headers)
                self.stored.append(Stored(key, hashlib.sha256(body).hexdigest(), conditional))
            self.requests.append((method, path, answer.status))
            return answer.status, answer.getheaders(), data
        except BaseException:
            connection.close()
            raise

    def _connection(self) -> http.client.HTTPConnection:
        """One for each of the clients' connections, as long as both sides keep it."""
        if not hasattr(self._here, "connection"):
            self._here.connection = http.client.HTTPConnection(*self.target, timeout=60)
        made: http.client.HTTPConnection = self._here.connection
        return made

    def _refuse(self, request: BaseHTTPRequestHandler, status: int) -> None:
        code = {500: "InternalError", 503: "SlowDown", 429: "TooManyRequests", 409: "ConditionalRequestConflict"}[
            status
        ]
        data = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        self.requests.append((request.command, request.path, status))
        request.send_response_only(status)
        request.send_header("Content-Type", "application/xml")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def deliver_late(self) -> int:
        """Send the requests again that were to be doubled; returns how many."""
        for method, path, headers, body in self.late:
            self._forward(method, path, headers, body)
        count, self.late = len(self.late), []
        return count

    def overwritten(self) -> list[str]:
        """Keys that were stored with two different bodies, though they may never be: all but what is derived."""
        seen: dict[str, set[str]] = {}
        for each in self.stored:
            derived = each.key.endswith(
                (
                    "progress.json",
                    "heartbeat.json",
                    "latest.json",
                    "report.html",
                    "outcomes.parquet",
                    "_last_checkpoint",
                )
            )
            if not derived and "/failures/" not in each.key and "/in/" not in each.key and "/.probe/" not in each.key:
                seen.setdefault(each.key, set()).add(each.digest)
        return [key for key, digests in seen.items() if len(digests) > 1]


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Expect", "").lower() == "100-continue":
        request.send_response_only(100)
        request.end_headers()
    if request.headers.get("Transfer-Encoding", "").lower() == "chunked":
        parts = []
        while size := int(request.rfile.readline().split(b";")[0], 16):
            parts.append(request.rfile.read(size))
            request.rfile.readline()
        request.rfile.readline()
        return b"".join(parts)
    return request.rfile.read(int(request.headers.get("Content-Length") or 0))


def _reset(request: BaseHTTPRequestHandler) -> None:
    """Close without a word, so that the client sees a reset."""
    request.close_connection = True
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        request.connection.shutdown(socket.SHUT_RDWR)
    request.connection.close()
