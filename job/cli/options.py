"""Options that several commands share: each is written once, so that it means the same everywhere."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

JOB_HELP = (
    "Any setting of the job can follow as an option: --run.max_failed 5% --input.limit 10 --spark.master 'local[2,4]'"
)
STORAGE_HELP = "Storage settings can follow as options: --storage.endpoint http://127.0.0.1:9000 --storage.profile prod"


class Commands:
    """Adds commands to the command line.

    Parameters
    ----------
    subparsers
        The result of ``add_subparsers`` of the main parser.
    """

    def __init__(self, subparsers: Subparsers) -> None:
        self._subparsers = subparsers

    def add(self, name: str, help: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
        """A command with the options that every command has."""
        command = self._subparsers.add_parser(
            name,
            help=help,
            description=textwrap.fill(description, 100),
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_argument(
            "--log-format",
            choices=["auto", "text", "json"],
            default="auto",
            help="form of the log; auto: text on a terminal, json elsewhere",
        )
        command.add_argument(
            "-v", "--verbose", action="store_true", help="print more log lines, and the traceback of a bug"
        )
        return command

    def job(self, name: str, help: str, description: str) -> argparse.ArgumentParser:
        """A command that takes the document of a job."""
        command = self.add(name, help, description, JOB_HELP)
        command.add_argument("-c", "--config", metavar="FILE", help="the file with the job, as YAML or JSON")
        command.add_argument("--document", metavar="JSON", help="the job as one argument (what the Helm chart passes)")
        return command

    def output(self, name: str, help: str, description: str) -> argparse.ArgumentParser:
        """A command that takes the output of a job."""
        command = self.add(name, help, description, STORAGE_HELP)
        command.add_argument("output", metavar="OUTPUT", help="output.uri of the job: s3://bucket/prefix/ or a folder")
        return command


def json_document(command: argparse.ArgumentParser) -> None:
    """``--json`` of a command that prints one document."""
    command.add_argument("--json", action="store_true", help="print one JSON document")


def json_result(command: argparse.ArgumentParser) -> None:
    """``--json`` of a command that runs a job."""
    command.add_argument("--json", action="store_true", help="print the result as one JSON document")


def older_version(command: argparse.ArgumentParser) -> None:
    """``--at`` of a command that looks at the current version by default."""
    command.add_argument("--at", type=int, metavar="VERSION", help="use an older version (see history)")


def keys(command: argparse.ArgumentParser) -> None:
    """The argument ``KEY``, once or several times."""
    command.add_argument("keys", nargs="+", metavar="KEY")


def signing(command: argparse.ArgumentParser) -> None:
    """Options of a command that makes a new version."""
    command.add_argument("--signing-key", metavar="PEM", help="sign the new version with this private key")
    command.add_argument(
        "--unsigned", action="store_true", help="leave the new version unsigned, although the set is signed"
    )


def told(command: argparse.ArgumentParser) -> None:
    """``-c`` of a command that makes a new version."""
    command.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="the document of the job, whose output.after_release is called with the new version",
    )


def table(command: argparse.ArgumentParser) -> None:
    """Options of a command that lists keys."""
    command.add_argument("--match", metavar="GLOB", help="list only keys that match")
    command.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="EXPR",
        help="a condition on a column or a metric, for example 'r2<0.5' or 'rows>=1000'",
    )
    command.add_argument("--sort", metavar="COLUMN", help="sort by a column or a metric; -COLUMN: descending")
    command.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="list at most N keys; default: 50 on a terminal, all with --json and --csv",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object a line")
    command.add_argument("--csv", action="store_true", help="print comma-separated values with a header")
