"""Translates errors of obstore and botocore into StoreErrors with one line of text.

obstore gives status, code and cause of an error only in its text. This module is the only place that parses such
texts. Nothing here does IO.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from job.errors import ChangedError, CredentialsError, DeniedError, NotFoundError, StoreError, UnreachableError
from job.store import proxy

_STATUS = re.compile(r"status code: (\d{3})")
_REPEATED = re.compile(r", after [1-9]\d* retries")
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
_OF_MANY = re.compile(r"DeleteObjects request failed for key (.{1,1024}?): .{0,300} \(code: (\w+)\)")
"""S3 answers a request to delete many objects with 200, and with a code for each object that it has not deleted."""
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_SERVER_TIME = re.compile(r"<ServerTime>([^<]{1,40})</ServerTime>")
_REGION = re.compile(r"expecting '([a-z0-9-]+)'|<Region>([a-z0-9-]+)</Region>")
_CAUSES = {
    "dns error": "the host name is not known",
    "failed to lookup address": "the host name is not known",
    "NameResolutionError": "the host name is not known",
    "Failed to resolve": "the host name is not known",
    "Name or service not known": "the host name is not known",
    "name resolution": "the host name is not known",
    "Connection refused": "connection refused",
    "ConnectionRefused": "connection refused",
    "WRONG_VERSION_NUMBER": "it does not speak TLS: http:// instead of https://?",
    "CaUsedAsEndEntity": "its TLS certificate is that of an authority (CA:TRUE), which a server may not show",
    "CERTIFICATE": "its TLS certificate is not trusted",
    "certificate": "its TLS certificate is not trusted",
    "UnknownIssuer": "its TLS certificate is not trusted",
    "InvalidContentType": "it does not speak TLS: http:// instead of https://?",
    "TimedOut": "timed out",
    "timed out": "timed out",
    "ConnectionReset": "connection reset",
    "Connection reset": "connection reset",
    "IncompleteMessage": "connection closed in the middle of an answer",
}
_TLS_HINTS = {
    _CAUSES["UnknownIssuer"]: "Name the authority that signed it, a PEM file: storage.ca, in the chart caBundle.",
    _CAUSES["CaUsedAsEndEntity"]: "Have the server show one that is signed by it (CA:FALSE), and name the authority: "
    "storage.ca, in the chart caBundle.",
}
CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, storage.profile or a role; "
    "storage.anonymous for public data.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS or use a workload identity; storage.anonymous for public data.",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME (or write abfss://container@account.dfs.core.windows.net/) and a key, "
    "a SAS token or a managed identity; storage.anonymous for public data.",
}
"""hints about where credentials come from, by scheme"""
_DENIED_HINTS = {
    "SignatureDoesNotMatch": "The secret key is not the access key's: check AWS_SECRET_ACCESS_KEY or the profile.",
    "InvalidAccessKeyId": "The access key is unknown there: check AWS_ACCESS_KEY_ID, the profile, storage.endpoint.",
    "ExpiredToken": "The session token has expired: get new credentials, and run again.",
    "InvalidToken": "The session token is not valid there: check AWS_SESSION_TOKEN.",
}
_NOT_AT_HAND = dict.fromkeys(
    ("InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"),
    "Restore it first (aws s3api restore-object, or the tier of the blob), or leave it out: input.exclude.",
)
_BARE_400 = (
    "S3 answers so when a session token has expired: check the credentials, then storage.region and storage.endpoint."
)
TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, kw_only=True)
class Place:
    """The store that failed, as messages describe it."""

    what: str
    """``input`` or ``output``"""
    bucket: str
    """bucket or container"""
    endpoint: str
    """address of the service"""
    scheme: str = "s3"
    """``s3``, ``gs`` or ``az``"""

    def missing_bucket(self) -> NotFoundError:
        """The error for a bucket that does not exist."""
        return NotFoundError(
            f"the {self.what} bucket {self.bucket!r} does not exist at {self.endpoint}",
            hint=f"Create it, or correct {self.what}.uri or storage.endpoint.",
        )

    def missing(self, name: str) -> NotFoundError:
        """The error for an object that does not exist."""
        return NotFoundError(f"{name!r} does not exist in the {self.what} bucket {self.bucket!r} at {self.endpoint}")

    def changed(self, name: str) -> ChangedError:
        """The error for an object whose ETag is not that of If-Match."""
        return ChangedError(f"{name!r} in the {self.what} bucket {self.bucket!r} is not the object that was listed")

    def denied(self, action: str, name: str, *, code: str = "", message: str = "", skew: str = "") -> StoreError:
        """The error for a request that the store refused, with the reason that it gave."""
        told = f": {code or 'access denied'}" + (f" ({message})" if message and message != code else "")
        if code == "RequestTimeTooSkewed":
            here = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return CredentialsError(
                f"the clocks differ: here it is {here}, at {self.endpoint} {skew or 'not'} (RequestTimeTooSkewed)",
                hint="Set this machine's clock; signed requests allow 15 minutes.",
            )
        if code in _NOT_AT_HAND:
            return DeniedError(
                f"{name!r} in the {self.what} bucket {self.bucket!r} lies in an archive ({code})",
                hint=_NOT_AT_HAND[code],
            )
        kind = CredentialsError if code in _DENIED_HINTS else DeniedError
        return kind(
            f"{self.endpoint} refused to {action} {name!r} in the {self.what} bucket {self.bucket!r}{told}",
            hint=_DENIED_HINTS.get(
                code, "Check the credentials and what they may do; see docs/explanation/security.md for the policies."
            ),
        )

    def no_credentials(self, cause: str) -> CredentialsError:
        """The error for missing credentials."""
        return CredentialsError(
            f"no credentials for the {self.what} bucket {self.bucket!r} at {self.endpoint}: {cause}",
            hint=CREDENTIALS[self.scheme],
        )

    def unreachable(self, cause: str) -> UnreachableError:
        """The error for a store that gave no usable answer, not even after retries."""
        hint = _TLS_HINTS.get(cause, "Check storage.endpoint, the network and the store's own state, and run again.")
        through = proxy.used_for(self.endpoint)
        if through and cause in _TLS_HINTS:
            hint += f" Or the proxy of {through} opens TLS and shows a certificate of its own."
        elif through:
            hint = (
                f"Requests go through the proxy of {through}: is it up, and does it let this address through? "
                "NO_PROXY (in the chart proxy.noProxy) excepts it."
            )
        return UnreachableError(
            f"no usable answer from {self.endpoint} for the {self.what} bucket {self.bucket!r}"
            f"{f', through {through}' if through else ''}: {cause}",
            hint=hint,
        )

    def region(self, region: str | None) -> StoreError:
        """The error for a request that was sent to, or signed for, another region than that of the bucket."""
        known = f"is in region {region}" if region else "is in another region"
        return StoreError(
            f"the {self.what} bucket {self.bucket!r} {known}, not in the one that was asked ({self.endpoint})",
            hint=f"Set storage.region{': ' + region if region else ''}.",
        )

    def other(self, action: str, name: str, cause: str, *, code: str, status: int | None) -> StoreError:
        """Any other error. S3 answers 400 if a session token has expired; an answer to HEAD has no reason in it."""
        bare = status == 400 and not code.strip("0123456789")
        return StoreError(
            f"could not {action} {name!r} in the {self.what} bucket {self.bucket!r} at {self.endpoint}: {cause}",
            hint=_BARE_400 if bare else "",
        )


def _first_line(text: str) -> str:
    return text.split("\n\nDebug source:")[0].strip().split("\n")[0][:300]


def status_of(error: BaseException) -> int | None:
    """The HTTP status in the text of obstore's error; None if there was no answer."""
    match = _STATUS.search(str(error))
    return int(match[1]) if match else None


