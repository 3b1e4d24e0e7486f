"""Rollback, its resumption and retire on signed sets: signed with the key, refused without, told when left unsigned."""

from __future__ import annotations

from pathlib import Path

import pytest

from job.cli import main
from job.errors import ConfigurationError, DamageError
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.registry.seal import Seal
from job.registry.signing import sign_release
from job.store import Store, open_store
from tests.support.published import line, publish, slope
from tests.support.signing_keys import PRIVATE, PUBLIC, private_pem


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two signed versions, and the key in a file."""
    store = open_store(str(tmp_path / "output"))
    (tmp_path / "key.pem").write_bytes(PRIVATE)
    for number in (1, 2):
        publish(store, {"a": line(float(number)), "b": line(9.0)}, minute=number)
        sign_release(store, number, PRIVATE, run=f"run-{number}")
    return store


def manyfit(store: Store, command: str, *arguments: str, key: bool = False) -> int:
    path = Path(store.uri.removeprefix("file://"))
    return main.main(
        [command, str(path), *arguments, *(["--signing-key", str(path.parent / "key.pem")] if key else [])]
    )


def insisting(store: Store) -> ModelSet:
    """As a reader with the public key opens the set."""
    return ModelSet.open(store.uri, public_key=PUBLIC)


def test_a_rollback_with_the_key_is_signed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert manyfit(store, "rollback", "1", "--hold", key=True) == 0

    assert "version 3 is signed" in capsys.readouterr().out
    assert slope(insisting(store)["a"]) == 1.0


def test_the_resumption_with_the_key_is_signed(store: Store) -> None:
    manyfit(store, "rollback", "1", "--hold", key=True)

    assert manyfit(store, "rollback", "--resume", key=True) == 0

    assert Index(store).version() == 4
    assert not Index(store).held()
    assert slope(insisting(store)["a"]) == 1.0


def test_a_retirement_with_the_key_is_signed(store: Store) -> None:
    assert manyfit(store, "retire", "b", key=True) == 0

    assert list(insisting(store)) == ["a"]
    assert sign_release(store, publish(store, {"a": line(5.0)}, minute=4), PRIVATE, run="run-4"), "and runs go on"


@pytest.mark.parametrize("arguments", [("rollback", "1"), ("retire", "b")])
def test_without_the_key_a_signed_set_is_not_changed(
    store: Store, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert manyfit(store, *arguments) == ConfigurationError.exit_code

    said = capsys.readouterr().err
    assert "readers with a public key would be refused. Nothing was changed" in said
    assert "--unsigned" in said
    assert Index(store).version() == 2
    assert len(insisting(store)) == 2


def test_a_hold_of_a_signed_set_does_not_end_without_the_key(store: Store) -> None:
    manyfit(store, "rollback", "1", "--hold", key=True)

    assert manyfit(store, "rollback", "--resume") == ConfigurationError.exit_code
    assert Index(store).held()


def test_whoever_accepts_it_goes_on_unsigned_and_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert manyfit(store, "rollback", "1", "--unsigned") == 0

    assert "readers with a public key are refused until a version is signed again" in capsys.readouterr().err
    with pytest.raises(DamageError, match="is not signed"):
        insisting(store)


def test_going_back_to_a_signed_version_wants_the_key_though_the_current_one_is_not_signed(store: Store) -> None:
    publish(store, {"a": line(7.0)}, minute=3)

    assert manyfit(store, "rollback", "2") == ConfigurationError.exit_code
    assert manyfit(store, "rollback", "2", key=True) == 0
    assert slope(insisting(store)["a"]) == 2.0


def test_a_set_that_was_never_signed_asks_for_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(str(tmp_path / "output"))
    for number in (1, 2):
        publish(store, {"a": line(float(number)), "b": line(9.0)}, minute=number)

    assert manyfit(store, "rollback", "1") == 0
    assert manyfit(store, "retire", "b") == 0
    assert "signed" not in "".join(capsys.readouterr())


def test_what_was_published_without_the_key_is_neither_changed_nor_signed(store: Store) -> None:
    """A signature would cover what somebody without the key has written."""
    forged = publish(store, {"b": line(666.0)}, minute=3)

    assert manyfit(store, "retire", "a", key=True) == DamageError.exit_code
    assert Index(store).version() == forged


def test_a_version_whose_signing_was_interrupted_is_signed_by_a_resumption_with_the_key(store: Store) -> None:
    Index(store).retire(["b"])

    assert manyfit(store, "rollback", "--resume", key=True) == 0

    assert Index(store).version() == 3, "nothing was held: no new version"
    assert list(insisting(store)) == ["a"]


def test_a_key_that_cannot_be_used_is_refused_before_anything_is_changed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")

    assert manyfit(store, "rollback", "1", key=True) == ConfigurationError.exit_code
    (tmp_path / "key.pem").unlink()
    assert manyfit(store, "rollback", "1", key=True) == ConfigurationError.exit_code
    assert Index(store).version() == 2


def test_a_new_key_may_sign_from_here_on(store: Store, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    (tmp_path / "key.pem").write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))

    assert manyfit(store, "rollback", "1", key=True) == 0


def test_a_key_and_consent_to_none_exclude_each_other(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="exclude each other"):
        Seal(store, PRIVATE, unsigned=True)
