"""The twelve attacks on whoever loads models (docs/explanation/security.md). Each is refused, and no code of the attacker is run.

The attacker can write to the output: model files, the table, its log, the signatures. She does not have the private key.
The reader has the public key. The canary is a pickle that leaves a folder behind when it is loaded.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from job.errors import DamageError
from job.fit import artifact
from job.registry import index
from job.registry.history import signature_name
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.registry.signing import sign_release
from job.store import Store, open_store
from tests.support.published import at, dumped, line, publish, put, slope
from tests.support.signing_keys import PRIVATE, PUBLIC, pair


class Canary:
    """Unpickling it is what must never happen."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[bytes]:
    """A model file of the attacker's; at the end, it must not have been loaded."""
    pickle.loads(pickle.dumps(Canary(str(tmp_path / "control"))))
    assert (tmp_path / "control").exists(), "the canary sings when it is unpickled"
    yield dumped(Canary(str(tmp_path / "sang")))
    assert not (tmp_path / "sang").exists(), "code of the attacker was run"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An output with two models, released and signed."""
    store = open_store(str(tmp_path / "output"))
    sign_release(store, publish(store, {"a": line(1.0), "b": line(2.0)}), PRIVATE)
    assert slope(opened(store)["a"]) == 1.0, "without an attack, it opens"
    return store


def opened(store: Store, **options: Any) -> ModelSet:
    return ModelSet.open(store.uri, public_key=PUBLIC, **options)


def root(store: Store) -> Path:
    return Path(store.uri.removeprefix("file://"))


def blob(store: Store, key: str) -> Path:
    return root(store) / opened(store).path(key)


def test_1_a_flipped_bit_is_refused(store: Store) -> None:
    path = blob(store, "a")
    good = path.read_bytes()
    models = opened(store)
    for bit in range(0, len(good) * 8, 13):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DamageError, match="not those that were published"):
            models["a"]


def test_2_a_truncated_model_is_refused(store: Store) -> None:
    path = blob(store, "a")
    good = path.read_bytes()
    models = opened(store)
    for size in (0, 1, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(DamageError, match=f"has {size} bytes, not the {len(good)} that were published"):
            models["a"]


def test_3_a_swapped_model_file_is_refused(store: Store, canary: bytes) -> None:
    path = blob(store, "a")
    size = path.stat().st_size
    assert len(canary) < size
    path.write_bytes(canary.ljust(size, b"\0"))

    with pytest.raises(DamageError, match="not those that were published"):
        opened(store)["a"]


def test_4_a_swapped_table_entry_is_refused(store: Store, canary: bytes) -> None:
    """The attacker's model is uploaded properly, and the table's data file is rewritten to name it."""
    entry = put(store, "a", canary, listed_at=at(1))
    elsewhere = open_store(str(root(store).parent / "scratch"))
    Index(elsewhere).release(index.changes([entry]), run="run-1")
    (forged,), (signed,) = Index(elsewhere).files(1), Index(store).files(1)
    shutil.copy(root(elsewhere) / "index" / forged, root(store) / "index" / signed)

    with pytest.raises(DamageError, match="has other bytes than were signed"):
        opened(store)


def test_4_a_swapped_table_log_is_refused(store: Store, canary: bytes) -> None:
    """The log of the signed version is rewritten to name another data file: the signature's list is what counts."""
    entry = put(store, "a", canary, listed_at=at(1))
    elsewhere = open_store(str(root(store).parent / "scratch"))
    Index(elsewhere).release(index.changes([entry]), run="run-1")
    shutil.copytree(root(elsewhere) / "index", root(store) / "index", dirs_exist_ok=True)
    assert Index(store).read(keys=["a"]).column("digest").to_pylist() == [entry["digest"]]

    assert slope(opened(store)["a"]) == 1.0


def test_5_a_signature_by_another_key_is_refused(store: Store, canary: bytes) -> None:
    entry = put(store, "a", canary, listed_at=at(2))
    Index(store).release(index.changes([entry]), run="run-2")
    sign_release(store, 2, pair()[0])

    with pytest.raises(DamageError, match="not signed with this key"):
        opened(store)


def test_6_an_older_release_is_refused_by_who_knows_the_newer(store: Store) -> None:
    """The newest release is taken away; what is left is a complete older one with a good signature."""
    shutil.copytree(root(store), root(store).parent / "older")
    sign_release(store, publish(store, {"a": line(3.0)}, minute=2), PRIVATE)
    seen = opened(store).version
    shutil.rmtree(root(store))
    shutil.copytree(root(store).parent / "older", root(store))

    with pytest.raises(DamageError, match="is at version 1, but 2 has been published already"):
        opened(store, min_version=seen)


