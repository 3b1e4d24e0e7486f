"""The link of a process to a bucket: clients, retries, time limits, and the bucket's description for messages.

A process keeps its links. All stores of the same bucket and settings share one, so that a store that is unpickled for
each task does not open new connections for each task.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar

from obstore import store as obstores
from obstore.exceptions import BaseError

from job.config.settings import StorageSide
from job.errors import ConfigurationError, StoreError
from job.store.address import Address
from job.store.faults import CREDENTIALS, Place
from job.store.trust import read_authority

_obstores: Any = obstores  # Any: its own types would have to be spelled out for each option
_CONNECT = 5.0
"""seconds to open a connection at most"""
_FIRST_TIMEOUT, _FIRST_RETRIES = 8.0, 2
"""limits until the store has answered once: a wrong endpoint is reported within half a minute"""
_RETRY_SECONDS = 180.0
"""no retry starts later than this after the first try: the credentials of a request might expire"""

_links: dict[tuple[Any, ...], Link] = {}
_lock = threading.RLock()
_used_by: int | None = None


class Link:
    """The clients of one bucket in this process, for GCS and Azure. For S3 there is `job.store.s3_link.S3Link`."""

    def __init__(self, address: Address, settings: StorageSide, what: str) -> None:
        self.pid = os.getpid()
        self.address = address
        self.settings = settings
        self.what = what
        self.reached = False
        self._clients: dict[tuple[bool, bool, bool], Any] = {}

    @property
    def endpoint(self) -> str:
        """Address of the service, for messages."""
        if self.settings.endpoint:
            return self.settings.endpoint
        if self.address.scheme == "gs":
            return "https://storage.googleapis.com"
        return f"https://{self.address.account or '<account>'}.blob.core.windows.net"

    @property
    def place(self) -> Place:
        """The bucket as messages describe it."""
        return Place(what=self.what, bucket=self.address.bucket, endpoint=self.endpoint, scheme=self.address.scheme)

    @property
    def retries(self) -> int:
        """How often a request is repeated at most; fewer times until the store has answered once."""
        most = 10 if self.settings.retries is None else self.settings.retries
        return most if self.reached else min(most, _FIRST_RETRIES)

    @property
    def timeout(self) -> float:
        """Seconds to wait for an answer; fewer until the store has answered once."""
        most = self.settings.timeout or 60.0
        return most if self.reached else min(most, _FIRST_TIMEOUT)

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each retry: random, below a limit that doubles from 0.1 s to 10 s."""
        end = time.monotonic() + _RETRY_SECONDS
        for attempt in range(self.retries):
            if time.monotonic() > end:
                return
            yield random.uniform(0.0, min(0.1 * 2**attempt, 10.0))

    def client(self, *, bulk: bool = False, bulk_delete: bool = True) -> Any:
        """The obstore client of this process.

        Parameters
        ----------
        bulk
            For a large upload. Its answer comes only after the last byte, so there is no limit for a single read.
        bulk_delete
            Whether one request deletes many objects. If False, there is one request for each object.
        """
        key = (self.reached, bulk, bulk_delete)
        client = self._clients.get(key)
        if client is None:
            client = self._make(*key)
        return client

    def _make(self, patient: bool, bulk: bool, bulk_delete: bool) -> Any:
        global _used_by
        with _lock:
            if _used_by not in (None, os.getpid()):
                raise StoreError(
                    "object storage was used before this process was forked, and cannot be used on this side",
                    hint="Open and use stores only in the forked process, or start processes by spawn or forkserver.",
                )
            _used_by = os.getpid()
            timeout = timedelta(seconds=self.timeout)
            options: dict[str, Any] = {
                "connect_timeout": timedelta(seconds=_CONNECT),
                # The limit for a whole request, maybe with a large body. read_timeout ends a stalled one sooner.
                "timeout": timeout * 30 if patient or bulk else timeout * 3,
                "user_agent": "manyfit",
            }
            if not bulk:
                options["read_timeout"] = timeout
            if self.endpoint.startswith("http://"):
                options["allow_http"] = True
            certificate = self.certificate()
            if certificate:
                options["root_certificate"] = read_authority(certificate)
            retry = {
                "max_retries": self.retries,
                "retry_timeout": timedelta(seconds=_RETRY_SECONDS if patient else 20),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=10),
                    "base": 2,
                },
            }
            client = self._open(options, retry, bulk_delete)
            self._clients[patient, bulk, bulk_delete] = client
            return client

    def _open(self, options: dict[str, Any], retry: dict[str, Any], bulk_delete: bool) -> Any:
        config: dict[str, Any] = {}
        if self.settings.anonymous:
            config["skip_signature"] = True
        try:
            if self.address.scheme == "gs":
                if self.settings.endpoint:
                    config["base_url"] = self.settings.endpoint
                return _obstores.GCSStore(
                    self.address.bucket, config=config, client_options=options, retry_config=retry
                )
            if self.settings.endpoint:
                config["endpoint"] = self.settings.endpoint
            if self.address.account:
                config["account_name"] = self.address.account
            return _obstores.AzureStore(self.address.bucket, config=config, client_options=options, retry_config=retry)
        except (BaseError, ValueError, OSError, TypeError) as error:
            first = str(error).partition("\n")[0]
            raise ConfigurationError(
                f"{self.what}.uri {self.address.uri!r} cannot be opened: {first}", hint=CREDENTIALS[self.address.scheme]
            ) from error

    def certificate(self) -> str | None:
        """Path of the PEM file with the certificate authority; None if none is configured."""
        return self.settings.ca

    def delta_options(self) -> dict[str, str]:
        """Storage options for the deltalake package."""
        options = {
            "timeout": f"{int(self.timeout * 5)}s",
            "connect_timeout": f"{int(_CONNECT)}s",
            "max_retries": str(self.retries),
        }
        if self.endpoint.startswith("http://"):
            options["allow_http"] = "true"
        if self.settings.endpoint:
            options["google_base_url" if self.address.scheme == "gs" else "azure_endpoint"] = self.settings.endpoint
        return options


Kind = TypeVar("Kind", bound=Link)


def link_of(kind: type[Kind], address: Address, settings: StorageSide, what: str) -> Kind:
    """The link of this process to a bucket. It is made if there is none yet."""
    key = (kind, address.scheme, address.bucket, address.account, settings.model_dump_json(), what)
    with _lock:
        link = _links.get(key)
        if link is None or link.pid != os.getpid():
            root = Address(scheme=address.scheme, bucket=address.bucket, path="", account=address.account)
            link = _links[key] = kind(root, settings, what)
        assert isinstance(link, kind)
        return link
