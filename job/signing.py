"""Optional signatures of releases, in the format of the OpenSSF model-signing project.

A release is signed by whoever holds the private key (the driver, or a publisher that ran apart), and checked by
`ModelSet.open(..., public_key=)`, by ``manyfit verify --public-key``, and by that project's own command line over a
copy of ``<output>/index``::

    model_signing verify key index/ --signature signatures/<version>.json --public_key key.pub --ignore_unsigned_files

What is signed: the data files of one version of the index and the commit that made it. They hold the digest of every
model, so the models are covered too. What a signature means: these rows were published by a holder of the key, for this
output, as this version. It does not mean that the models are harmless.

The format: a Sigstore bundle v0.3 with a DSSE envelope around an in-toto statement, signed with ECDSA (P-256, P-384 or
P-521). The predicate's additional member ``manyfit`` names output, version and run; verifiers of the format ignore it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from job.delta import fields
from job.errors import ConfigurationError, DamageError, NotFoundError
from job.index import ROW, Index
from job.store import Store

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
# A name is taken from the signed statement only if it cannot lead anywhere else than to a file of the table.
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.parquet")
_LOG = re.compile(r"_delta_log/\d{20}\.json")


def signature_name(version: int) -> str:
    """Where the signature of a version lies below the output."""
    return f"signatures/{version:020d}.json"


@dataclass(frozen=True, kw_only=True)
class SignedRelease:
    """A release whose signature holds; its files are checked whenever they are read."""

    store: Store
    """the output"""
    version: int
    """of the index"""
    run: str | None
    """that made it"""
    files: Mapping[str, str]
    """data files below ``index/``, each with its SHA-256"""

    def read(self, columns: Sequence[str], keys: Sequence[str] | None = None, encoded: Sequence[str] = ()) -> pa.Table:
        """Rows, parsed from the very bytes whose digest was compared.

        Raises
        ------
        DamageError
            A file is missing or has other bytes than were signed.
        """
        wanted = list(dict.fromkeys([*columns, "key"]))
        schema = fields(ROW, wanted, encoded)
        parts = [schema.empty_table()]
        for name, digest in self.files.items():
            data = _verified(self.store, name, digest)
            part = pq.read_table(pa.BufferReader(pa.py_buffer(data)), columns=wanted, read_dictionary=list(encoded))
            part = part.select(wanted).cast(schema)
            if keys is not None:
                part = part.filter(pc.is_in(part.column("key"), value_set=pa.array(keys, pa.string())))
            parts.append(part)
        return pa.concat_tables(parts).unify_dictionaries().select(list(columns))


def sign_release(store: Store, version: int, key_pem: bytes, *, password: bytes | None = None) -> str:
    """Sign one version; the same version is signed once.

    Parameters
    ----------
    store
        The output.
    version
        That a release, a rollback or a retirement made.
    key_pem
        An ECDSA private key.

    Returns
    -------
    str
        The signature's name below the output.

    Raises
    ------
    ConfigurationError
        The key cannot be used.
    DamageError
        The version before this one is signed with this key, but its files are no longer what was signed: this version
        may have been computed from what somebody else wrote. Or this version has another signature already.
    """
    private = _private_key(key_pem, password)
    public = private.public_key()
    name = signature_name(version)
    if store.head(name) is not None:
        _check_files(verify_release(store, version, _pem(public)))
        return name
    if _signed_with(store, version - 1, public):
        _check_files(verify_release(store, version - 1, _pem(public)))
    index = Index(store)
    run = next((each.run for each in index.history() if each.version == version), None)
    resources = []
    root = hashlib.sha256()
    for file in sorted([*index.files(version), f"_delta_log/{version:020d}.json"]):
        digest = hashlib.sha256(store.get(f"index/{file}"))
        root.update(digest.digest())
        resources.append({"name": file, "algorithm": "sha256", "digest": digest.hexdigest()})
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": "index", "digest": {"sha256": root.hexdigest()}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
            "resources": resources,
            "manyfit": {"output": store.uri, "version": version, "run": run},
        },
    }
    payload = json.dumps(statement, indent=1, sort_keys=True).encode()
    signature = private.sign(_pae(payload), ec.ECDSA(_HASHES[private.curve.name]()))
    bundle = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": _hint(public)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    if not store.create(name, json.dumps(bundle).encode()):
        _check_files(verify_release(store, version, _pem(public)))
    return name


def verify_release(store: Store, version: int, public_pem: bytes, *, signed_for: str | None = None) -> SignedRelease:
    """Check the signature of a version; its files are checked when they are read from the result.

    Parameters
    ----------
    signed_for
        The output URI that the signature must name; default the store's own.

    Raises
    ------
    ConfigurationError
        The public key cannot be used.
    DamageError
        There is no signature, or it is not by this key, or not for this output and version.
    """
    public = _public_key(public_pem)
    where = f"version {version} of {store.uri}"
    try:
        raw = bytes(store.get(signature_name(version)))
    except NotFoundError:
        raise DamageError(f"{where} is not signed", hint="Sign its release, or open it without a public key.") from None
    try:
        statement = _statement(raw, public)
        about = statement["predicate"]["manyfit"]
        files = _resources(statement)
    except InvalidSignature:
        raise DamageError(f"{where} is not signed with this key", hint="Use the publisher's public key.") from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DamageError(f"the signature of {where} is malformed: {error}") from None
    expected = Store.open(signed_for).uri if signed_for is not None else store.uri
    if about.get("output") != expected:
        raise DamageError(
            f"the signature of {where} was made for another output: {about.get('output')!r}",
            hint="If the set was copied on purpose, name the original with signed_for.",
        )
    if about.get("version") != version:
        raise DamageError(f"the signature of {where} was made for version {about.get('version')!r}")
    return SignedRelease(
        store=store,
        version=version,
        run=about.get("run"),
        files={name: digest for name, digest in files.items() if _FILE.fullmatch(name)},
    )


def _signed_with(store: Store, version: int, public: ec.EllipticCurvePublicKey) -> bool:
    """Whether a version has a signature that claims this key; keys may be changed between versions."""
    try:
        bundle = json.loads(bytes(store.get(signature_name(version))))
        return bool(bundle["verificationMaterial"]["publicKey"]["hint"] == _hint(public))
    except NotFoundError:
        return False
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(f"the signature of version {version} of {store.uri} is malformed: {error}") from None


def _statement(raw: bytes, public: ec.EllipticCurvePublicKey) -> Any:
    """The in-toto statement of a bundle, after its signature has been checked over exactly these bytes."""
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
    if statement["_type"] != _STATEMENT or statement["predicateType"] != _PREDICATE:
        raise ValueError("not a model signature statement v1.0")
    return statement


def _resources(statement: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    root = hashlib.sha256()
    for resource in statement["predicate"]["resources"]:
        name, digest = resource["name"], resource["digest"]
        if resource["algorithm"] != "sha256" or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError("a digest is not a SHA-256")
        if not (_FILE.fullmatch(name) or _LOG.fullmatch(name)) or name in found:
            raise ValueError("a file name that cannot be one of the table")
        found[name] = digest
        root.update(bytes.fromhex(digest))
    (subject,) = statement["subject"]
    if subject["digest"]["sha256"] != root.hexdigest():
        raise ValueError("the root digest does not fit the files")
    return found


def _verified(store: Store, name: str, digest: str) -> Any:
    try:
        data = store.get(f"index/{name}")
    except NotFoundError:
        raise DamageError(f"index/{name} in {store.uri} is signed, but missing") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise DamageError(f"index/{name} in {store.uri} has other bytes than were signed")
    return data


def _check_files(release: SignedRelease) -> None:
    for name, digest in release.files.items():
        _verified(release.store, name, digest)


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def _pem(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _hint(public: ec.EllipticCurvePublicKey) -> str:
    return hashlib.sha256(_pem(public)).hexdigest()


def _private_key(pem: bytes, password: bytes | None) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"the signing key cannot be used: {error}", hint=_HOW) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise ConfigurationError("the signing key is not an ECDSA key on P-256, P-384 or P-521", hint=_HOW)
    return key


def _public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"the public key cannot be used: {error}", hint=_HOW) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise ConfigurationError("the public key is not an ECDSA key on P-256, P-384 or P-521", hint=_HOW)
    return key


_HOW = "Make a pair: `openssl ecparam -name prime256v1 -genkey -noout -out key.pem && openssl ec -in key.pem -pubout`."
