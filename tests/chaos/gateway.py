"""versitygw on a folder: a real S3 server, where moto would be too slow, or too lenient.

Skipped where it was never built (``python3 tests/e2e/cluster/tools.py versitygw``; ``.ci/run`` builds it for its cluster).
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.support.built import find_versitygw

ROOT, SECRET = "root", "root-secret"


@dataclass(frozen=True)
class Gateway:
    """A server that answers."""

    binary: Path
    endpoint: str
    data: Path
    """each bucket is a folder in it, each object a file"""

    def client(self, account: str = ROOT) -> Any:
        """boto3, as an account whose secret is ``<account>-secret``."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=account,
            aws_secret_access_key=f"{account}-secret",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
        )

    def admin(self, *command: str) -> None:
        """The gateway's own administration."""
        root = ["--access", ROOT, "--secret", SECRET, "--endpoint-url", self.endpoint]
        subprocess.run([self.binary, "admin", *root, *command], check=True, capture_output=True)


@contextmanager
def gateway(folder: Path) -> Iterator[Gateway]:
    """Run a server for the time of a block, on an empty folder."""
    binary = find_versitygw()
    if binary is None:
        pytest.skip("versitygw was not built: python3 tests/e2e/cluster/tools.py versitygw")
    for name in ("data", "iam"):
        (folder / name).mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--access", ROOT, "--secret", SECRET, "--port", f"127.0.0.1:{port}", "--keep-alive", "--quiet"]
    process = subprocess.Popen(
        [binary, *options, "--iam-dir", folder / "iam", "posix", folder / "data"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield Gateway(binary, f"http://127.0.0.1:{port}", folder / "data")
    finally:
        process.kill()
        process.wait()
