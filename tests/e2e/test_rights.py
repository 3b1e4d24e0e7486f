"""What the accounts may do, by asking the API server, and what they did, by its audit log, when every job has run."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future
from typing import Any

import pytest

from tests.e2e.harness import CHART, Failed, Space

GRANTED = ("create", "get", "list", "watch", "patch", "delete", "deletecollection")
REFUSED = """
get secrets, list secrets, create secrets, create pods/exec, get configmaps, create configmaps, create services, update pods,
create persistentvolumeclaims, create rolebindings, get nodes, create serviceaccounts/token, delete sparkapplications,
update networkpolicies
"""


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


def test_the_drivers_account_can_do_what_it_must_and_nothing_else(space: Space, account: str) -> None:
    def may(verb: str, resource: str) -> bool:
        try:
            return space.kubectl("auth", "can-i", verb, resource, f"--as={account}-driver").strip() == "yes"
        except Failed as refused:
            return "no" not in str(refused).split()

    assert [verb for verb in GRANTED if may(verb, "pods")] == list(GRANTED)
    refused = [(words.split()[0], words.split()[1]) for words in REFUSED.split(",")]
    assert [pair for pair in refused if may(*pair)] == []


def test_the_executors_account_can_do_nothing(space: Space, account: str) -> None:
    listed = space.kubectl("auth", "can-i", "--list", "--no-headers", f"--as={account}-executor").splitlines()

    for line in listed:  # what every account may: ask about itself, and look at the API's own description
        assert re.match(r"selfsubject\w+\.\S+|\s+\[/", line), line


def test_every_granted_verb_is_used_and_nothing_was_refused(space: Space, begun: dict[str, Future[Any]]) -> None:
    if not space.cluster.audit:
        pytest.skip("the API server's audit log is not ours to read")
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
    assert pods == set(GRANTED)
