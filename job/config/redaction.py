"""Recognises credentials: they are refused in settings, and masked in messages and logs. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from urllib.parse import unquote

HIDDEN = "(not shown: it looks like a credential)"
MASK = "***"

_NAMES = (
    "accesskey", "accesskeyid", "accountkey", "apikey", "authorization", "clientsecret", "connectionstring",
    "credential", "credentials",
    "masterkey", "oauthtoken", "passwd", "password", "passphrase", "privatekey", "pwd", "sastoken",
    "secret", "secretaccesskey", "secretkey", "securitytoken", "sessiontoken", "sharedkey", "token",
)  # fmt: skip
_NAME = re.compile(r"(?:^|aws|gcp|azure|google|s3|s3a|my|minio|storage)(?:" + "|".join(_NAMES) + r")s?$")
# Settings of Spark that name the place of a secret, but do not hold the secret.
_NAMES_A_PLACE = re.compile(r"(?i)(\.file|file|path|secretkeyref\..+|\.secrets\..+)$")
_SPARK = re.compile(
    r"(?i)(access\.?key(\.?id)?|secret\.?(access\.?)?key|session\.?token|password|passphrase|account\.key(\..+)?|sas(\.token)?(\..+)?|"
    r"oauth\.?token|authenticate\.secret|client\.?secret(\..+)?|private\.?key|credential|token)$"
)
_QUERY = (
    r"x-amz-(?:signature|credential|security-token)|awsaccesskeyid|signature|sig|token|access_token|secret|password|key"
)
_TEXTS = (
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"),
    re.compile(r"\b(?:ghp|gho|ghs|github_pat|xox[abp])[_-]\w{16,}"),
)
_USERINFO = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/?#\s@]*):(?P<password>[^/?#\s@]*)@")
_SIGNED = re.compile(rf"(?i)(?P<name>[?&](?:{_QUERY})=)(?P<value>[^&\s'\"]+)")
_HEADER = re.compile(
    r"(?i)(?P<name>authorization['\"]?\s*[:=]\s*['\"]?)(?P<value>(?:bearer|basic|aws4-hmac-sha256)\s+[^'\"\n]+|[^\s'\"]+)"
)
_ASSIGNED = re.compile(
    r"(?i)(?P<name>\b[\w.-]*(?:secret[_.-]?(?:access[_.-]?)?key|access[_.-]?key(?:[_.-]?id)?|session[_.-]?token|password|"
    r"x-amz-security-token)['\"]?\s*[:=]\s*['\"]?)(?P<value>(?!\(not shown)[^\s'\",;&}]+)"
)


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name would hold a credential: ``aws_secret_access_key``, ``password``, ``token``.

    Names that only contain such a word are no credentials: ``token_pattern`` or ``tokenizer`` of a text vectoriser.
    """
    return bool(_NAME.search(re.sub(r"[^a-z0-9]", "", name.lower())))


def is_secret_variable(name: str, value: str) -> bool:
    """Whether an environment variable holds a credential, by its name. An existing absolute path is none.

    ``PWD`` is the working folder and ``TOKEN=/run/secrets/token`` names a file: settings may contain such values.
    """
    if name in ("PWD", "OLDPWD") or (os.path.isabs(value) and os.path.exists(value)):
        return False
    return is_secret_name(name)


def is_secret_spark_name(name: str) -> bool:
    """Whether a ``spark.*`` setting would hold a credential. The name of a file or of a Kubernetes secret is none."""
    return bool(_SPARK.search(name)) and not _NAMES_A_PLACE.search(name)


def is_secret_setting(path: str, name: str) -> bool:
    """Whether the setting ``name`` at ``path`` would hold a credential. Column names in ``input.schema`` are free."""
    if path.startswith("input.schema."):
        return False
    return is_secret_spark_name(name) if path.startswith("spark.conf.") else is_secret_name(name)


def is_secret_text(text: str, known: Iterable[str] = ()) -> bool:
    """Whether a text is or contains a credential; ``known`` are credentials that the environment holds."""
    return (
        any(pattern.search(text) for pattern in _TEXTS)
        or uri_secret(text) is not None
        or any(each in text for each in known if each)
    )


def uri_secret(text: str) -> str | None:
    """The kind of credential that a URI contains, or None."""
    if _USERINFO.search(unquote(text)):
        return "a user name and password"
    if re.match(r"(?i)(s3[an]?|gs|https?)://[^/?#]*@", text):
        return "a user name"
    if "://" in text and _SIGNED.search(text):
        return "a signature or token"
    return None


def redact(text: str) -> str:
    """The text with everything that looks like a credential masked.

    >>> redact("GET https://h/b?X-Amz-Signature=abc&x=1")
    'GET https://h/b?X-Amz-Signature=***&x=1'
    """
    for pattern in _TEXTS:
        text = pattern.sub(MASK, text)
    text = _USERINFO.sub(rf"\g<scheme>{MASK}@", text)
    for pattern in (_SIGNED, _HEADER, _ASSIGNED):
        text = pattern.sub(rf"\g<name>{MASK}", text)
    return text
