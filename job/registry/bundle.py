"""The format of signatures: a Sigstore bundle v0.3 with a DSSE envelope around an in-toto statement. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from job.errors import ConfigurationError

PREDICATE = "https://model_signing/signature/v1.0"

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
_HOW = "Make a pair: `openssl ecparam -name prime256v1 -genkey -noout -out key.pem && openssl ec -in key.pem -pubout`."


def sign(statement: dict[str, Any], private: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign a statement; return the bundle as the bytes of a file."""
    payload = json.dumps({"_type": _STATEMENT, **statement}, indent=1, sort_keys=True).encode()
    signature = private.sign(_pae(payload), ec.ECDSA(_HASHES[private.curve.name]()))
    bundle = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": _hint(private.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle).encode()


def opened(raw: bytes, public: ec.EllipticCurvePublicKey) -> Any:
    """Check the signature of a bundle and return the signed statement.

    Raises
    ------
    cryptography.exceptions.InvalidSignature
        The signature was not made with this key.
    ValueError, KeyError, TypeError
        The bytes are not such a bundle.
    """
    bundle = json.loads(raw)
    if bundle["mediaType"] != _BUNDLE:
        raise ValueError("not a Sigstore bundle v0.3")
    envelope = bundle["dsseEnvelope"]
    if envelope["payloadType"] != _PAYLOAD:
        raise ValueError("not an in-toto payload")
    payload = base64.b64decode(envelope["payload"], validate=True)
    (signature,) = envelope["signatures"]
    public.verify(
        base64.b64decode(signature["sig"], validate=True), _pae(payload), ec.ECDSA(_HASHES[public.curve.name]())
    )
    statement = json.loads(payload)
    if statement["_type"] != _STATEMENT or statement["predicateType"] != PREDICATE:
        raise ValueError("not a model signature statement v1.0")
    return statement


def claims(raw: bytes, public: ec.EllipticCurvePublicKey) -> bool:
    """Whether a bundle names this key as its signer. The signature itself is not checked."""
    return bool(json.loads(raw)["verificationMaterial"]["publicKey"]["hint"] == _hint(public))


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def pem(public: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as PEM text."""
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _hint(public: ec.EllipticCurvePublicKey) -> str:
    return hashlib.sha256(pem(public)).hexdigest()


def private_key(text: bytes, password: bytes | None) -> ec.EllipticCurvePrivateKey:
    """Read an ECDSA private key on P-256, P-384 or P-521. Raises `ConfigurationError` for any other key."""
    try:
        key = serialization.load_pem_private_key(text, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"the signing key cannot be used: {error}", hint=_HOW) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise ConfigurationError("the signing key is not an ECDSA key on P-256, P-384 or P-521", hint=_HOW)
    return key


def public_key(text: bytes) -> ec.EllipticCurvePublicKey:
    """Read an ECDSA public key on P-256, P-384 or P-521. Raises `ConfigurationError` for any other key."""
    try:
        key = serialization.load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"the public key cannot be used: {error}", hint=_HOW) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise ConfigurationError("the public key is not an ECDSA key on P-256, P-384 or P-521", hint=_HOW)
    return key
