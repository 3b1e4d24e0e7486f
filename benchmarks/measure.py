"""CPU time and memory of processes, from /proc alone: a process with all that it started, dead or alive."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_TICK = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_PDEATHSIG = 1
_PACKAGES = (
    "pyspark",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "joblib",
    "boto3",
    "obstore",
    "deltalake",
)


def adopt_orphans() -> None:
    """Become the parent of every orphan below this process, so that `tree` finds it."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Get SIGTERM when the parent ends, however it ends: nothing is left running behind a benchmark."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def say(text: str) -> None:
    """Tell how far a benchmark is, beside its results."""
    print(text, file=sys.stderr, flush=True)


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name is in brackets and may hold anything.
    return text[text.rindex(")") + 2 :].split()


def cpu_seconds(pid: int) -> float:
    """CPU seconds of one process and of its children that ended and were waited for."""
    fields = _stat(pid)
    return 0.0 if fields is None else sum(map(int, fields[11:15])) / _TICK


def tree(pid: int) -> list[int]:
    """A process and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields is not None:
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, left = [], [pid]
    while left:
        current = left.pop()
        found.append(current)
        left += children.get(current, [])
    return found


def tree_cpu(pid: int) -> float:
    """CPU seconds of a process and everything below it, ended children included."""
    return sum(map(cpu_seconds, tree(pid)))


def tree_cpu_by_name(pid: int) -> dict[str, float]:
    """The same, by the name of the program: ``java``, ``python`` and so on."""
    found: dict[str, float] = {}
    for each in tree(pid):
        try:
            name = Path(f"/proc/{each}/comm").read_text().strip()
        except OSError:
            continue
        found[name] = found.get(name, 0.0) + cpu_seconds(each)
    return found


def resident(pid: int) -> int:
    """Resident bytes of a process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def machine() -> dict[str, Any]:
    """What a figure depends on: processor, cores, memory, versions, load when it began."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    model = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
        "load_before": [round(each, 2) for each in os.getloadavg()],
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