def test_6_an_older_releases_signature_does_not_fit_a_newer_version(store: Store) -> None:
    publish(store, {"a": line(3.0)}, minute=2)
    shutil.copy(root(store) / signature_name(1), root(store) / signature_name(2))

    with pytest.raises(DamageError, match="was made for version 1"):
        opened(store)


def test_7_a_release_of_another_job_is_refused(store: Store, tmp_path: Path) -> None:
    """All of another output, signed with the same key, in this one's place."""
    other = open_store(str(tmp_path / "other"))
    sign_release(other, publish(other, {"a": line(9.0)}), PRIVATE)
    shutil.rmtree(root(store))
    shutil.copytree(root(other), root(store))

    with pytest.raises(DamageError, match="was made for another output"):
        opened(store)
    assert slope(opened(store, signed_for=other.uri)["a"]) == 9.0, "a copy made on purpose can be opened"


def test_8_no_key_and_no_digest_leads_out_of_the_models_folder(store: Store, tmp_path: Path, canary: bytes) -> None:
    """Even a signed table could name such keys: they come from the names of input objects."""
    (tmp_path / "evil.joblib").write_bytes(canary)
    key = "../../evil"
    sign_release(store, publish(store, {key: line(1.0)}, minute=2), PRIVATE)
    evil = put(store, "digest", canary, listed_at=at(3)) | {"digest": "../../../evil"}
    Index(store).release(index.changes([evil]), run="run-3")
    sign_release(store, 3, PRIVATE)
    models = opened(store)

    assert ".." not in models.path(key)
    assert slope(models[key]) == 1.0
    with pytest.raises(DamageError, match="digest of 'digest' is not a SHA-256"):
        models["digest"]


def test_9_what_is_unpickled_are_the_bytes_that_were_checked(
    store: Store, monkeypatch: pytest.MonkeyPatch, canary: bytes
) -> None:
    """Every object is replaced right after it was read: signature, table and model."""
    reads: list[str] = []

    def then_swap(read: Any) -> Any:
        def swapping(self: Store, name: str, *span: int, **options: Any) -> Any:
            data = bytes(read(self, name, *span, **options))
            reads.append(name)
            (root(store) / name).write_bytes(canary)
            return data

        return swapping

    for way in ("get", "part"):
        monkeypatch.setattr(type(store), way, then_swap(getattr(type(store), way)))

    assert slope(opened(store)["a"]) == 1.0
    assert [name.partition("/")[0] for name in reads] == ["signatures", "index", "models"]


def test_10_a_larger_object_is_refused_before_it_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    models = opened(store)
    with blob(store, "a").open("ab") as file:
        file.truncate(10_000_000_000)
    monkeypatch.setattr(type(store), "get", lambda *a, **k: pytest.fail("it was read as a whole"))

    with pytest.raises(DamageError, match="has more than 577 bytes"):
        models["a"]


def test_11_an_unsigned_release_is_refused(store: Store, canary: bytes) -> None:
    Index(store).release(index.changes([put(store, "a", canary, listed_at=at(2))]), run="run-2")

    with pytest.raises(DamageError, match="is not signed"):
        opened(store)


def test_12_a_model_of_other_library_versions_is_refused(store: Store) -> None:
    card = json.dumps({**artifact.versions(), "scikit-learn": "0.22.1"})
    sign_release(store, publish(store, {"a": line(3.0)}, minute=2, versions=card), PRIVATE)

    with pytest.raises(DamageError, match=r"scikit-learn 0\.22"):
        opened(store)["a"]


@pytest.mark.parametrize("attack", ["swapped", "canary in its place"])
def test_without_a_public_key_a_damaged_model_is_refused_too(store: Store, canary: bytes, attack: str) -> None:
    bytes_ = blob(store, "b").read_bytes() if attack == "swapped" else canary
    blob(store, "a").write_bytes(bytes_)

    with pytest.raises(DamageError):
        ModelSet.open(store.uri)["a"]


def test_the_names_of_this_file_are_the_twelve_attacks() -> None:
    numbers = {name.split("_")[1] for name in globals() if name.startswith("test_")}
    assert {str(number) for number in range(1, 13)} <= numbers
