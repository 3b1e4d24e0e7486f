"""The node: namespaces, network and control groups of a one-node Kubernetes, without Docker and without a VM.

Its programs live in pid, mount, network, ipc and uts namespaces of their own; the host sees one process to end, one
veth link, two routes, one control group and four kernel settings, and `stop` takes all of them away again.
"""

import contextlib
import json
import os
import signal
import string
import subprocess
from pathlib import Path

import place
from place import CGROUP, HERE, HOST_ADDRESS, HOST_LINK, NODE_ADDRESS, POD_CIDR, PROCESSES, SERVICE_CIDR, STATE
from shell import Failed, run, succeeds, wait

KERNEL = ("vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops", "vm.panic_on_oom")
"""What a kubelet sets for the whole machine."""
GROUPS = Path("/sys/fs/cgroup")
S3 = {
    # accounts with fewer rights can be made through versitygw's admin API: --iam-dir keeps them
    "versitygw": ("/health", "--port :$port --health /health --iam-dir /iam posix --versioning-dir /versions /data"),
    "minio": ("/minio/health/ready", "server --address :$port --certs-dir /iam /data"),
}
"""Each server's readiness and arguments."""
if place.S3_SERVER not in S3:
    raise SystemExit(f"E2E_S3={place.S3_SERVER}: known are {' and '.join(S3)}")
VALUES = {
    "state": str(STATE), "node": NODE_ADDRESS, "pods": POD_CIDR, "services": SERVICE_CIDR, "cgroup": CGROUP,
    "dns": place.DNS_SERVICE, "s3": place.S3_SERVICE, "s3_port": str(place.S3_PORT),
    "s3_server": place.S3_SERVER, "s3_health": S3[place.S3_SERVER][0],
    "s3_args": json.dumps(S3[place.S3_SERVER][1].replace("$port", str(place.S3_PORT)).split()),
    "s3_key": place.S3_KEYS["AWS_ACCESS_KEY_ID"], "s3_secret": place.S3_KEYS["AWS_SECRET_ACCESS_KEY"],
}  # fmt: skip


def render(source: Path, **more: str) -> str:
    """A file of ours with its $names filled in."""
    return string.Template(source.read_text()).substitute(VALUES, **more)


def processes() -> tuple[int, int] | None:
    """The host's pids of `unshare` and of the node's first process, if the node runs."""
    try:
        outer, inner = (int(word) for word in PROCESSES.read_text().split())
    except (OSError, ValueError):
        return None
    try:
        command = Path(f"/proc/{inner}/cmdline").read_bytes()
    except OSError:
        return None
    # a pid may belong to somebody else by now
    return (outer, inner) if b"node.sh" in command else None


def groups() -> list[Path]:
    """Our control group in every hierarchy."""
    if (GROUPS / "cgroup.controllers").exists():
        raise Failed("this machine has control groups v2 only, which this cluster was never tried on; use kind there")
    return [path / CGROUP for path in GROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def make_groups(shares: int) -> None:
    for group in groups():
        group.mkdir(exist_ok=True)
    # every process of the root group weighs as much as our whole group: raise it, or Spark starves beside a build
    (GROUPS / "cpu" / CGROUP / "cpu.shares").write_text(str(shares))
    for name in ("cpuset.cpus", "cpuset.mems"):
        (GROUPS / "cpuset" / CGROUP / name).write_text((GROUPS / "cpuset" / name).read_text())


def remove_groups() -> bool:
    for group in groups():
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):  # a process is still ending: the caller asks again
                os.rmdir(folder)
    return not any(group.exists() for group in groups())


def start(tools: Path, shares: int) -> None:
    """Starts everything up to the API server's programs; the network is made while they wait for it."""
    for name in ("log", "ns", "etcd", "config"):
        (STATE / name).mkdir(parents=True, exist_ok=True)
    (STATE / "etcd").chmod(0o700)
    (STATE / "net-ready").unlink(missing_ok=True)
    (STATE / "resolv.conf").write_text("")
    (STATE / "kernel.json").write_text(json.dumps({name: run("sysctl", "-n", name).strip() for name in KERNEL}))
    for source in (HERE / "config").iterdir():
        (STATE / "config" / source.name).write_text(render(source))
    make_groups(shares)
    with (STATE / "log" / "node.log").open("ab") as log:
        outer = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", "bash", str(HERE / "node.sh")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "STATE": str(STATE), "TOOLS": str(tools), "NODE": NODE_ADDRESS, "PODS": POD_CIDR, "SERVICES": SERVICE_CIDR},
        )  # fmt: skip
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    wait("the node's first process", lambda: bool(children.exists() and children.read_text().split()), 60, 0.02)
    inner = int(children.read_text().split()[0])
    wait("node.sh", lambda: b"node.sh" in Path(f"/proc/{inner}/cmdline").read_bytes(), 60, 0.02)
    PROCESSES.write_text(f"{outer.pid} {inner}\n")
    connect(inner)
    (STATE / "net-ready").touch()


def connect(inner: int) -> None:
    inside = ("nsenter", "-t", str(inner), "-n")
    run("ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "eth0", "netns", str(inner))
    run("ip", "addr", "add", f"{HOST_ADDRESS}/{place.LINK_PREFIX}", "dev", HOST_LINK)
    run("ip", "link", "set", HOST_LINK, "up")
    run(*inside, "ip", "addr", "add", f"{NODE_ADDRESS}/{place.LINK_PREFIX}", "dev", "eth0")
    run(*inside, "ip", "link", "set", "eth0", "up")
    run(*inside, "ip", "link", "set", "lo", "up")
    # There is no default route, so nothing in the cluster reaches the world. The API server itself needs some route
    # to the services (the look-up comes before kube-proxy's rewriting); no packet ever takes this one.
    run(*inside, "ip", "route", "add", SERVICE_CIDR, "via", HOST_ADDRESS)
    for destination in (SERVICE_CIDR, POD_CIDR):  # so that tests on the host talk to services and pods
        run("ip", "route", "replace", destination, "via", NODE_ADDRESS)


def stop() -> None:
    """Ends the node and takes back what it changed on the host; what is not there is not missed."""
    running = processes()
    if running:
        os.kill(running[1], signal.SIGKILL)
        wait("the end of the node", lambda: not Path(f"/proc/{running[1]}").exists() or zombie(running[1]), 120, 0.05)
    if Path(f"/sys/class/net/{HOST_LINK}").exists():
        succeeds("ip", "link", "del", HOST_LINK)
    wait("the end of the control groups", remove_groups, 60, 0.2)
    saved = STATE / "kernel.json"
    if saved.exists():
        for name, value in json.loads(saved.read_text()).items():
            run("sysctl", "-q", "-w", f"{name}={value}")
        saved.unlink()
    for path in (PROCESSES, STATE / "net-ready", place.CLUSTER):
        path.unlink(missing_ok=True)
    lock = Path("/etc/cni/net.d/cni.lock")  # buildah makes it
    if lock.exists() and lock.stat().st_size == 0:
        lock.unlink()
    for folder in ("/etc/cni/net.d", "/etc/cni", "/var/lib/cni", "/var/lib/kubelet"):  # only our empty mount points
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True
