"""Optional signatures of releases, in the format of the OpenSSF model-signing project.

A release is signed with a private key, by the driver or by a separate publisher. `ModelSet.open(..., public_key=)` and
``manyfit verify --public-key`` check it, and so does the command line of the model-signing project, on a copy of
``<output>/index``::

    model_signing verify key index/ --signature signatures/<version>.json --public_key key.pub --ignore_unsigned_files

The signature covers the data files of one version of the index and the commit that made it. These files hold the digest
of every model, so the models are covered, too. A signature means that a holder of the key has published these rows, for
this output, as this version. It does not mean that the models are harmless.

The format: a Sigstore bundle v0.3 with a DSSE envelope around an in-toto statement, signed with ECDSA (P-256, P-384 or
P-521). The predicate's additional member ``manyfit`` names output, version and run; verifiers of the format ignore it.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from job.errors import DamageError, NotFoundError
from job.registry import bundle
from job.registry.history import signature_name
from job.registry.index import Index
from job.registry.signed_release import SignedRelease, verified
from job.store import Store, open_store

# A name in the signed statement is accepted only if it can only be that of a file of the table (no path).
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.parquet")
_LOG = re.compile(r"_delta_log/\d{20}\.json")


def sign_release(
    store: Store,
    version: int,
    key_pem: bytes,
    *,
    run: str | None = None,
    vouch: bool = False,
    password: bytes | None = None,
    patience: float = 20.0,
) -> str | None:
    """Sign one version. A version that is signed already is not signed again.

    A version is made from the one before it, so the version before must be trusted, too: it must be signed with this
    key, or consist only of files that are (after a rollback). The first signature of an output needs no such version.

    Parameters
    ----------
    store
        The output.
    version
        A version that was made by a release, a rollback or a retirement.
    key_pem
        An ECDSA private key as PEM text.
    run
        Sign only if this run made the version, or if the version has only files that are signed already (a rollback).
    vouch
        Sign the version no matter who made it, because a person has checked it.
    patience
        Seconds to wait for another run to sign the version before, which it may have published just now.

    Returns
    -------
    str
        The signature's name below the output; None if the version is not this run's to sign.

    Raises
    ------
    ConfigurationError
        The key cannot be used.
    DamageError
        The version before was published without this key, or its files were changed after they had been signed; or
        this version has another signature already.
    """
    private = bundle.private_key(key_pem, password)
    public = private.public_key()
    name = signature_name(version)
    if store.head(name) is not None:
        verify_release(store, version, bundle.pem(public)).check()
        return name
    index = Index(store)
    own = run is not None and index.released(run) == version
    if not vouch and not (own and _made_of_signed(store, index, version, public)):
        signed = _signed(store, public)
        if signed is not None and not _known(store, index.files(version), signed):
            if run is not None and index.released(run) != version:
                return None
            _wait_for_trust(store, index, version - 1, public, patience)
    newer = (index.version() or version) - version
    made_by = next((each.run for each in index.history(newer + 1) if each.version == version), None)
    resources = []
    root = hashlib.sha256()
    for file in sorted([*index.files(version), f"_delta_log/{version:020d}.json"]):
        digest = hashlib.sha256(store.get(f"index/{file}"))
        root.update(digest.digest())
        resources.append({"name": file, "algorithm": "sha256", "digest": digest.hexdigest()})
    statement = {
        "subject": [{"name": "index", "digest": {"sha256": root.hexdigest()}}],
        "predicateType": bundle.PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
            "resources": resources,
            "manyfit": {"output": store.uri, "version": version, "run": made_by},
        },
    }
    if not store.create(name, bundle.sign(statement, private)):
        verify_release(store, version, bundle.pem(public)).check()
    return name


def verify_release(store: Store, version: int, public_pem: bytes, *, signed_for: str | None = None) -> SignedRelease:
    """Check the signature of a version. The returned object checks the files when it reads them.

    Parameters
    ----------
    signed_for
        The output URI that the signature must name; default the store's own.

    Raises
    ------
    ConfigurationError
        The public key cannot be used.
    DamageError
        There is no signature, or it was made with another key, or for another output or version.
    """
    public = bundle.public_key(public_pem)
    where = f"version {version} of {store.uri}"
    try:
        raw = bytes(store.get(signature_name(version)))
    except NotFoundError:
        raise DamageError(
            f"{where} is not signed", hint="`manyfit sign` signs it, or open it without a public key."
        ) from None
    try:
        statement = bundle.opened(raw, public)
        about = statement["predicate"]["manyfit"]
        files = _resources(statement)
    except InvalidSignature:
        raise DamageError(f"{where} is not signed with this key", hint="Use the publisher's public key.") from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DamageError(f"the signature of {where} is malformed: {error}") from None
    expected = open_store(signed_for).uri if signed_for is not None else store.uri
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


def trusted(store: Store, files: Sequence[str], key_pem: bytes) -> bool:
    """Whether a version with these data files may be signed: the key has signed all of them, or nothing at all yet.

    Raises
    ------
    ConfigurationError
        The key cannot be used.
    DamageError
        A file no longer has the bytes that were signed.
    """
    signed = _signed(store, bundle.private_key(key_pem, None).public_key(), files)
    return signed is None or _known(store, files, signed)


def _signed(
    store: Store, public: ec.EllipticCurvePublicKey, wanted: Sequence[str] | None = None
) -> dict[str, str] | None:
    """The digests of all data files that this key has signed, by name; None if it has signed nothing.

    There is one signature for each release. The newest are read first, until all ``wanted`` files are found.
    """
    found: dict[str, str] | None = None
    for name in sorted(store.list("signatures")["name"].to_pylist(), reverse=True):
        if found is not None and wanted is not None and all(file in found for file in wanted):
            break
        try:
            if not bundle.claims(bytes(store.get(name)), public):
                continue  # the signing key may have been replaced between versions
            version = int(name[-25:-5])
        except (ValueError, KeyError, TypeError) as error:
            raise DamageError(f"{name} in {store.uri} is not a signature: {error}") from None
        found = {**verify_release(store, version, bundle.pem(public)).files, **(found or {})}
    return found


def _known(store: Store, files: Sequence[str], signed: Mapping[str, str]) -> bool:
    """Whether all these files are signed, and still have the bytes that were signed."""
    if not all(file in signed for file in files):
        return False
    for file in files:
        verified(store, file, signed[file])
    return True


def _made_of_signed(store: Store, index: Index, version: int, public: ec.EllipticCurvePublicKey) -> bool:
    """Whether the version before this one is signed, so that a run may sign the version that it made from it."""
    files = index.files(version - 1) if version > 1 else []
    return bool(files) and _known(store, files, _signed(store, public, files) or {})


def _wait_for_trust(
    store: Store, index: Index, version: int, public: ec.EllipticCurvePublicKey, patience: float
) -> None:
    until = time.monotonic() + patience
    while not _known(store, (files := index.files(version)), _signed(store, public, files) or {}):
        if time.monotonic() >= until:
            raise DamageError(
                f"version {version} of {store.uri} was published without the signing key; what follows is not signed",
                hint="See `manyfit history` and `manyfit models --at`; if it is right, `manyfit sign --vouch`.",
            )
        time.sleep(min(0.5, patience))


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
