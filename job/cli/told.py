"""``-c FILE`` of a command that makes a new version: afterwards the document's ``output.after_release`` is called.

The command is taken from a document that the caller names, and never from what the output has recorded: else who may
write to the output could run commands on the machine of whoever changes it.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from job import run_paths
from job.cli import arguments as given
from job.config.settings import JobSettings
from job.errors import ConfigurationError, NotFoundError
from job.run import after_release
from job.store import open_store

if TYPE_CHECKING:
    from job.config.score_settings import Settings
    from job.store import Store


class Told:
    """Tells other systems of a new version, if the caller has named the document of the job.

    Parameters
    ----------
    arguments, overrides
        Those of the command. ``config`` is the file of a job or of a scoring, or None.
    output
        The output that the command changes.

    Raises
    ------
    ConfigurationError
        The document has mistakes, or another output.
    """

    def __init__(self, arguments: Namespace, overrides: list[str], output: Store) -> None:
        self._output = output
        self._settings: Settings | None = None
        if arguments.config is None:
            return
        self._settings = given.document_of(arguments, overrides)
        theirs = open_store(self._settings.output.uri, self._settings.storage.side("output"), what="output").uri
        if theirs != output.uri:
            raise ConfigurationError(
                f"{arguments.config} is of another output: {theirs}, and not {output.uri}",
                hint="Give the document whose output.uri is OUTPUT, or leave out -c.",
            )

    def of(self, version: int | None, operation: str) -> None:
        """Call the command for a new version; without a document, say so if the last run had such a command."""
        settings = self._settings
        if settings is None:
            if self._recorded():
                print(
                    "manyfit: output.after_release was not called: -c FILE, with the job's document, calls it. "
                    "Else the next run does.",
                    file=sys.stderr,
                )
            return
        if settings.output.after_release is not None:
            kind = "train" if isinstance(settings, JobSettings) else "score"
            after_release.call(
                self._output,
                settings.output.after_release,
                version=version,
                timeout=settings.output.after_release_timeout,
                about={"run": "", "job": settings.name, "kind": kind, "operation": operation},
            )

    def _recorded(self) -> bool:
        """Whether the settings of the run that began last had a command."""
        try:
            run = json.loads(bytes(self._output.get(run_paths.LATEST)))["run"]
            said = json.loads(bytes(self._output.get(run_paths.settings(run))))["settings"]
        except NotFoundError:
            return False
        return bool(said.get("output", {}).get("after_release"))
