"""verify: every published model is re-read, and what is damaged is named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from job.errors import ConfigurationError, DamageError, UnreachableError
from job.fit import artifact
from job.registry import index
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.registry.verify import verify
from job.store import Store, open_store
from tests.support.published import at, dumped, line, publish, put


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "output"))
    publish(store, {key: line(float(number)) for number, key in enumerate("abcd")})
    return store


def blob(store: Store, key: str) -> Path:
    return Path(store.uri.removeprefix("file://")) / ModelSet.open(store.uri).path(key)


def test_a_sound_set_is_checked_whole(store: Store) -> None:
    failed = {"key": "f", "state": "failed", "reason": "oom", "listed_at": at(2)}
    Index(store).release(index.changes([failed]), run="run-2")

    report = verify(store)

    assert (report.version, report.checked, report.damaged) == (2, 4, ())
    assert report.bytes == sum(blob(store, key).stat().st_size for key in "abcd")


def test_each_kind_of_damage_is_named_with_its_key(store: Store) -> None:
    blob(store, "a").unlink()
    blob(store, "b").write_bytes(blob(store, "b").read_bytes()[:-1])
    good = blob(store, "c").read_bytes()
    blob(store, "c").write_bytes(bytes([good[0] ^ 1]) + good[1:])
    unloadable = put(store, "e", b"not a model", listed_at=at(2))
    Index(store).release(index.changes([unloadable]), run="run-2")

    report = verify(store)

    assert report.checked == 5
    problems = dict(report.damaged)
    assert list(problems) == ["a", "b", "c", "e"]
    assert "is missing" in problems["a"]
    assert "bytes, not the" in problems["b"]
    assert "not the ones that were published" in problems["c"]
    assert "cannot be loaded" in problems["e"]
    assert [key for key, _ in verify(store, load=False).damaged] == ["a", "b", "c"]


def test_bytes_with_another_digest_are_never_unpickled(store: Store, tmp_path: Path) -> None:
    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sang"),)

    good = blob(store, "a").read_bytes()
    blob(store, "a").write_bytes(dumped(Canary()).ljust(len(good), b"\0"))

    assert [key for key, _ in verify(store).damaged] == ["a"]
    assert not (tmp_path / "sang").exists()


def test_an_older_version_can_be_verified(store: Store) -> None:
    broken = blob(store, "a")
    publish(store, {"a": line(9.0)}, minute=2)
    broken.unlink()

    assert verify(store).damaged == ()
    assert [key for key, _ in verify(store, at=1).damaged] == ["a"]


def test_models_made_with_other_library_versions_are_no_damage(store: Store) -> None:
    card = json.dumps({**artifact.versions(), "scikit-learn": "0.22.1"})
    publish(store, {"a": line(1.0)}, minute=2, versions=card)

    assert verify(store).damaged == ()


def test_a_model_that_cannot_be_read_is_reported_and_the_others_are_checked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, name = type(store).part, ModelSet.open(store.uri).path("b")

    def one_unreachable(self: Store, wanted: str, begin: int, end: int, **options: Any) -> Any:
        if wanted == name:
            raise UnreachableError("503 for ever")
        return part(self, wanted, begin, end, **options)

    monkeypatch.setattr(type(store), "part", one_unreachable)

    report = verify(store, jobs=2)

    assert (report.checked, report.damaged) == (4, (("b", "cannot be read: 503 for ever"),))


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "many"))
    publish(store, {f"k{number}": line(1.0) for number in range(201)})
    told: list[tuple[int, int]] = []

    verify(store, jobs=3, progress=lambda done, total: told.append((done, total)))

    assert told[-1] == (201, 201)
    assert len(told) == 3
    assert told == sorted(told)


def test_an_unsigned_release_is_refused_when_a_key_is_given(store: Store) -> None:
    from tests.support.signing_keys import PUBLIC

    with pytest.raises(DamageError, match="is not signed"):
        verify(store, public_key=PUBLIC)


def test_nothing_published_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing has been published"):
        verify(open_store(str(tmp_path / "empty")))
