"""What a recipe's own code leaves behind reaches neither the next key nor the end of the process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from job.fit import contained as module
from job.fit.contained import contained

CHANGES = {
    "a setting of scikit-learn": (
        "import sklearn; sklearn.set_config(transform_output='pandas')",
        "sklearn.get_config()",
    ),
    "the working folder": ("os.chdir('/')", "os.getcwd()"),
    "the environment": ("os.environ['SHOP'] = '1'; os.environ.pop('HOME', None)", "dict(os.environ)"),
    "numpy's answer to errors": ("import numpy; numpy.seterr(all='raise')", "numpy.geterr()"),
    "an option of pandas": (
        "import pandas; pandas.options.mode.copy_on_write = True",
        "pandas.options.mode.copy_on_write",
    ),
    "where modules are looked for": ("sys.path.insert(0, '/nowhere')", "sys.path"),
    "the standard streams": ("sys.stdout = open(os.devnull, 'w')", "sys.stdout"),
    "the depth of recursion": ("sys.setrecursionlimit(12345)", "sys.getrecursionlimit()"),
    "filters of warnings": ("import warnings; warnings.simplefilter('error')", "warnings.filters"),
    "digits of decimals": ("import decimal; decimal.getcontext().prec = 3", "decimal.getcontext().prec"),
    "garbage collection": ("import gc; gc.disable()", "gc.isenabled()"),
    "a timeout of sockets": ("import socket; socket.setdefaulttimeout(1)", "socket.getdefaulttimeout()"),
    "handlers of signals": ("import signal; signal.signal(15, signal.SIG_IGN)", "signal.getsignal(15)"),
    "logging": (
        "import logging; logging.disable(50); logging.basicConfig(level=5, force=True)",
        "logging.root.handlers",
    ),
    "whether anything is logged": ("import logging; logging.disable(50)", "logging.root.manager.disable"),
}


def test_what_the_code_changes_is_set_back(tmp_path: Path) -> None:
    """In a process of its own, which the test's own settings do not reach."""
    script = """
        import decimal, gc, json, logging, os, signal, socket, sys, warnings
        import numpy, pandas, sklearn
        from job.fit.contained import contained

        def seen(look):
            found = eval(look)
            return list(found) if isinstance(found, list) else found

        for what, (change, look) in json.loads(sys.argv[1]).items():
            before = seen(look)
            with contained():
                exec(change)
                assert seen(look) != before, f"{what}: the test changes nothing"
            assert seen(look) == before, f"{what}: {seen(look)}"
    """
    done = run(script, tmp_path, json.dumps(CHANGES))
    assert done.returncode == 0, done.stderr


def run(script: str, folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def test_what_is_changed_is_set_back_after_an_error() -> None:
    before = os.getcwd()

    def fails() -> None:
        os.chdir("/")
        os.chdir("/nowhere/at/all")

    with pytest.raises(FileNotFoundError), contained():
        fails()
    assert os.getcwd() == before


def test_a_working_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    done = run(
        """
        import os, tempfile
        from job.fit.contained import contained
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        os.rmdir(folder)
        with contained():
            pass
        with contained():
            os.chdir("/")
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


FORK = """
    import os, sys
    from job.fit.contained import contained
    with contained():
        child = os.fork()
        if child == 0 and {fails}:
            raise RuntimeError("in the child")
        if child:
            _, status = os.waitpid(child, 0)
    print("after", child != 0, os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.mark.parametrize("fails", [True, False])
def test_a_child_that_the_code_forks_and_that_comes_back_ends_there(tmp_path: Path, fails: bool) -> None:
    """It would go on as if it were the worker: train the other keys, wait for uploads that no thread makes."""
    done = run(FORK.format(fails=fails), tmp_path)
    assert done.stdout == f"after True {int(fails)}\n"
    assert ("RuntimeError: in the child" in done.stderr) is fails
    assert done.returncode == 0


def test_files_that_are_left_open_fail_keys_by_name_and_leave_some_for_the_models(tmp_path: Path) -> None:
    done = run(
        """
        import os
        from job.errors import PartitionError
        from job.fit.contained import contained
        LEFT = []
        for key in "abcdef":
            try:
                with contained():
                    for _ in range(60):
                        LEFT.append(open(os.devnull))
                print(key, "fitted")
            except OSError:
                print(key, "failed")
            except PartitionError as error:
                print(key, error.reason, "files are open" in error.message, "with open" in error.hint)
                mine = [open(os.devnull) for _ in range(20)]
                [each.close() for each in mine]
        """,
        tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "a fitted"
    assert lines[-1] == "f fit_error True True"


def test_code_that_closes_its_files_is_never_refused() -> None:
    for _ in range(300):
        with contained(), open(os.devnull) as file:
            assert file
    assert module._KEPT._held


def test_libraries_that_ask_for_the_number_of_cores_get_one() -> None:
    import joblib

    before = joblib.cpu_count()
    with contained():
        assert joblib.cpu_count() == 1
    assert joblib.cpu_count() == before
