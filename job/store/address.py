"""The address of a store: parses, checks and normalises a URI. Pure.

URIs are literal text, as in the AWS command line: ``%``, ``?`` and ``#`` are characters of the name, so that
``s3://bucket/a%20b`` is not unquoted. Only ``file://`` is a real URL, and is unquoted.
"""

from __future__ import annotations

import os.path
import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from urllib.parse import quote, unquote

from job.errors import ConfigurationError, PartitionError

_ALIASES = {
    "s3": "s3",
    "s3a": "s3",
    "s3n": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "azure": "az",
    "adl": "az",
    "abfs": "az",
    "abfss": "az",
    "file": "file",
    "memory": "memory",
}
_ACCOUNT = re.compile(r"(?P<container>[^@/]+)@(?P<account>[a-z0-9-]+)\.(?:dfs|blob)\.[a-z0-9.-]+\Z")
_SECRET = re.compile(r"[?&](?:X-Amz-[A-Za-z-]+|AWSAccessKeyId|Signature|sig|sv|se|token)=")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_NO_FOLDER = re.compile(r"%[0-9A-Fa-f]{2}|[\[\]^|\\]")
_ODD = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class Address:
    """A place in an object store or a folder."""

    scheme: str
    """``s3``, ``gs``, ``az``, ``file`` or ``memory``"""
    bucket: str
    """bucket or container; empty for a folder; the registry's name for memory"""
    path: str
    """path below the bucket, without slashes at its ends; for a folder the absolute path"""
    account: str | None = None
    """Azure: the storage account, if the URI names it"""

    @property
    def uri(self) -> str:
        """The address as text, without a slash at its end; a folder is its plain path."""
        if self.scheme == "file":
            return self.path
        return f"{self.scheme}://{self.bucket}/{self.path}".rstrip("/")

    def below(self, prefix: str) -> Address:
        """The address of a folder below this one."""
        name = prefix.strip("/")
        if not name:
            return self
        check_name(name)
        return replace(self, path=f"{self.path.rstrip('/')}/{name}" if self.path else name)

    def key(self, name: str) -> str:
        """The full name of an object in its bucket."""
        return f"{self.path}/{name}" if self.path else name


def check_name(name: str) -> None:
    """Refuse a name that cannot be addressed as it is written.

    Raises
    ------
    PartitionError
        ``unsupported_key``: the name has an empty, ``.`` or ``..`` segment, a slash at an end, or a control character.
        Clients drop or resolve these, and so would read or write another object.
    """
    if _ODD.search(name):
        raise PartitionError(
            "unsupported_key",
            f"the object's name {name!r} cannot be addressed: it has an empty, '.' or '..' segment, a slash at an end "
            "or a control character",
            hint="Rename the object, or leave it out with input.exclude.",
        )


def parse(uri: str, *, what: str = "output") -> Address:
    """Parse a URI.

    Parameters
    ----------
    uri
        ``s3://bucket/prefix/``, ``gs://``, ``az://container/prefix``, ``abfss://container@account.dfs.core.windows.net/``,
        ``memory://name``, ``file:///folder`` or the plain path of a folder.
    what
        ``input`` or ``output``, for the message.

    Raises
    ------
    ConfigurationError
        The scheme is unknown, the bucket is missing, credentials are in the URI, or its path has odd segments.
    """
    if not uri.strip() or "\0" in uri:
        raise ConfigurationError(f"{what}.uri is empty", hint="Write s3://bucket/prefix/, gs://, az:// or a folder.")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        half = re.match(r"([A-Za-z0-9]+):/?", uri)
        if half and half[1].lower() in _ALIASES:
            raise ConfigurationError(
                f"{what}.uri {uri!r} is not a URI", hint=f"Write {half[1].lower()}://bucket/prefix/."
            )
        return _folder(uri)
    known = _ALIASES.get(scheme.lower())
    if known is None:
        near = get_close_matches(scheme.lower(), _ALIASES, n=1)
        guess = f"Perhaps you meant {near[0]}://. " if near else ""
        raise ConfigurationError(
            f"{what}.uri has the unknown scheme {scheme + '://'!r}",
            hint=f"{guess}Known are s3://, gs://, az://, abfss:// and a folder.",
        )
    if known == "file":
        if not rest.startswith("/"):
            raise ConfigurationError(
                f"{what}.uri {uri!r} names a host", hint="Write file:///absolute/folder or the plain path."
            )
        return _folder(unquote(rest))
    bucket, _, path = rest.partition("/")
    match = _ACCOUNT.match(bucket) if known == "az" else None
    if ("@" in bucket and not match) or _SECRET.search(path):
        raise ConfigurationError(
            f"{what}.uri holds credentials, which would end up in logs and in the index",
            hint="Take them out; they come from the environment, from storage.profile or from the machine's role.",
        )
    if not bucket and known != "memory":
        raise ConfigurationError(f"{what}.uri {uri!r} names no bucket", hint=f"Write {known}://bucket/prefix/.")
    path = path.strip("/")
    if path and _ODD.search(path):
        raise ConfigurationError(
            f"{what}.uri {uri!r} has an empty, '.' or '..' segment or a control character",
            hint="Objects below such a prefix cannot be addressed; correct the URI.",
        )
    if match:
        return Address(scheme=known, bucket=match["container"], path=path, account=match["account"])
    return Address(scheme=known, bucket=bucket, path=path)


def _folder(path: str) -> Address:
    return Address(scheme="file", bucket="", path=os.path.abspath(os.path.expanduser(path)))


def delta_uri(address: Address) -> str:
    """The URL of this address for the deltalake package.

    Raises
    ------
    ConfigurationError
        The path has a percent escape, which deltalake (1.6) unquotes once too often, so that it uses another path. Or
        it is a folder with one of ``[]^|\\`` in its path, on which deltalake panics.
    """
    bad = (_ESCAPE if address.scheme != "file" else _NO_FOLDER).search(address.path)
    if bad:
        raise ConfigurationError(
            f"no Delta table can lie below {address.uri!r}: the deltalake package fails on {bad[0]!r} in a path",
            hint="Choose another output.uri.",
        )
    path = quote(address.path.lstrip("/"))
    if address.scheme == "file":
        return f"file:///{path}"
    if address.account:
        return f"abfss://{address.bucket}@{address.account}.dfs.core.windows.net/{path}"
    return f"{address.scheme}://{address.bucket}/{path}".rstrip("/")


def folder_prefix(prefix: str) -> str:
    """Normalise a prefix for a listing: ``""``, or a text that ends with one slash."""
    name = prefix.strip("/")
    if not name:
        return ""
    check_name(name)
    return name + "/"
