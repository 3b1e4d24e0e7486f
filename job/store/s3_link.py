"""The link of a process to an S3 bucket: a session and clients of boto3, and clients of obstore.

Credentials come from boto3's whole chain (environment, profile, web identity, container, machine). obstore gets them by
a callback, and boto3 refreshes them. A store never holds credentials, so they are never pickled.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.config
import botocore.exceptions
import botocore.handlers
from botocore import UNSIGNED
from botocore.configprovider import ConfiguredEndpointProvider
from obstore import store as obstores
from obstore.exceptions import BaseError

from job.config.settings import StorageSide
from job.errors import ConfigurationError
from job.store.address import Address
from job.store.faults import from_botocore
from job.store.link import Link
from job.store.list_page import parse_page
from job.store.trust import read_authority

_obstores: Any = obstores  # Any: its own types would have to be spelled out for each option
_BUCKET = re.compile(r"[A-Za-z0-9.\-_]{1,255}\Z")
BOTO_ERRORS = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
_CREDENTIALS_TTL = timedelta(minutes=15)


class S3Link(Link):
    """The session and clients of boto3, and the clients of obstore, for one bucket in this process."""

    def __init__(self, address: Address, settings: StorageSide, what: str) -> None:
        super().__init__(address, settings, what)
        if not _BUCKET.match(address.bucket):
            raise ConfigurationError(f"{what}.uri names the impossible bucket {address.bucket!r}")
        self._making = threading.RLock()
        self._boto: dict[bool, Any] = {}
        try:
            self.session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
            core = self.session._session
            self.region = self.session.region_name or "us-east-1"
            self.custom_endpoint: str | None = (
                settings.endpoint
                or ConfiguredEndpointProvider(
                    full_config=core.full_config, scoped_config=core.get_scoped_config(), client_name="s3"
                ).provide()
            )
            self._bundle: str | None = settings.ca or core.get_config_variable("ca_bundle")
        except botocore.exceptions.ProfileNotFound as error:
            raise ConfigurationError(
                f"storage.profile {settings.profile or 'AWS_PROFILE'!r}: {error}",
                hint="Correct storage.profile, or AWS_PROFILE in the environment.",
            ) from error
        except BOTO_ERRORS as error:
            raise ConfigurationError(f"the AWS configuration cannot be used: {error}") from error
        if self.custom_endpoint and urlsplit(self.custom_endpoint).scheme not in ("http", "https"):
            raise ConfigurationError(
                f"storage.endpoint {self.custom_endpoint!r} is not an address",
                hint="Write http://host:port or https://host.",
            )

    @property
    def endpoint(self) -> str:
        """Address of the service."""
        if self.custom_endpoint:
            return self.custom_endpoint.rstrip("/")
        suffix = ".cn" if self.region.startswith("cn-") else ""
        return f"https://s3.{self.region}.amazonaws.com{suffix}"

    @property
    def path_style(self) -> bool:
        """Whether the bucket is in the path of URLs. Default: with a custom endpoint, and for a bucket with a dot."""
        if self.settings.path_style is not None:
            return self.settings.path_style
        return bool(self.custom_endpoint) or "." in self.address.bucket

    def certificate(self) -> str | None:
        """Path of the PEM file with the certificate authority; None if none is configured."""
        return self._bundle

    def credentials(self) -> Any:
        """The credentials that boto3's chain finds.

        Raises
        ------
        StoreError
            The chain finds no credentials (`CredentialsError`), or fails.
        """
        try:
            with self._making:
                found = self.session.get_credentials()
        except BOTO_ERRORS as error:
            raise from_botocore(error, self.place, "open", self.address.uri) from error
        if found is None:
            raise self.place.no_credentials("none in the environment, a profile or this machine's role")
        return found

    def boto(self) -> Any:
        """The boto3 client of this process."""
        patient = self.reached
        with self._making:
            client = self._boto.get(patient)
            if client is None:
                client = self._boto[patient] = self._make_boto()
            return client

    def _make_boto(self) -> Any:
        if not self.settings.anonymous:
            self.credentials()
        if self._bundle:
            read_authority(self._bundle)
        checksums = self.settings.checksums or ("when_required" if self.custom_endpoint else "when_supported")
        config = botocore.config.Config(
            connect_timeout=5,
            read_timeout=self.timeout,
            retries={"total_max_attempts": self.retries + 1, "mode": "standard"},
            max_pool_connections=32,
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
            user_agent_extra="manyfit",
            s3={"addressing_style": "path" if self.path_style else "virtual"},
            **({"signature_version": UNSIGNED} if self.settings.anonymous else {}),
        )
        client = self.session.client(
            "s3", region_name=self.region, endpoint_url=self.custom_endpoint, config=config, verify=self._bundle
        )
        client.meta.events.register_first("before-parse.s3.*", _parse_quickly)
        # botocore parses every answer twice, in case it is an error with status 200. Our parser detects that as well.
        twice = getattr(botocore.handlers, "_handle_200_error", None)
        if twice is not None:
            client.meta.events.unregister("before-parse.s3.*", twice)
        return client

    def _open(self, options: dict[str, Any], retry: dict[str, Any], bulk_delete: bool) -> Any:
        endpoint = self.endpoint
        if not self.path_style:
            parts = urlsplit(endpoint)
            endpoint = f"{parts.scheme}://{self.address.bucket}.{parts.netloc}{parts.path}"
        config: dict[str, Any] = {
            "endpoint": endpoint,
            "region": self.region,
            "virtual_hosted_style_request": not self.path_style,
            "conditional_put": "etag",
            "disable_tagging": True,
            "disable_bulk_delete": not bulk_delete,
        }
        if self.settings.checksums == "when_supported":
            config["checksum_algorithm"] = "SHA256"
        provider = None
        if self.settings.anonymous:
            config["skip_signature"] = True
        else:
            provider = self._provider()
        try:
            return _obstores.S3Store(
                self.address.bucket,
                config=config,
                client_options=options,
                retry_config=retry,
                credential_provider=provider,
            )
        except (BaseError, ValueError, OSError, TypeError) as error:
            first = str(error).partition("\n")[0]
            raise ConfigurationError(f"{self.what}.uri {self.address.uri!r} cannot be opened: {first}") from error

    def _provider(self) -> Callable[[], dict[str, Any]]:
        found = self.credentials()

        def credentials() -> dict[str, Any]:
            frozen = found.get_frozen_credentials()
            # Only temporary credentials have this. boto3 renews them 15 minutes ahead, obstore asks 5 minutes ahead.
            end = getattr(found, "_expiry_time", None)
            soon = datetime.now(UTC) + _CREDENTIALS_TTL
            return {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                # obstore accepts no other class of time zone.
                "expires_at": min(end.astimezone(UTC), soon) if end else None,
            }

        return credentials

    def delta_options(self) -> dict[str, str]:
        """Storage options for the deltalake package, with the current credentials."""
        parts = urlsplit(self.endpoint)
        host = parts.netloc if self.path_style else f"{self.address.bucket}.{parts.netloc}"
        options = {
            "aws_endpoint": f"{parts.scheme}://{host}{parts.path}",
            "aws_region": self.region,
            "aws_virtual_hosted_style_request": str(not self.path_style).lower(),
            "timeout": f"{int(self.timeout * 5)}s",
            "connect_timeout": "5s",
            "max_retries": str(self.retries),
        }
        if self.settings.single_writer:
            options["aws_s3_allow_unsafe_rename"] = "true"
        else:
            options["aws_conditional_put"] = "etag"
        if parts.scheme == "http":
            options["aws_allow_http"] = "true"
        if self.settings.anonymous:
            options["aws_skip_signature"] = "true"
            return options
        frozen = self.credentials().get_frozen_credentials()
        options["aws_access_key_id"] = frozen.access_key
        options["aws_secret_access_key"] = frozen.secret_key
        if frozen.token:
            options["aws_session_token"] = frozen.token
        return options


def _parse_quickly(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    if operation_model.name == "ListObjectsV2" and response_dict.get("status_code") == 200:
        if response_dict["body"][:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise ValueError("it sends a web page")
        page = parse_page(response_dict["body"])
        if page is None:
            response_dict["status_code"] = 500
        else:
            customized_response_dict["Page"] = page
            response_dict["body"] = b""
