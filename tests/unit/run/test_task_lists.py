"""What a plan's tasks may need of a machine's memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from job.plan.packing import FIT_MEMORY, UNPACKED
from job.run.assembly import assemble
from job.run.planning import plan_alone
from job.run.task_lists import memory_needs
from tests.support.folder_job import Job


def test_a_task_needs_what_its_largest_partition_does_unpacked(tmp_path: Path) -> None:
    job = Job(tmp_path)
    for name, size in (("a.csv.gz", 100), ("b.csv", 1000), ("c.CSV", 5000), ("d.parquet", 700)):
        job.put(name, b"x" * size)
    assembly = assemble(job.settings())
    plan = plan_alone(assembly)
    assert plan.keys["key"].to_pylist() == ["a", "b", "c", "d"]

    needs = memory_needs(plan, np.array([0, 1, 2, 3]), np.array([0, 0, 1, 2]))

    assert needs == (int(1000 * FIT_MEMORY), int(5000 * FIT_MEMORY), int(700 * UNPACKED * FIT_MEMORY))


def test_only_keys_that_are_due_count(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.put("a.csv", b"x" * 9000)
    job.put("b.csv", b"x" * 10)
    assembly = assemble(job.settings())
    plan = plan_alone(assembly)

    assert memory_needs(plan, np.array([1]), np.array([0])) == (int(10 * FIT_MEMORY),)
