"""What the accounts may do, by asking the API server, and what they did, by its audit log, when every job has run."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future
from typing import Any

import pytest

from tests.e2e.harness import CHART, Failed, Space
from tests.support.skips import DOES_NOT_APPLY

GRANTED = {"create", "get", "list", "watch", "patch", "delete", "deletecollection"}
WITNESS = {"patch": "poison", "delete": "lost-executors"}
"""Verbs that not every job needs: a crashed executor's pod is deleted, or marked where pods are kept."""


@pytest.fixture(scope="module")
def account(space: Space, begun: dict[str, Future[Any]]) -> str:
    """The accounts of a release, without the job; the name."""
    values = space.values("rights", "rights-out")
    rendered = space.cluster.helm(
        "template",
        "rights",
        CHART,
        "-n",
        space.name,
        "-f",
        "-",
        "-s",
        "templates/rbac.yaml",
        "-s",
        "templates/serviceaccounts.yaml",
        text=json.dumps(values),
    )
    space.kubectl("apply", "-f", "-", text=rendered)
    return f"system:serviceaccount:{space.name}:rights"


def rights(space: Space, account: str) -> list[list[str]]:
    """What the API server lets an account do in the namespace, but for what every account may: resource and verbs."""
    listed = space.kubectl("auth", "can-i", "--list", "--no-headers", f"--as={account}").splitlines()
    every = re.compile(r"selfsubject\w+\.\S+\s|\s+\[/")  # ask about itself, and read how the API is
    lines = [line for line in listed if not every.match(line)]
    return [[line.split()[0], *sorted(line[line.rindex("[") + 1 : line.rindex("]")].split())] for line in lines]


def test_the_drivers_account_can_do_what_it_must_and_nothing_else(space: Space, account: str) -> None:
    assert rights(space, f"{account}-driver") == [["pods", *sorted(GRANTED)]]
    with pytest.raises(Failed, match=r"\nno\n"):
        space.kubectl("auth", "can-i", "create", "pods", "--subresource=exec", f"--as={account}-driver")


def test_the_executors_account_can_do_nothing(space: Space, account: str) -> None:
    assert rights(space, f"{account}-executor") == []


@pytest.fixture(scope="module")
def deployed(begun: dict[str, Future[Any]]) -> Any:
    return begun["deployed"].result()


def test_a_deployer_handles_a_release_and_cannot_grant_more_than_she_has(deployed: str) -> None:
    assert "attempting to grant RBAC permissions not currently held" in deployed


def test_every_granted_verb_is_used_and_nothing_was_refused(space: Space, begun: dict[str, Future[Any]]) -> None:
    if not space.cluster.audit:
        pytest.skip(f"{DOES_NOT_APPLY}the audit log of a cluster that was given is not ours to read")
    for each in begun.values():
        each.exception()  # they have ended
    drivers = re.compile(rf"system:serviceaccount:{space.name}:[a-z-]+-driver")
    used: dict[tuple[str, str], set[int]] = {}
    for line in space.cluster.audit.read_text().splitlines():
        event = json.loads(line)
        if event["stage"] == "ResponseComplete" and drivers.fullmatch(event["user"]["username"]):
            what = (event["verb"], event.get("objectRef", {}).get("resource", event["requestURI"]))
            used.setdefault(what, set()).add(event["responseStatus"]["code"])

    print(f"\nused by drivers: {used}")
    assert [what for what, codes in used.items() if 403 in codes] == []
    pods = {verb for verb, resource in used if resource == "pods"}
    assert pods == {verb for verb in GRANTED if WITNESS.get(verb, "") in ("", *space.installed)}
