"""Memory and cores of this machine, and the memory of a process.

On Linux the values come from ``/proc`` and the control groups; on other systems from psutil, a dependency only there.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process in bytes; None if the system does not report it."""
    try:
        return int((_PROC / f"{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return None if _PROC.exists() else _asked_resident(pid)


def _asked_resident(pid: int) -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def container_limit() -> int | None:
    """The memory limit of this container in bytes (cgroup v2 or v1); None if there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _text(_GROUPS / name)
        if text.isdigit() and int(text) < 1 << 50:
            return int(text)
    return None


def available_memory() -> int | None:
    """Bytes that can be used before the machine swaps or the container is killed; None if unknown."""
    found = []
    for line in _text(_PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    limit = container_limit()
    if limit is not None:
        # The page cache counts as available: the kernel frees it when a process needs memory.
        used = _text(_GROUPS / "memory.current") or _text(_GROUPS / "memory/memory.usage_in_bytes")
        files = [
            int(line.split()[1])
            for name in ("memory.stat", "memory/memory.stat")
            for line in _text(_GROUPS / name).splitlines()
            if line.startswith(("inactive_file ", "total_inactive_file "))
        ]
        found.append(limit - max(0, int(used or 0) - max(files, default=0)))
    return max(0, min(found)) if found else _asked_available()


def _asked_available() -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def usable_cores() -> int:
    """The number of cores that this process may use, by its affinity and by the CPU limit of its container."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota, _, period = _text(_GROUPS / "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(_GROUPS / "cpu/cpu.cfs_quota_us"), _text(_GROUPS / "cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period):
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
