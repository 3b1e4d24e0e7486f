"""Console blocks of a Markdown page: what they say, what they really print, and how the two are compared.

A page is read from top to bottom in one folder:

- a fenced block with ``title="NAME"`` is written to the file NAME;
- a ``console`` block is run: each line that begins with ``$ `` is a command, the lines after it are its output;
- a line of only ``...`` in an output stands for any number of lines;
- ``<!-- not run: REASON -->`` before a block keeps it from being run;
- a command that fails must be followed by ``$ echo $?``.

``python -m tests.support.console_pages PAGE`` rewrites the outputs of a page from what the commands print here.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.warm_commands import WarmCommands

SHOWN_FOLDER = "/home/ada/manyfit"
"""The folder in which the reader of a page works: stands for the temporary one."""

COLUMNS = 118
"""The width of the terminal."""

_FENCE = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]*?) -->\n+)?^```(?P<kind>[a-z]*)(?P<options>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+)"')

_VOLATILE = (
    (re.compile(r"\b\d{8}T\d{6}-[0-9a-f]{6}\b"), "RUN"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "TIME"),
    (re.compile(r"^\d\d:\d\d:\d\d "), "CLOCK "),
    (re.compile(r"\(\d[\d.,]* (ms|s|min|h)(, [\d.,]+ (models|keys|partitions|rows)/s)?\)"), "(SECONDS)"),
    (re.compile(r"\b\d[\d.,]* (ms|s|seconds)\b"), "SECONDS"),
    (re.compile(r"^(seconds\s+)\d\S*$"), r"\1SECONDS"),
    (re.compile(r"\b(joblib|numpy|pandas|python|scikit-learn|scipy) \d+(\.\d+)+"), r"\1 VERSION"),
    (re.compile(r"[ \t]+"), " "),
)
"""Not compared: names of runs, digests, times and rates, versions of libraries, the width of columns."""


_OURS = re.compile(r"  (run\.engine = inline|output\.report = short) +\(environment, MANYFIT_\w+\)")
"""What a command says of the settings that the test gives it."""
_LONG = re.compile(r"\b\d+\.\d{6,}\b")
"""Numbers of which six digits are compared: the last ones are the processor's."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block of a page."""

    kind: str
    """the language of the fence"""
    text: str
    """what stands between the fences"""
    title: str | None
    """the file that it is written to"""
    not_run: str | None
    """why it is not run"""
    span: tuple[int, int]
    """where its text stands in the page"""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command of a console block, and the output that is shown for it."""

    command: str
    shown: list[str]


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [
        Block(
            kind=each["kind"],
            text=each["text"],
            title=title[1] if (title := _TITLE.search(each["options"])) else None,
            not_run=each["why"],
            span=each.span("text"),
        )
        for each in _FENCE.finditer(page)
    ]


def steps(text: str) -> list[Step]:
    """The commands of a console block; a line that ends with a backslash goes on."""
    found: list[Step] = []
    goes_on = False
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Step(command=line[2:], shown=[]))
        elif goes_on:
            found[-1] = Step(command=f"{found[-1].command}\n{line}", shown=[])
        elif not found:
            raise ValueError(f"output before the first command: {line!r}")
        else:
            found[-1].shown.append(line)
        goes_on = not found[-1].shown and found[-1].command.endswith("\\")
    return found


class Shell:
    """Runs commands in a folder, on a terminal of its own, as a reader would see them."""

    def __init__(self, folder: Path, commands: Path, *, inline: bool) -> None:
        self.folder = folder
        self.commands = commands
        """a folder with `manyfit` and `python`"""
        self.inline = inline
        """train in the command's own process, and draw no pictures: the same results, and no workers that import first"""
        self.code = 0
        """exit code of the last command"""

    def run(self, command: str) -> list[str]:
        """The lines that a command prints, without colours."""
        environment = {
            "PATH": os.pathsep.join([str(self.commands), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "COLUMNS": str(COLUMNS),
            "OMP_NUM_THREADS": "1",
        }
        if self.inline:
            environment |= {"MANYFIT_RUN__ENGINE": "inline", "MANYFIT_OUTPUT__REPORT": "short"}
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, COLUMNS, 0, 0))
        printed = bytearray()
        reader = threading.Thread(target=_drain, args=(ours, printed))
        with subprocess.Popen(
            ["bash", "-c", f"(exit {self.code})\n{command}"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            reader.start()
            self.code = process.wait(timeout=300)
        reader.join()
        os.close(ours)
        text = printed.decode().replace("\r\n", "\n").replace(str(self.folder), SHOWN_FOLDER)
        return [line.rstrip() for line in text.splitlines() if not _OURS.match(line)]


def _drain(terminal: int, printed: bytearray) -> None:
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says so when the last writer is gone
            return
        if not part:
            return
        printed += part


def normal(line: str) -> str:
    """A line without what differs from run to run."""
    for pattern, instead in _VOLATILE:
        line = pattern.sub(instead, line)
    line = _LONG.sub(lambda number: f"{float(number[0]):.6g}", line)
    return line.strip()


def agrees(shown: list[str], printed: list[str]) -> bool:
    """Whether the output that a page shows is what was printed; ``...`` stands for any lines, empty lines do not count."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(normal(line)) + r"\n" for line in shown if line.strip()
    )
    return re.fullmatch(pattern, "".join(f"{normal(line)}\n" for line in printed if line.strip())) is not None


@dataclass(frozen=True, kw_only=True)
class Played:
    """What became of one step."""

    step: Step
    printed: list[str]
    code: int
    span: tuple[int, int]
    """where the text of its block stands in the page"""
    told: bool
    """the page shows the exit code"""


def play(page: str, folder: Path, commands: Path, *, inline: bool = True) -> Iterator[Played]:
    """Write the files and run the commands of a page in a folder; ``commands`` has `manyfit` and `python`."""
    shell = Shell(folder, commands, inline=inline)
    for block in blocks(page):
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if block.kind != "console" or block.not_run is not None:
            continue
        found = steps(block.text)
        for step, after in zip(found, [*found[1:], None], strict=True):
            printed = shell.run(step.command)
            told = after is not None and after.command == "echo $?"
            yield Played(step=step, printed=printed, code=shell.code, span=block.span, told=told)


def rewritten(page: str, folder: Path, commands: Path) -> str:
    """The page with the outputs that its commands print here; outputs that are shortened by ``...`` stay."""
    parts: dict[tuple[int, int], list[str]] = {}
    for each in play(page, folder, commands):
        keep = "..." in each.step.shown and agrees(each.step.shown, each.printed)
        lines = each.step.shown if keep else [line for line in each.printed if line]
        parts.setdefault(each.span, []).extend([f"$ {each.step.command}", *lines])
    for (begin, end), lines in sorted(parts.items(), reverse=True):
        page = page[:begin] + "".join(f"{line}\n" for line in lines) + page[end:]
    return page


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, WarmCommands(Path(place)) as warm:
        for name in sys.argv[1:]:
            document = Path(name)
            with tempfile.TemporaryDirectory() as scratch:
                text = rewritten(document.read_text(encoding="utf-8"), Path(scratch), warm.folder)
            document.write_text(text, encoding="utf-8")
