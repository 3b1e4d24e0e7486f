"""A key pair for signatures, made anew in each test process."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

PRIVATE_KEY = ec.generate_private_key(ec.SECP256R1())


def private_pem(key: Any, password: bytes | None = None) -> bytes:
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def pair() -> tuple[bytes, bytes]:
    """A new key pair, as PEM."""
    private = ec.generate_private_key(ec.SECP256R1())
    return private_pem(private), public_pem(private)


PRIVATE, PUBLIC = private_pem(PRIVATE_KEY), public_pem(PRIVATE_KEY)
