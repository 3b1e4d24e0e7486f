"""A set that was opened before a fork says in the child what to do, with an error that can be caught."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support.folder_job import Job, line

SCRIPT = """
    import os, sys
    from job import ModelSet
    from job.errors import StoreError

    models = ModelSet.open(sys.argv[1])
    models.metrics()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        for what in (lambda: models.info("a"), lambda: models.metrics(), lambda: ModelSet.open(sys.argv[1])):
            try:
                what()
                print("works")
            except StoreError as error:
                print("forked" in error.message and "spawn" in error.hint)
        sys.stdout.flush()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_an_inherited_set_raises_what_can_be_caught(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.put("a.csv.gz", line(2.0))
    job.run()
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(job.out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = done.stdout.split()
    assert lines[-1] == "0", done.stderr
    assert set(lines[:-1]) <= {"True", "works"}, done.stdout
    assert len(lines) == 4
    assert "panic" not in done.stderr
