"""The commands ``manyfit`` and ``python FILE`` as forks of one process that has imported everything already.

A page with twelve commands would spend most of its time on imports: two seconds each. What is run is the same entry point
in a process of its own, with its own arguments, environment, folder and terminal.

This file is started by its path, so that nothing of the tests' own is imported in it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

_LEFT_OUT = ("job.engine.spark", "job.cli.demo", "job.cli.embedded_s3", "job.worker.warm")
"""What most commands never import."""
_SHIM = """#!{python} -IS
import json, os, socket, sys
what, words = {what!r}, sys.argv[1:]
if what == "python" and not (words and words[0].endswith(".py")):
    os.execv({python!r}, [{python!r}, *words])
link = socket.socket(socket.AF_UNIX)
link.connect({address!r})
said = json.dumps([what, words, os.getcwd(), dict(os.environ)])
socket.send_fds(link, [said.encode()], [0, 1, 2])
sys.exit(int(link.recv(16) or b"1"))
"""


class WarmCommands:
    """A folder for PATH whose commands start at once.

    Parameters
    ----------
    folder
        An empty folder with a short name: a socket lies in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        address = str(folder / "socket")
        for what in ("manyfit", "python"):
            shim = folder / what
            shim.write_text(_SHIM.format(python=sys.executable, what=what, address=address), encoding="utf-8")
            shim.chmod(0o755)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(self._listener.fileno())],
            pass_fds=[self._listener.fileno()],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
        )

    def __enter__(self) -> WarmCommands:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._process.terminate()
        self._process.wait()


def _modules() -> Iterator[str]:
    import job

    for each in pkgutil.walk_packages(job.__path__, "job."):
        if not each.name.startswith(_LEFT_OUT):
            yield each.name


def _ended(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _serve(listener: socket.socket) -> Callable[[], None]:
    """Never returns, but in the forks that are commands."""
    signal.signal(signal.SIGCHLD, _ended)
    while True:
        link, _ = listener.accept()
        if os.fork() == 0:
            break
        link.close()
    listener.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    said, terminal, _, _ = socket.recv_fds(link, 1 << 20, 3)
    command = os.fork()
    if command:
        for each in terminal:
            os.close(each)
        _, status = os.waitpid(command, 0)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError):
            link.send(str(code if code >= 0 else 128 - code).encode())
        os._exit(0)
    link.close()
    what, words, folder, environment = json.loads(said)
    for number, each in enumerate(terminal):
        os.dup2(each, number)
        os.close(each)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        binary = io.FileIO(number, "r" if number == 0 else "w", closefd=False)
        buffer = io.BufferedWriter(binary) if number else io.BufferedReader(binary)
        stream = io.TextIOWrapper(buffer, encoding="utf-8", line_buffering=os.isatty(number))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if what == "python":
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
        return lambda: runpy.run_path(words[0], run_name="__main__") and None
    sys.argv = [what, *words]
    return importlib.import_module("job.cli.main").entry  # type: ignore[no-any-return]


if __name__ == "__main__":
    ours = socket.socket(fileno=int(sys.argv[1]))
    for module in _modules():
        importlib.import_module(module)
    gc.freeze()  # no fork looks through all of this again
    _serve(ours)()
