"""What a task ended with, as the driver sees it: Spark hands over the text of a Python error, and nothing else."""

from __future__ import annotations

import re

from job import errors
from job.errors import ManyfitError, PartitionError

_RAISED = re.compile(r"^job\.errors\.(\w+): (.*)(?:\n  (\S.*))?$", re.MULTILINE)


def translated(error: BaseException) -> BaseException:
    """The error of ours that a task ended with, with its hint, if there is one; else the error itself."""
    found = _RAISED.findall(str(error))
    if found:
        name, message, hint = found[-1]
        cls = getattr(errors, name, None)
        if isinstance(cls, type) and issubclass(cls, ManyfitError) and not issubclass(cls, PartitionError):
            return cls(message, hint=hint.rstrip())
    return error
