"""Finds the proxy that the stores' clients and Java's Kubernetes client use, from the environment.

The proxy is only named in messages: if it is down, or does not know a host of the cluster, the failure looks like that
of a store. Nothing here does IO.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit


def used_for(url: str, environ: Mapping[str, str] | None = None) -> str:
    """The variable that names the proxy for an address, and the proxy.

    Parameters
    ----------
    url
        The address of a request, for example ``https://s3.amazonaws.com``.
    environ
        Environment variables; default: those of this process.

    Returns
    -------
    str
        ``HTTPS_PROXY (http://proxy.example:3128)``, without user and password; empty if no proxy is used.
    """
    environ = os.environ if environ is None else environ
    parts = urlsplit(url)
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            if value := environ.get(spelling):
                excepted = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
                if _bypassed(parts.hostname or "", excepted):
                    return ""
                return f"{spelling} ({re.sub('//[^/@]*@', '//', value)})"
    return ""


def _bypassed(host: str, excepted: str) -> bool:
    """Whether a list of exceptions contains a host, by its name, its domain, its IP address or a range."""
    for each in filter(None, (part.strip().lower() for part in excepted.split(","))):
        if each == "*" or host == each.lstrip(".") or host.endswith(f".{each.lstrip('.')}"):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(each, strict=False):
                return True
        except ValueError:  # the host or the exception is a name
            continue
    return False
