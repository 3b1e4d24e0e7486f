"""Signed releases: the OpenSSF format, who may sign, and what a signature holds to. The attacks are in test_attacks."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from job.errors import ConfigurationError, DamageError
from job.registry import index
from job.registry.history import signature_name
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.registry.signing import sign_release, trusted, verify_release
from job.store import Store, open_store
from tests.support.published import at, dumped, line, publish, put, slope
from tests.support.signing_keys import PRIVATE, PRIVATE_KEY, PUBLIC, private_pem, public_pem


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "output"))
    publish(store, {"a": line(1.0), "b": line(2.0)})
    return store


def file(store: Store, name: str) -> Path:
    return Path(store.uri.removeprefix("file://")) / name


def bundle(store: Store, version: int = 1) -> Any:
    return json.loads(file(store, signature_name(version)).read_text())


def statement(store: Store, version: int = 1) -> Any:
    return json.loads(base64.b64decode(bundle(store, version)["dsseEnvelope"]["payload"]))


def sign_by_hand(store: Store, version: int, change: Any) -> None:
    """Sign a changed statement properly: what a careless holder of the key might do."""
    made, told = bundle(store, version), statement(store, version)
    change(told)
    payload = json.dumps(told).encode()
    pae = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    made["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    signature = PRIVATE_KEY.sign(pae, ec.ECDSA(hashes.SHA256()))
    made["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]
    file(store, signature_name(version)).write_text(json.dumps(made))


# ---- the format


def test_a_signature_is_a_sigstore_bundle_around_an_in_toto_statement(store: Store) -> None:
    """Checked here by hand, from the specifications of DSSE, in-toto and the model signature's predicate."""
    assert sign_release(store, 1, PRIVATE) == "signatures/00000000000000000001.json"

    made = bundle(store)
    envelope = made["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    PRIVATE_KEY.public_key().verify(
        base64.b64decode(envelope["signatures"][0]["sig"]),
        f"DSSEv1 {len(envelope['payloadType'])} {envelope['payloadType']} {len(payload)} ".encode() + payload,
        ec.ECDSA(hashes.SHA256()),
    )
    assert made["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert made["verificationMaterial"]["publicKey"]["hint"] == hashlib.sha256(PUBLIC).hexdigest()
    told = json.loads(payload)
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicateType"] == "https://model_signing/signature/v1.0"
    assert told["predicate"]["serialization"]["method"] == "files"
    assert told["predicate"]["manyfit"] == {"output": store.uri, "version": 1, "run": "run-1"}


def test_what_is_signed_are_the_versions_data_files_and_its_commit(store: Store) -> None:
    publish(store, {"c": line(3.0)}, minute=2)
    sign_release(store, 2, PRIVATE)

    resources = statement(store, 2)["predicate"]["resources"]

    names = [each["name"] for each in resources]
    assert names == sorted([*Index(store).files(2), "_delta_log/00000000000000000002.json"])
    root = hashlib.sha256()
    for each in resources:
        data = file(store, f"index/{each['name']}").read_bytes()
        assert each == {"name": each["name"], "algorithm": "sha256", "digest": hashlib.sha256(data).hexdigest()}
        root.update(hashlib.sha256(data).digest())
    assert statement(store, 2)["subject"] == [{"name": "index", "digest": {"sha256": root.hexdigest()}}]


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_each_curve_of_the_format_signs_and_verifies(store: Store, curve: Any) -> None:
    key = ec.generate_private_key(curve())
    sign_release(store, 1, private_pem(key, b"secret"), password=b"secret")

    assert slope(ModelSet.open(store.uri, public_key=public_pem(key))["a"]) == 1.0


# ---- reading


def test_a_signed_set_reads_like_an_unsigned_one(store: Store, tmp_path: Path) -> None:
    publish(store, {"a": line(5.0), "c": line(3.0)}, minute=2)
    sign_release(store, 2, PRIVATE)
    key = tmp_path / "key.pub"
    key.write_bytes(PUBLIC)

    plain = ModelSet.open(store.uri)
    for given in (PUBLIC, PUBLIC.decode(), key, str(key)):
        signed = ModelSet.open(store.uri, public_key=given)
        assert {name: slope(signed[name]) for name in signed} == {"a": 5.0, "b": 2.0, "c": 3.0}
    assert signed.info("a") == plain.info("a")
    assert signed.frame().equals(plain.frame())
    assert signed.metrics().equals(plain.metrics())
    with pytest.raises(KeyError):
        signed.info("nobody")


def test_an_older_signed_version_can_be_opened(store: Store) -> None:
    sign_release(store, 1, PRIVATE)
    sign_release(store, publish(store, {"a": line(5.0)}, minute=2), PRIVATE)

    assert slope(ModelSet.open(store.uri, at=1, public_key=PUBLIC)["a"]) == 1.0


# ---- signing


def test_signing_again_changes_nothing(store: Store) -> None:
    sign_release(store, 1, PRIVATE)
    before = bundle(store)

    sign_release(store, 1, PRIVATE)

    assert bundle(store) == before


def test_a_version_that_another_key_has_signed_is_not_signed_over(store: Store) -> None:
    sign_release(store, 1, private_pem(ec.generate_private_key(ec.SECP256R1())))

    with pytest.raises(DamageError, match="not signed with this key"):
        sign_release(store, 1, PRIVATE)


def test_nothing_is_signed_that_was_computed_from_a_tampered_version(store: Store) -> None:
    """The release merged what somebody had written into the signed files of the version before."""
    sign_release(store, 1, PRIVATE)
    elsewhere = open_store(str(file(store, "scratch")))
    entry = put(store, "b", dumped(line(666.0)), listed_at=at(1))
    Index(elsewhere).release(index.changes([entry]), run="run-1")
    forged, signed = Index(elsewhere).files(1)[0], Index(store).files(1)[0]
    # The log is the attacker's as well, or the other size would be noticed by chance.
    file(store, f"index/{signed}").write_bytes(file(elsewhere, f"index/{forged}").read_bytes())
    log = file(store, "index/_delta_log/00000000000000000001.json")
    log.write_text(file(elsewhere, "index/_delta_log/00000000000000000001.json").read_text().replace(forged, signed))
    version = publish(store, {"a": line(5.0)}, minute=2)
    assert sorted(Index(store).read().column("key").to_pylist()) == ["a", "b"]

    with pytest.raises(DamageError, match="has other bytes than were signed"):
        sign_release(store, version, PRIVATE)


def test_nothing_is_signed_that_was_made_from_a_version_published_without_the_key(store: Store) -> None:
    """Somebody who can write, but not sign, publishes; the next run's signature would cover that as well."""
    sign_release(store, 1, PRIVATE, run="run-1")
    forged = publish(store, {"b": line(666.0)}, minute=2)
    version = publish(store, {"a": line(5.0)}, minute=3)

    assert sign_release(store, forged, PRIVATE, run="run-3") is None
    with pytest.raises(DamageError, match=r"version 2 .* was published without the signing key"):
        sign_release(store, version, PRIVATE, run="run-3", patience=0)
    with pytest.raises(DamageError, match="is not signed"):
        ModelSet.open(store.uri, public_key=PUBLIC)


def test_a_run_waits_for_the_signature_of_the_run_that_published_just_before(store: Store) -> None:
    sign_release(store, 1, PRIVATE, run="run-1")
    publish(store, {"a": line(2.0)}, minute=2)
    publish(store, {"a": line(3.0)}, minute=3)
    other = threading.Timer(0.7, lambda: sign_release(store, 2, PRIVATE, run="run-2"))
    other.start()

    assert sign_release(store, 3, PRIVATE, run="run-3", patience=30) is not None
    other.join()
    assert slope(ModelSet.open(store.uri, public_key=PUBLIC)["a"]) == 3.0


def test_a_run_that_changed_nothing_does_not_sign_what_others_published(store: Store) -> None:
    sign_release(store, 1, PRIVATE, run="run-1")
    publish(store, {"a": line(666.0)}, minute=2)

    assert sign_release(store, 2, PRIVATE, run="nothing-to-do") is None
    assert not file(store, signature_name(2)).exists()


def test_a_person_may_vouch_for_a_version_and_runs_go_on_from_there(store: Store) -> None:
    sign_release(store, 1, PRIVATE, run="run-1")
    Index(store).retire(["b"])
    sign_release(store, 2, PRIVATE, vouch=True)
    publish(store, {"a": line(5.0)}, minute=3)

    assert sign_release(store, 3, PRIVATE, run="run-3") is not None
    assert list(ModelSet.open(store.uri, public_key=PUBLIC)) == ["a"]


def test_a_rollback_without_the_key_holds_signed_files_only_and_the_next_run_signs_it(store: Store) -> None:
    sign_release(store, 1, PRIVATE, run="run-1")
    sign_release(store, publish(store, {"a": line(5.0)}, minute=2), PRIVATE, run="run-2")
    Index(store).rollback(1)
    with pytest.raises(DamageError, match="is not signed"):
        ModelSet.open(store.uri, public_key=PUBLIC)

    assert sign_release(store, 3, PRIVATE, run="nothing-to-do") is not None
    assert slope(ModelSet.open(store.uri, public_key=PUBLIC)["a"]) == 1.0


def test_the_newest_signatures_are_read_and_not_all_of_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one for each release; a run looks at what its version is made of, before it trains and when it signs."""
    for minute in range(2, 12):
        sign_release(store, minute - 1, PRIVATE, run=f"run-{minute - 1}")
        publish(store, {"a": line(float(minute))}, minute=minute)
    read: list[str] = []
    get = type(store).get

    def noted(own: Store, name: str, **options: Any) -> bytes:
        if "signatures/" in name:
            read.append(name)
        return bytes(get(own, name, **options))

    monkeypatch.setattr(type(store), "get", noted)
    assert trusted(store, Index(store).files(10), PRIVATE)
    assert {int(name[-25:-5]) for name in read} == {10}
    read.clear()
    assert sign_release(store, 11, PRIVATE, run="run-11") is not None
    assert {int(name[-25:-5]) for name in read} <= {10, 11}


def test_the_key_may_be_changed_between_releases(store: Store) -> None:
    sign_release(store, 1, private_pem(ec.generate_private_key(ec.SECP256R1())))
    sign_release(store, publish(store, {"a": line(5.0)}, minute=2), PRIVATE)

    assert slope(ModelSet.open(store.uri, public_key=PUBLIC)["a"]) == 5.0


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (b"no key", "cannot be used"),
        (private_pem(ed25519.Ed25519PrivateKey.generate()), "not an ECDSA key"),
        (private_pem(ec.generate_private_key(ec.SECP256K1())), "not an ECDSA key"),
        (private_pem(PRIVATE_KEY, b"secret"), "cannot be used"),
        (PUBLIC, "cannot be used"),
    ],
    ids=["text", "ed25519", "secp256k1", "locked", "public"],
)
def test_a_key_that_the_format_does_not_know_is_a_configuration_error(store: Store, pem: bytes, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sign_release(store, 1, pem)


@pytest.mark.parametrize("pem", [b"no key", PRIVATE, public_pem(ed25519.Ed25519PrivateKey.generate())])
def test_a_public_key_that_is_none_is_a_configuration_error(store: Store, pem: bytes) -> None:
    with pytest.raises(ConfigurationError, match="the public key"):
        verify_release(store, 1, pem)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ModelSet.open(store.uri, public_key="/no/such/file")


# ---- malformed statements


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"mediaType": "x"}', "\xff"])
def test_a_file_that_is_no_bundle_is_refused(store: Store, text: str) -> None:
    sign_release(store, 1, PRIVATE)
    file(store, signature_name(1)).write_bytes(text.encode("latin-1"))

    with pytest.raises(DamageError, match="malformed"):
        verify_release(store, 1, PUBLIC)


def test_a_statement_changed_after_signing_is_refused(store: Store) -> None:
    sign_release(store, 1, PRIVATE)
    made, told = bundle(store), statement(store)
    told["predicate"]["manyfit"]["version"] = 2
    made["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(told).encode()).decode()
    file(store, signature_name(2)).write_text(json.dumps(made))

    with pytest.raises(DamageError, match="not signed with this key"):
        verify_release(store, 2, PUBLIC)


def _name(name: str) -> Any:
    return lambda told: told["predicate"]["resources"][0].update(name=name)


@pytest.mark.parametrize(
    "change",
    [
        _name("../x.parquet"),
        _name("/etc/x.parquet"),
        _name("a/../../x.parquet"),
        _name("x.joblib"),
        lambda told: told["predicate"]["resources"][0].update(digest="0" * 64),
        lambda told: told["predicate"]["resources"][0].update(algorithm="sha1"),
        lambda told: told["predicate"]["resources"].append(told["predicate"]["resources"][0]),
        lambda told: told["predicate"]["resources"].pop(),
        lambda told: told.update(predicateType="https://example.org/other"),
        lambda told: told["predicate"].pop("manyfit"),
        lambda told: told["subject"].append(told["subject"][0]),
    ],
)
def test_a_signed_statement_that_makes_no_sense_is_refused(store: Store, change: Any) -> None:
    sign_release(store, 1, PRIVATE)
    sign_by_hand(store, 1, lambda told: None)
    verify_release(store, 1, PUBLIC)
    sign_by_hand(store, 1, change)

    with pytest.raises(DamageError, match="malformed"):
        verify_release(store, 1, PUBLIC)


def test_a_signed_file_that_is_missing_is_refused(store: Store) -> None:
    sign_release(store, 1, PRIVATE)
    file(store, f"index/{Index(store).files(1)[0]}").unlink()

    with pytest.raises(DamageError, match="is signed, but missing"):
        ModelSet.open(store.uri, public_key=PUBLIC)
