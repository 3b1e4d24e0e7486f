"""The image's scripts, run as they are, and what it downloads: everything by hash."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

DOCKER = Path(__file__).resolve().parents[2] / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()

JAVA = """#!/bin/bash
# An executor that ends when it is told to: at once (TERM), when it has handed over (PWR), by its driver (USR1).
trap 'echo handed over >>"$LOG"; exit 7' PWR
trap 'echo ended >>"$LOG"; exit 143' TERM
trap 'echo stopped >>"$LOG"; exit 0' USR1
echo "$@" >"$LOG"
while :; do /bin/sleep 0.05; done
"""
SLEEP = """#!/bin/bash
# The scripts' time is that of the test: it stands still while there is no clock, and each pause is written down.
echo "$1" >>"$SLEPT"
until [ -e "$CLOCK" ]; do /bin/sleep 0.01; done
exec /bin/sleep 0.01
"""
TINI = """#!/bin/bash
# what tini -s does, as far as these tests see
[ "$1" = -s ] && [ "$2" = -- ] && shift 2
exec "$@"
"""


LONG = 120
"""Seconds that only a hang takes."""


def until(what: str, ready: Callable[[], object], seconds: float = LONG) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Executor:
    """entrypoint.sh as an executor's container runs it, with a Java, a tini and a sleep of ours."""

    def __init__(self, folder: Path, **more: str) -> None:
        (folder / "bin").mkdir(exist_ok=True)
        for name, text in (("java", JAVA), ("tini", TINI), ("sleep", SLEEP)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self.log, self.marker = folder / "log", folder / "decommissioning"
        self.clock, self._slept = folder / "clock", folder / "slept"
        names = ("EXECUTOR_MEMORY", "DRIVER_URL", "EXECUTOR_ID", "EXECUTOR_CORES", "APPLICATION_ID")
        names += ("EXECUTOR_POD_IP", "RESOURCE_PROFILE_ID", "EXECUTOR_POD_NAME")
        self.environment = {
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "JAVA_HOME": str(folder),
            "TMPDIR": str(folder),
            "LOG": str(self.log),
            "CLOCK": str(self.clock),
            "SLEPT": str(self._slept),
            **{f"SPARK_{name}": f"{name}-of-{folder.name}" for name in names},
            **more,
        }
        command = [str(DOCKER / "entrypoint.sh"), "executor"]
        self.process = subprocess.Popen(command, env=self.environment, start_new_session=True)
        until("Java to start", lambda: self.log.exists() and "KubernetesExecutorBackend" in self.log.read_text())

    def hook(self) -> subprocess.Popen[str]:
        """The preStop hook, as Kubernetes starts it in the container."""
        return subprocess.Popen(
            [str(DOCKER / "decom.sh")], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def slept(self) -> int:
        """The number of pauses of a tenth of a second that have begun."""
        return self._slept.read_text().split().count("0.1") if self._slept.exists() else 0

    def java(self) -> int:
        """The pid of our Java, which is the only one of its session."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if (entry / "comm").read_text() == "java\n" and int(words[3]) == self.process.pid:
                    return int(entry.name)
            except OSError:  # it ended meanwhile
                continue
        raise AssertionError("there is no Java")

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def executor(tmp_path: Path) -> object:
    made: list[Executor] = []

    def start(**more: str) -> Executor:
        made.append(Executor(tmp_path, **more))
        return made[-1]

    yield start
    for each in made:
        each.end()


Start = Callable[..., Executor]
SPOT = {"MANYFIT_DECOMMISSION_SECONDS": "15"}


def test_a_hook_asks_the_executor_to_hand_over_and_returns_before_the_container_ends(executor: Start) -> None:
    one = executor(**SPOT)
    one.clock.touch()
    hook = one.hook()
    said, _ = hook.communicate(timeout=LONG)

    assert hook.returncode == 0
    assert "decommissioning the executor" in said
    assert one.process.wait(LONG) == 7, "the executor's own exit code"
    assert "handed over" in one.log.read_text()


def test_the_container_waits_for_a_hook_that_waits_for_the_same_end(executor: Start) -> None:
    one = executor(**SPOT)
    one.marker.touch()
    os.kill(one.java(), signal.SIGTERM)
    until("Java to end", lambda: "ended" in one.log.read_text())

    until("the container to wait", lambda: one.slept())
    assert one.process.poll() is None, "else Kubernetes notes FailedPreStopHook"
    one.marker.unlink()
    one.clock.touch()
    assert one.process.wait(LONG) == 143
    assert one.slept() == 1, "the end of the hook ends the waiting"


def test_an_executor_that_its_driver_has_stopped_waits_for_the_hook_that_comes_with_the_deletion(
    executor: Start,
) -> None:
    one = executor(**SPOT)
    os.kill(one.java(), signal.SIGUSR1)
    until("Java to end", lambda: "stopped" in one.log.read_text())
    until("the container to wait", lambda: one.slept())
    assert one.process.poll() is None, (
        "else Kubernetes starts the hook in a container that ends, and notes FailedPreStopHook"
    )

    hook = one.hook()
    said = hook.communicate(timeout=LONG)
    assert (hook.returncode, said[1]) == (0, "no executor in this container\n")
    assert one.process.poll() is None
    one.process.terminate()
    one.clock.touch()
    assert one.process.wait(LONG) == 0
    assert one.slept() == 1, "the signal ends the waiting"


def test_an_executor_that_nobody_deletes_is_held_back_for_three_seconds(executor: Start) -> None:
    one = executor(**SPOT)
    one.clock.touch()
    os.kill(one.java(), signal.SIGUSR1)
    assert one.process.wait(LONG) == 0
    assert one.slept() == 30


def test_an_executor_that_crashed_is_not_held_back(executor: Start) -> None:
    one = executor(**SPOT)
    one.clock.touch()
    os.kill(one.java(), signal.SIGTERM)
    assert one.process.wait(LONG) == 143
    assert one.slept() == 0


def test_the_signal_that_ends_a_container_reaches_the_executor(executor: Start) -> None:
    one = executor(**SPOT)
    one.process.terminate()
    assert one.process.wait(LONG) == 143
    assert "ended" in one.log.read_text()


def test_an_executor_that_is_never_decommissioned_is_the_process_itself(executor: Start) -> None:
    one = executor()
    assert one.java() == one.process.pid
    one.process.terminate()
    assert one.process.wait(LONG) == 143


@pytest.mark.parametrize("name", [None, "EXECUTOR_POD"])
def test_a_hook_leaves_the_executors_of_others_alone(executor: Start, tmp_path: Path, name: str | None) -> None:
    one = executor(**SPOT)
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    if name:  # the beginning of another's name
        environment["SPARK_EXECUTOR_POD_NAME"] = f"{name}_NAME-of-{tmp_path.name}"[:-1]
    done = subprocess.run([DOCKER / "decom.sh"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "no executor in this container\n")
    assert one.process.poll() is None
    assert "handed over" not in one.log.read_text()


def test_a_hook_with_nothing_to_do_succeeds(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    done = subprocess.run([DOCKER / "decom.sh"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not (tmp_path / "decommissioning").exists()


def hashes(file: str) -> dict[str, int]:
    """Requirement to its number of hashes."""
    found: dict[str, int] = {}
    for line in (DOCKER / file).read_text().splitlines():
        if match := re.match(r"([\w-]+==\S+)", line):
            found[match[1]] = 0
        elif "--hash=sha256:" in line:
            found[list(found)[-1]] += 1
    return found


@pytest.mark.parametrize(
    ("file", "used"),
    [
        ("uv.txt", "pip install -q --require-hashes -r /opt/uv.txt"),
        ("build.txt", "--build-constraints build.txt --require-hashes"),
    ],
)
def test_what_installs_and_builds_is_pinned_by_hash(file: str, used: str) -> None:
    assert used in DOCKERFILE
    assert hashes(file)
    assert all(hashes(file).values())


def test_all_that_builds_the_wheel_is_pinned() -> None:
    project = tomllib.loads((DOCKER.parent / "pyproject.toml").read_text())
    required = {re.split(r"[^\w-]", each)[0] for each in project["build-system"]["requires"]}
    assert required <= {each.partition("==")[0] for each in hashes("build.txt")}


def test_the_jars_that_are_checked_are_those_that_are_asked_for() -> None:
    asked = (DOCKER / "s3a.xml").read_text()
    lines = [line.split() for line in (DOCKER / "s3a.sha256").read_text().splitlines()]
    names = {name for _, name in lines}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest, _ in lines)
    for property, jar in (("hadoop", "hadoop-aws"), ("awssdk", "s3"), ("awssdk", "sts")):
        version = re.search(f"<{property}>(.*)</{property}>", asked)
        assert version
        assert f"{jar}-{version[1]}.jar" in names
    assert "sha256sum --quiet --strict --check /src/s3a.sha256" in DOCKERFILE


def test_no_download_of_the_image_goes_unchecked() -> None:
    # each way to download, and what has to stand beside it
    checks = {
        r"pip install(?! --quiet --no-cache --no-deps --python /opt/venv/bin/python /dist)": "--require-hashes",
        r"uv sync": "--frozen",
        r"uv build": "--require-hashes",
        r"mvn -q": "--strict-checksums",
    }
    text = DOCKERFILE.replace("\\\n", " ")
    for way, check in checks.items():
        found = [line for line in text.splitlines() if re.search(way, line) and not line.startswith("#")]
        assert found, way
        assert [line for line in found if check not in line] == []
    assert not re.search(r"(?m)^(ADD|RUN.*\b(curl|wget)\b)", text)
