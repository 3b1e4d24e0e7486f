"""A local S3 server on loopback for the benchmarks: versitygw, or moto where Go is not there.

Started and stopped by its process id, bounded in time, its CPU time shown apart from everybody else's.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import cpu_seconds, end_with_parent

REPOSITORY = Path(__file__).resolve().parents[1]
BUCKET = "bench"
ACCESS, SECRET = "bench", "bench-not-a-secret"
_TOOLS = REPOSITORY / "tests" / "e2e" / "cluster" / "tools.py"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that answers."""

    kind: str
    """versitygw or moto"""
    endpoint: str
    """``http://127.0.0.1:port``"""
    pid: int
    """of the server's process"""
    folder: Path | None
    """where versitygw keeps the bucket, as plain files; None for moto"""

    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        return cpu_seconds(self.pid)

    def environment(self) -> dict[str, str]:
        """What boto3 and obstore read."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def versitygw() -> Path | None:
    """The gateway's binary, built once from the module that the test cluster pins; None where that does not work."""
    given = os.environ.get("BENCH_S3")
    if given == "moto" or not shutil.which("go"):
        return None
    done = subprocess.run([sys.executable, str(_TOOLS), "versitygw"], capture_output=True, text=True, check=False)
    path = Path(done.stdout.strip() or "/nonexistent")
    return path if done.returncode == 0 and path.exists() else None


@contextmanager
def serve(folder: Path | None = None) -> Iterator[Server]:
    """Run a server for the time of a block; its data goes with it unless a folder is given."""
    root = Path(folder or tempfile.mkdtemp(prefix="manyfit-bench-"))
    root.mkdir(parents=True, exist_ok=True)
    # Before the port is chosen: building it takes minutes, in which somebody else might take the port.
    binary = versitygw()
    port = free_port()
    log = (root / "server.log").open("wb")
    environment: dict[str, str] = dict(os.environ)
    if binary:
        data = root / "data"
        (data / BUCKET).mkdir(parents=True, exist_ok=True)
        environment |= {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET}
        command = [str(binary), "--port", f"127.0.0.1:{port}", "--keep-alive", "--quiet", "posix", str(data)]
    else:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        command, stdout=log, stderr=log, env=environment, start_new_session=True, preexec_fn=end_with_parent
    )
    try:
        _wait(port, process)
        server = Server(
            kind="versitygw" if binary else "moto",
            endpoint=f"http://127.0.0.1:{port}",
            pid=process.pid,
            folder=root / "data" / BUCKET if binary else None,
        )
        if not binary:
            client(server).create_bucket(Bucket=BUCKET)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        if folder is None:
            shutil.rmtree(root, ignore_errors=True)


def client(server: Server) -> Any:
    """A boto3 client of the server."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the S3 server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the S3 server does not answer")