def gave_up(error: BaseException) -> bool:
    """Whether obstore itself has repeated the request until it gave up. If not, it has not repeated it at all."""
    return status_of(error) is not None or bool(_REPEATED.search(str(error)[:2000]))


def from_obstore(error: BaseException, place: Place, action: str, name: str) -> Exception:
    """Translate an exception of obstore into one of `job.errors`.

    Parameters
    ----------
    error
        The exception that obstore raised.
    place
        The store, for the message.
    action, name
        The failed action, for example ``"read"``, and the name of the object.
    """
    text = str(error)
    kind = type(error).__name__
    status = status_of(error)
    code = match[1] if (match := _CODE.search(text)) else ""
    message = match[1] if (match := _MESSAGE.search(text)) else ""
    if match := _OF_MANY.search(text):
        name, code = match[1], match[2]
    if "credential provider" in text[:300]:
        return place.no_credentials(_first_line(text))
    if (
        code == "NoSuchBucket"
        or "ContainerNotFound" in text[:1000]
        or "The specified bucket does not exist" in text[:1000]
    ):
        return place.missing_bucket()
    if (
        code in ("AuthorizationHeaderMalformed", "PermanentRedirect")
        or status == 301
        or "redirect without LOCATION" in text
    ):
        match = _REGION.search(text)
        return place.region((match[1] or match[2]) if match else None)
    if (
        status in (401, 403)
        or code == "AccessDenied"
        or code in _DENIED_HINTS  # for an expired token S3 sends status 400
        or kind in ("PermissionDeniedError", "UnauthenticatedError")
        or isinstance(error, PermissionError)
    ):
        skew = match[1] if (match := _SERVER_TIME.search(text)) else ""
        return place.denied(action, name, code=code, message=message, skew=skew)
    if status == 412 or kind == "PreconditionError":
        return place.changed(name)
    if status == 404 or isinstance(error, FileNotFoundError):
        return place.missing(name)
    if status in TRANSIENT or code in ("SlowDown", "RequestTimeout"):
        return place.unreachable(f"{status} {code or message}".strip())
    if status is None and kind == "GenericError":
        found = next((cause for sign, cause in _CAUSES.items() if sign in text), None)
        return place.unreachable(found or _first_line(text))
    return place.other(action, name, f"{code} {message}".strip() or _first_line(text), code=code, status=status)


