"""The process ends when the command is done, whatever the recipe's code has left running."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

FIT = """
    import multiprocessing, threading, time
    from sklearn.linear_model import LinearRegression

    def fit(frame, key):
        if key == "a":
            threading.Thread(target=time.sleep, args=(3600,)).start()
            multiprocessing.Process(target=time.sleep, args=(3600,)).start()
        with multiprocessing.Pool(2) as pool:  # ends its processes by SIGTERM
            pool.map(abs, range(4))
        return LinearRegression().fit(frame[["x"]], frame["y"])
"""
JOB = """
    input: {uri: in}
    recipe: {function: "fit.py:fit"}
    output: {uri: out}
    spark: {master: inline}
"""


def test_a_thread_and_a_process_that_a_function_left_running_keep_nothing_alive(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for key in "ab":
        (tmp_path / "in" / f"{key}.csv").write_text("x,y\n1,2\n2,4\n3,6\n")
    (tmp_path / "fit.py").write_text(textwrap.dedent(FIT))
    (tmp_path / "job.yaml").write_text(textwrap.dedent(JOB))
    command = [sys.executable, "-m", "job.cli.main", "run", "-c", "job.yaml", "--log-format", "text"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "2 planned = 2 trained" in done.stderr
    assert "ended without waiting for what the recipe left running: the thread 'Thread-1" in done.stderr
    assert "the process " in done.stderr
    assert "Traceback" not in done.stderr


ENDS = """
    import atexit, sys
    from job.cli import main

    class Kept:
        def __del__(self):
            print("the interpreter was taken down")

    kept = Kept()
    atexit.register(print, "handler")
    main.main = lambda: 3
    main.entry()
"""


def test_the_exit_handlers_are_called_and_the_interpreter_is_not_taken_down(tmp_path: Path) -> None:
    """Threads of Arrow could abort it meanwhile, and a run that has published would end with exit code 134."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(ENDS)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "handler\n", "")


FORKS = """
    import os, signal, time
    from job.cli import forks, main

    signal.signal(signal.SIGTERM, main._terminated)
    forks.end_by_sigterm()
    for _ in range(300):
        child = os.fork()
        if child == 0:
            time.sleep(3600)
        os.kill(child, signal.SIGTERM)  # most often before it has run at all
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    print(signal.getsignal(signal.SIGTERM) is main._terminated, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_a_forked_child_is_ended_by_sigterm_however_early_it_comes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORKS)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "True set()\n", done.stderr
    assert done.returncode == 0
