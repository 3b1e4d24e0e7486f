"""Memory and cores, as Linux says them in files, and as psutil says them where there are no such files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from job.worker import machine

GB = 1 << 30


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GB available, whose processes have the affinity of this one, and no container."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(f"MemTotal: {16 * GB // 1024} kB\nMemAvailable: {8 * GB // 1024} kB\n")
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return tmp_path


def group(system: Path, **files: str) -> None:
    for name, text in files.items():
        path = system / "cgroup" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_without_a_container_the_machine_s_own_memory_and_affinity_count(system: Path) -> None:
    assert (machine.available_memory(), machine.container_limit(), machine.usable_cores()) == (8 * GB, None, 8)


def test_a_container_has_what_its_limit_leaves_and_what_the_kernel_would_give_back(system: Path) -> None:
    group(
        system,
        memory_max=str(4 * GB),
        memory_current=str(3 * GB),
        memory_stat=f"anon 1\ninactive_file {GB}",
        cpu_max="150000 100000",
    )

    assert (machine.available_memory(), machine.container_limit(), machine.usable_cores()) == (2 * GB, 4 * GB, 2)


def test_a_container_without_limits_has_those_of_the_machine(system: Path) -> None:
    group(system, memory_max="max", cpu_max="max 100000")

    assert (machine.available_memory(), machine.container_limit(), machine.usable_cores()) == (8 * GB, None, 8)


def test_this_process_uses_memory_and_one_that_is_not_there_none(tmp_path: Path) -> None:
    used = machine.resident_bytes(os.getpid())

    assert used is not None
    assert used > 10_000_000
    assert machine.resident_bytes(1 << 30) is None


def test_where_there_is_no_proc_psutil_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PROC", tmp_path / "no-proc")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "no-groups")
    used = machine.resident_bytes(os.getpid())
    free = machine.available_memory()

    assert used is not None
    assert free is not None
    assert used > 10_000_000
    assert free > 10_000_000
    assert machine.resident_bytes(1 << 30) is None