def from_botocore(error: Any, place: Place, action: str, name: str) -> Exception:
    """Translate an exception of botocore into one of `job.errors`. The parameters are those of `from_obstore`."""
    response = getattr(error, "response", None)
    kind = type(error).__name__
    if isinstance(response, dict):
        details = response.get("Error", {})
        metadata = response.get("ResponseMetadata", {})
        headers = metadata.get("HTTPHeaders", {})
        status, code = metadata.get("HTTPStatusCode"), str(details.get("Code", ""))
        if code == "NoSuchBucket" or (status == 404 and not code.strip("0123456789")):
            return place.missing_bucket()
        if (
            code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
            or status == 301
        ):
            return place.region(headers.get("x-amz-bucket-region") or details.get("Region"))
        if status in (401, 403) or code in _DENIED_HINTS:
            skew = str(details.get("ServerTime") or headers.get("date", ""))
            given = "" if code == str(status) else code
            return place.denied(action, name, code=given, message=str(details.get("Message", "")), skew=skew)
        if status in TRANSIENT:
            return place.unreachable(f"{status} {code}".strip())
        return place.other(action, name, f"{code} {details.get('Message', '')}".strip(), code=code, status=status)
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"):
        return place.no_credentials(_first_line(str(error)))
    # botocore keeps the cause in an attribute, outside the text.
    text = f"{error} {getattr(error, 'kwargs', {}).get('error', '')}"
    found = next((cause for sign, cause in _CAUSES.items() if sign in text), None)
    return place.unreachable(found or f"{kind}: {_first_line(text)}")
