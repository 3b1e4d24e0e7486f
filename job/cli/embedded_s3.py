"""An S3-compatible server on the loopback, in memory: for ``manyfit demo`` and for tests. Needs ``manyfit[demo]``.

The server runs in a process of its own, which ends with its parent. In the same process, a client that holds the
interpreter's lock while it waits would block the server for ever. moto answers like S3, and takes create-only puts, but
it checks and writes in two steps: of 16 clients that create one object at once, two may succeed now and then (our own
admission test found it). So a lock lets only one conditional write run at a time.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from job.errors import SetupError

_MISSING = "no moto"


class EmbeddedS3:
    """The server, on a free port; use as a context manager.

    Raises
    ------
    SetupError
        moto is not installed.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "job.cli.embedded_s3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if not said.startswith("http"):
            self.__exit__()
            raise SetupError("the embedded S3 server is not installed", hint="Install it: pip install 'manyfit[demo]'.")
        self.endpoint = said

    def __enter__(self) -> EmbeddedS3:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _OneWriter:
    """A WSGI application that lets one conditional write run at a time."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        conditional = "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MATCH" in environ
        if environ.get("REQUEST_METHOD") in ("PUT", "POST") and conditional:
            with self._lock:
                return list(self._app(environ, start_response))
        return self._app(environ, start_response)


def main() -> None:
    """Serve until standard input closes. It closes when the parent ends, even if the parent is killed."""
    import logging
    import signal

    # Ctrl-C is for the parent; this process ends when the parent ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server
    except ImportError:
        print(_MISSING, flush=True)
        return
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = _OneWriter(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
