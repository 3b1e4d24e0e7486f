"""Runs on a signed set: with the key each release is signed; without it, or on what it did not sign, nothing is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from job.cli import main
from job.errors import ConfigurationError, DamageError
from job.registry.model_set import ModelSet
from tests.support.folder_job import Job, line
from tests.support.signing_keys import PRIVATE, PUBLIC


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path)
    for number in range(4):
        made.put(f"k{number}.csv.gz", line(number + 1.0))
    return made


@pytest.fixture
def signed(job: Job, tmp_path: Path) -> tuple[dict[str, str], bytes]:
    """A key pair: the output section that signs, and the public key."""
    (tmp_path / "key.pem").write_bytes(PRIVATE)
    return {"signing_key": str(tmp_path / "key.pem")}, PUBLIC


def test_a_release_is_signed_with_the_key_of_the_settings_and_a_reader_can_insist_on_it(
    job: Job, signed: tuple[dict[str, str], bytes]
) -> None:
    section, public = signed

    job.run(output=section)

    models = ModelSet.open(str(job.out), public_key=public)
    assert models["k3"].coef_[0] == pytest.approx(4.0, abs=1e-6)


def test_a_run_without_the_key_refuses_a_signed_set_before_anything_is_trained(
    job: Job, signed: tuple[dict[str, str], bytes]
) -> None:
    section, public = signed
    job.run(output=section)
    job.put("new.csv.gz", line(7.0))

    with pytest.raises(ConfigurationError, match="is signed, and the new one would not be") as caught:
        job.run()

    assert "output.signing_key" in caught.value.hint
    assert "output.unsigned: true" in caught.value.hint
    assert not (job.out / "models" / "new").exists()
    assert "new" not in ModelSet.open(str(job.out), public_key=public)


def test_a_publisher_signs_what_runs_publish_unsigned_by_consent(
    job: Job, signed: tuple[dict[str, str], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    section, public = signed
    job.run(output=section)
    job.put("new.csv.gz", line(7.0))

    report = job.run(output={"unsigned": True})

    assert "readers with a public key are refused until a version is signed again" in caplog.text
    assert main.main(["sign", str(job.out), "--signing-key", section["signing_key"]]) == 0
    assert ModelSet.open(str(job.out), public_key=public)["new"].coef_[0] == pytest.approx(7.0, abs=1e-6)
    assert ModelSet.open(str(job.out), public_key=public).version == report.version


def test_a_run_does_not_build_on_what_was_published_without_its_key(
    job: Job, signed: tuple[dict[str, str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would train for hours, publish, and be unable to sign."""
    monkeypatch.setattr("job.run.run._PATIENCE", 0.0)
    section, public = signed
    job.run(output=section)
    job.put("k1.csv.gz", line(8.0))
    job.run(output={"unsigned": True})
    job.put("k1.csv.gz", line(9.0))
    job.run(output={"unsigned": True})
    job.put("new.csv.gz", line(7.0))

    with pytest.raises(DamageError, match=r"version 3 of .* was not signed with this key") as caught:
        job.run(output=section)

    assert "manyfit sign OUTPUT --at 3 --vouch" in caught.value.hint
    assert not (job.out / "models" / "new").exists()
    assert main.main(["sign", str(job.out), "--signing-key", section["signing_key"], "--vouch"]) == 0
    job.run(output=section)
    assert "new" in ModelSet.open(str(job.out), public_key=public)


def test_a_run_that_was_stopped_between_release_and_signature_signs_when_it_is_started_again(
    job: Job, signed: tuple[dict[str, str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    section, public = signed
    job.run(output=section)
    job.put("new.csv.gz", line(7.0))
    with monkeypatch.context() as patch:
        patch.setattr("job.registry.seal.Seal.put", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            job.run(output=section, run={"id": "tonight"})
    with pytest.raises(DamageError, match="is not signed"):
        ModelSet.open(str(job.out), public_key=public)

    job.run(output=section, run={"id": "tonight"})

    assert "new" in ModelSet.open(str(job.out), public_key=public)


def test_a_signing_key_that_is_none_is_refused_before_anything_is_trained(job: Job, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")

    with pytest.raises(ConfigurationError, match="the signing key cannot be used"):
        job.run(output={"signing_key": str(tmp_path / "key.pem")})

    assert not (job.out / "models").exists()


def test_a_signing_key_that_cannot_be_read_is_refused_before_anything_is_trained(job: Job) -> None:
    with pytest.raises(ConfigurationError, match=r"signing_key .* cannot be read: No such file"):
        job.run(output={"signing_key": "/nowhere/key.pem"})

    assert not (job.out / "models").exists()
