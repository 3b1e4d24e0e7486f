"""A small S3 server on loopback whose answers can be scripted: faults before and after the effect, and lies."""

from __future__ import annotations

import bisect
import hashlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit
from xml.sax.saxutils import escape

DATE = "Mon, 23 Nov 2026 15:14:46 GMT"


@dataclass
class Request:
    """What a client sent."""

    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class S3Double:
    """Objects, the script of faults, and what was asked."""

    endpoint: str = ""
    objects: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    script: list[str] = field(default_factory=list)
    """next answers: ``503``, ``403 AccessDenied``, ``reset``, ``after:reset``, ``after:500``, ``hang``, ``cut``, ``page``, ``ok``"""
    requests: list[Request] = field(default_factory=list)
    page: int = 1000
    encodes: bool = True
    keys: list[str] = field(default_factory=list)
    """sorted names of a large bucket, listed with size 1 and not stored"""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def methods(self) -> list[str]:
        """The methods of the requests so far."""
        return [each.method for each in self.requests]


def _error(code: str, extra: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>as scripted</Message>{extra}</Error>".encode()


def _handler(double: S3Double) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def version_string(self) -> str:
            return "double"

        def date_time_string(self, timestamp: float | None = None) -> str:
            return DATE

        def send(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (OSError, ValueError):
                self.close_connection = True

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            key = unquote(parts.path).partition("/")[2].partition("/")[2]
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            with double.lock:
                double.requests.append(
                    Request(self.command, key, query, {k.lower(): v for k, v in self.headers.items()})
                )
                fault = double.script.pop(0) if double.script else "ok"
            after, _, fault = fault.rpartition(":")
            if fault == "reset" and not after:
                return self.reset()
            if fault == "hang":
                time.sleep(20)
                return self.reset()
            if fault == "page":
                return self.send(200, b"<!doctype html><html><body>Console</body></html>", Content_Type="text/html")
            if fault[0].isdigit() and not after:
                status, _, code = fault.partition(" ")
                extra = "<ServerTime>2026-11-23T17:00:00Z</ServerTime>" if "Skew" in code else ""
                extra += "<Region>eu-west-1</Region>" if "Malformed" in code else ""
                return self.send(int(status), _error(code or "Scripted", extra), Content_Type="application/xml")
            answer = self.answer(key, query, body)
            if after and fault == "reset":
                return self.reset()
            if after:
                return self.send(int(fault), _error("Scripted"))
            if fault == "cut":
                status, content, headers = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                return self.reset()
            status, content, headers = answer
            return self.send(status, content, **headers)

        def answer(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
            if not key and self.command == "GET":
                return 200, self.listing(query), {"Content_Type": "application/xml"}
            with double.lock:
                there = double.objects.get(key)
                if self.command == "PUT":
                    if self.headers.get("If-None-Match") == "*" and there is not None:
                        return 412, _error("PreconditionFailed"), {}
                    meta = {
                        name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")
                    }
                    double.objects[key] = (body, meta)
                    return 200, b"", {"ETag": _etag(body)}
            if there is None:
                return 404, _error("NoSuchKey"), {}
            content, meta = there
            headers = {"ETag": _etag(content), "Last_Modified": DATE, **meta}
            if self.headers.get("If-Match") not in (None, _etag(content)):
                return 412, _error("PreconditionFailed"), {}
            begin = self.headers.get("Range", "")
            if begin:
                offset = int(begin.removeprefix("bytes=").rstrip("-").partition("-")[0])
                headers["Content_Range"] = f"bytes {offset}-{len(content) - 1}/{len(content)}"
                return 206, content[offset:], headers
            return 200, content, headers

        def listing(self, query: dict[str, str]) -> bytes:
            encodes = double.encodes and query.get("encoding-type") == "url"
            keys = double.keys or sorted(double.objects)
            prefix = query.get("prefix", "")
            after = query.get("continuation-token") or query.get("start-after", "")
            begin = max(bisect.bisect_right(keys, after) if after else 0, bisect.bisect_left(keys, prefix))
            end = begin
            limit = min(int(query.get("max-keys", double.page)), double.page)
            while end < len(keys) and end - begin < limit and keys[end].startswith(prefix):
                end += 1
            more = end < len(keys) and keys[end].startswith(prefix)
            rows = "".join(
                f"<Contents><Key>{quote_plus(key, safe='/') if encodes else escape(key)}</Key>"
                f"<LastModified>2026-11-23T15:14:46.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>"
                for key in keys[begin:end]
            )
            token = f"<NextContinuationToken>{escape(keys[end - 1])}</NextContinuationToken>" if more else ""
            encoding = "<EncodingType>url</EncodingType>" if encodes else ""
            return (
                '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"{encoding}<IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
            ).encode()

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = serve  # noqa: N815

    return Handler


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Of as many connections at once as a listing opens none is dropped, which a client would wait a second for.
    request_queue_size = 128


@contextmanager
def s3_double(tls: ssl.SSLContext | None = None) -> Iterator[S3Double]:
    """The server, running."""
    double = S3Double()
    server = _Server(("127.0.0.1", 0), _handler(double))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    double.endpoint = (
        f"http://127.0.0.1:{server.server_port}" if tls is None else f"https://localhost:{server.server_port}"
    )
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
