"""The termination message of the container: Kubernetes keeps up to 4 kB of it in the pod's status.

``kubectl get pod … -o jsonpath='{.status.containerStatuses[0].state.terminated.message}'`` prints it.
"""

from __future__ import annotations

import contextlib
import os

MOST = 4000
"""Bytes of a message at most; Kubernetes cuts a message after 4,096."""
_LOG = "/dev/termination-log"
"""The file of the message; Kubernetes mounts it into every container."""


def say(text: str) -> None:
    """Write the message, if Kubernetes has provided a file for it."""
    if os.path.exists(_LOG):
        with contextlib.suppress(OSError), open(_LOG, "wb") as file:
            file.write(text.encode("utf-8", "replace")[:MOST])
