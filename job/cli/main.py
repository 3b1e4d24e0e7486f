"""The entry point of the command line: runs one command, prints its error, and returns the exit code.

Standard output carries results, standard error everything else. No traceback reaches a user who made a mistake.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from job.cli import forks
from job.cli.parser import parser
from job.errors import FullError, InterruptedRun, ManyfitError


def entry() -> NoReturn:
    """The command ``manyfit``. Ends the process even if the recipe's code has left threads or processes running.

    The interpreter is not taken down: a thread of Arrow that lets go of memory of Python's at that moment aborts the
    process (apache/arrow#34314), and a run that has published would end with exit code 134.
    """
    code = main()
    if not _left_running():
        atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _left_running() -> bool:
    """Terminate remaining child processes. Returns whether there were any, or threads that Python would wait for."""
    threads = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    processes = sys.modules["multiprocessing"].active_children() if "multiprocessing" in sys.modules else []
    for each in processes:
        each.terminate()
    if threads or processes:
        import logging

        what = [f"the thread {each.name!r}" for each in threads] + [f"the process {each.pid}" for each in processes]
        shown = ", ".join(what[:3]) + (f" and {len(what) - 3} more" if len(what) > 3 else "")
        logging.getLogger("manyfit").warning("ended without waiting for what the recipe left running: %s", shown)
    return bool(threads or processes)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments, overrides = parser().parse_known_args(_joined(sys.argv[1:] if argv is None else argv))
    from job.cli import logs

    logs.setup(arguments.log_format, verbose=arguments.verbose)
    signal.signal(signal.SIGTERM, _terminated)
    forks.end_by_sigterm()
    try:
        return _dispatch(arguments, overrides)
    except ManyfitError as error:
        return _said(error)
    except KeyboardInterrupt:
        # In a run this is Ctrl-C before or after the training, or the second Ctrl-C during it.
        again = "; run the same command again to go on" if arguments.command in ("run", "score") else ""
        print(f"manyfit: stopped{again}", file=sys.stderr)
        return InterruptedRun.exit_code
    except BrokenPipeError:
        # The reader of our output has ended (| head). This is no error, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"no room is left on the disk of this machine: {error.filename or error.strerror}"
            return _said(FullError(what, hint="Make room (`df -h`), then run again: what is finished is taken over."))
        if arguments.verbose:
            traceback.print_exc()
        print(f"manyfit: a bug of ours: {type(error).__name__}: {_text(error)}", file=sys.stderr)
        print("  Please report it with the output of the same command and --verbose.", file=sys.stderr)
        return 1


def _text(error: BaseException) -> str:
    """The first line of an error's text. Some errors ask another process for their text, and it may have ended."""
    try:
        return next(iter(str(error).strip().splitlines()), "")[:1000]
    except Exception as again:
        return f"(its text cannot be had: {type(again).__name__})"


def _joined(argv: Sequence[str]) -> list[str]:
    """Join ``--sort -rows`` to ``--sort=-rows``, because argparse takes a value with a leading dash for an option."""
    found: list[str] = []
    for each in argv:
        if found and found[-1] == "--sort" and each.startswith("-") and not each.startswith("--"):
            found[-1] += f"={each}"
        else:
            found.append(each)
    return found


def _dispatch(arguments: argparse.Namespace, overrides: list[str]) -> int:
    from job.cli import commands, version_commands

    name = arguments.command
    handler: Callable[[argparse.Namespace, list[str]], int]
    handler = getattr(commands, name, None) or getattr(version_commands, name)
    return handler(arguments, overrides)


def _said(error: ManyfitError) -> int:
    import logging

    from job.cli import termination

    record = {"event": "error", "reason": error.reason, "exit_code": error.exit_code}
    logging.getLogger("manyfit").error("%s", error, extra=record)
    termination.say(str(error))
    return error.exit_code


def _terminated(signum: int, frame: FrameType | None) -> None:
    raise InterruptedRun(
        f"stopped by {signal.Signals(signum).name}", hint="Run the same command again to go on.", signum=signum
    )


if __name__ == "__main__":
    entry()
