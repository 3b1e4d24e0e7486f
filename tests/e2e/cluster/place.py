"""Where the test cluster's things lie, and the addresses and names that more than one program must agree on.

Nothing here does anything. Two directories: the *cache* holds what is expensive and depends only on pins (tools,
images); the *state* is one cluster's and is thrown away with it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]


def cache(environ: Mapping[str, str]) -> Path:
    """Where tools and images are kept: `E2E_CACHE`, or a folder in the user's cache. Tests and benchmarks ask here, too."""
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("E2E_CACHE") or Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "manyfit")


CACHE = cache(os.environ)
STATE = Path(os.environ.get("E2E_STATE") or "/var/lib/manyfit-e2e")

PKI = STATE / "pki"
LOGS = STATE / "log"
KUBECONFIG = PKI / "admin.kubeconfig"
CONTAINERD = STATE / "containerd.sock"
PROCESSES = STATE / "pids"
"""The pid of `unshare` on the host and of the node's first process, while the cluster is up."""
CLUSTER = STATE / "cluster.json"
"""What the tests read: the kubeconfig, the tools' paths, the S3 endpoint, the image, the timings."""

# 198.18.0.0/15 is set aside for benchmarks of networks: no host has a route of its own there
NODE_ADDRESS, HOST_ADDRESS, LINK_PREFIX = "198.18.250.2", "198.18.250.1", 30
POD_CIDR, SERVICE_CIDR = "198.18.0.0/24", "198.19.0.0/16"
API_SERVICE, DNS_SERVICE, S3_SERVICE = "198.19.0.1", "198.19.0.10", "198.19.0.20"
HOST_LINK = "manyfit0"
CGROUP = "manyfit-e2e"

S3_SERVER = os.environ.get("E2E_S3") or "versitygw"
"""Or `minio`, which the full run tries, too."""
S3_PORT = 9000
S3_ENDPOINT = f"http://{S3_SERVICE}:{S3_PORT}"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "e2e", "AWS_SECRET_ACCESS_KEY": "e2e-not-a-secret"}

IMAGE = "localhost/manyfit:e2e"
IMAGE_S3A = "localhost/manyfit:e2e-s3a"
OPERATOR_IMAGE = "localhost/spark-operator:e2e"
