"""``manyfit mlflow`` for a million models: wall and CPU seconds, and where they go; requests and bytes to the server.

    build/mlflow/bin/python -m benchmarks.mlflow_bridge [--keys 1000000] [--json FILE]

The published table is made without a fit. The registry is MLflow's own server on loopback, with sqlite. The command is
a process of its own, first for a new version, then again for the same one. ``make build/mlflow/.ready`` makes the
environment.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.index_scale import rows
from benchmarks.measure import end_with_parent, machine
from benchmarks.server import free_port

AIM = {"wall": 5.0, "requests": 10, "bytes": 50_000}


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """MLflow's server; its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, "--workers", "1"], stdout=log, stderr=log, preexec_fn=end_with_parent)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(
                        f"MLflow's server does not answer: {(folder / 'log').read_text()[-500:]}"
                    ) from None
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def one(output: str) -> dict[str, Any]:
    """The command, in this process."""
    begin, cpu = time.perf_counter(), time.process_time()
    import mlflow.pyfunc  # noqa: F401
    import requests

    imported, imported_cpu = time.perf_counter() - begin, time.process_time() - cpu
    sizes: list[int] = []
    send = requests.Session.send

    def counted(self: Any, request: Any, **options: Any) -> Any:
        body = request.body
        sizes.append(len(body) if isinstance(body, bytes | str) else int(request.headers.get("Content-Length") or 0))
        return send(self, request, **options)

    requests.Session.send = counted  # type: ignore[method-assign]
    from job.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["mlflow", output, "--name", "fleet", "--alias", "champion"]) == 0
    return {
        "wall": round(time.perf_counter() - begin, 2),
        "cpu": round(time.process_time() - cpu, 2),
        "importing_mlflow": {"wall": round(imported, 2), "cpu": round(imported_cpu, 2)},
        "requests": len(sizes),
        "bytes": sum(sizes),
    }


def measure(keys: int) -> dict[str, Any]:
    """A new version, then the same again."""
    from job.registry.index import Index
    from job.store import open_store

    with tempfile.TemporaryDirectory(prefix="manyfit-mlflow-") as root:
        output = Path(root) / "out"
        output.mkdir()
        Index(open_store(str(output))).release(rows(keys, 1), run="run-1")
        with registry(Path(root)) as address:
            environment = {**os.environ, "MLFLOW_TRACKING_URI": address, "MLFLOW_DISABLE_TELEMETRY": "true"}
            found = {}
            for name in ("new", "again"):
                command = [sys.executable, "-m", "benchmarks.mlflow_bridge", "--one", str(output)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
                found[name] = json.loads(done.stdout.strip().splitlines()[-1])
                print(f"{keys:,} models, {name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--one", metavar="OUTPUT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one)))
        return 0
    result = {"benchmark": "mlflow_bridge", "keys": given.keys, "aim": AIM, "machine": machine()}
    result["runs"] = found = measure(given.keys)
    text = json.dumps(result, indent=1)
    Path(given.json).write_text(text + "\n") if given.json else print(text)
    return int(found["new"]["requests"] > AIM["requests"] or found["new"]["bytes"] > AIM["bytes"])


if __name__ == "__main__":
    raise SystemExit(main())
