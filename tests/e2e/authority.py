"""A certificate authority of the tests' own, and a server's certificate that it has signed: what `caBundle` is for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey


def issued(host: str) -> dict[str, str]:
    """PEM of the authority (``ca.crt``), of a server's certificate for a host name (``tls.crt``), and of its key (``tls.key``)."""
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests' authority")])
    root = _certificate(name, name, authority, authority).add_extension(x509.BasicConstraints(True, 0), critical=True)
    leaf = (
        _certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "s3")]), name, server, authority)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    )
    pem = serialization.Encoding.PEM
    return {
        "ca.crt": root.sign(authority, hashes.SHA256()).public_bytes(pem).decode(),
        "tls.crt": leaf.sign(authority, hashes.SHA256()).public_bytes(pem).decode(),
        "tls.key": server.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
    }


def _certificate(subject: x509.Name, issuer: x509.Name, own: Key, signer: Key) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
