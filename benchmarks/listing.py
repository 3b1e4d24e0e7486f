"""A server that speaks just enough S3 to list a million objects quickly: how fast the client is, not the server.

    python -m benchmarks.listing PORT COUNT [CHANGED]

``CHANGED``: every so-many-th object has another ETag than without it. Requests are counted: GET /counts.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

BUCKET, PREFIX = "listing", "in/"
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>listing</Name><EncodingType>url</EncodingType><KeyCount>{count}</KeyCount><MaxKeys>1000</MaxKeys>"
    "<IsTruncated>{more}</IsTruncated>{token}"
)


def names(count: int) -> list[str]:
    """Keys in the order of a bucket, 97 folders of devices."""
    return sorted(f"{PREFIX}c{number % 97:02d}/device-{number:07d}.csv.gz" for number in range(count))


def _entry(name: str, number: int, changed: int) -> str:
    etag = f"{number:032x}" if not changed or number % changed else f"f{number:031x}"
    return (
        f"<Contents><Key>{quote(name)}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><Size>{30_000 + number % 20_000}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def main() -> None:
    """Serve until ended."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    changed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    keys = names(count)
    entries = [_entry(name, number, changed) for number, name in enumerate(keys)]
    counts: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            kind = "counts" if url.path == "/counts" else "list" if "list-type" in query else "object"
            counts[kind] = counts.get(kind, 0) + 1
            if kind == "counts":
                self._answer(json.dumps(counts).encode())
                return
            if kind == "object":
                self.send_error(404)
                return
            prefix = query.get("prefix", "")
            after = query.get("continuation-token") or query.get("start-after") or ""
            begin = bisect_right(keys, after) if after else 0
            most = int(query.get("max-keys", 1000))
            end = min(begin + most, count) if prefix in ("", PREFIX) else begin
            more = prefix in ("", PREFIX) and end < count
            token = f"<NextContinuationToken>{quote(keys[end - 1])}</NextContinuationToken>" if more else ""
            head = _HEAD.format(count=end - begin, more=str(more).lower(), token=token)
            self._answer(f"{head}{''.join(entries[begin:end])}</ListBucketResult>".encode())

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Date", formatdate(usegmt=True))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    Handler.disable_nagle_algorithm = True  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
