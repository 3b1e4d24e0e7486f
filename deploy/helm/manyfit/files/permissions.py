"""Compares what this pod's ServiceAccount may do with what the chart grants it.

Run by ``helm test`` inside the job's image; needs only the standard library. Asks the API server with
SelfSubjectAccessReviews, which every account may do. Exit code 0: exactly the granted rights; 1: more or fewer.

    python permissions.py '[{"apiGroups": [""], "resources": ["pods"], "verbs": ["create", ...]}]'
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

VERBS = ("create", "get", "list", "watch", "patch", "update", "delete", "deletecollection")

# What an attacker in the driver would try: the namespace's secrets, other workloads, a shell in a pod, more rights.
RESOURCES = (
    ("", "pods"),
    ("", "pods/exec"),
    ("", "pods/log"),
    ("", "secrets"),
    ("", "configmaps"),
    ("", "services"),
    ("", "persistentvolumeclaims"),
    ("", "serviceaccounts"),
    ("", "serviceaccounts/token"),
    ("", "nodes"),
    ("apps", "deployments"),
    ("batch", "jobs"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("sparkoperator.k8s.io", "sparkapplications"),
)

Right = tuple[str, str, str]


def granted(rules: Sequence[dict[str, list[str]]]) -> set[Right]:
    """The rights in RBAC rules, as (group, resource, verb)."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def asked(rights: set[Right]) -> Iterator[Right]:
    """Every granted right, then those that must not be there."""
    yield from sorted(rights)
    for group, resource in RESOURCES:
        for verb in VERBS:
            if (group, resource, verb) not in rights:
                yield group, resource, verb


class Server:
    """The API server, as this pod sees it."""

    def __init__(self, url: str, account: Path) -> None:
        self.url = url
        self.namespace = (account / "namespace").read_text().strip()
        self.token = (account / "token").read_text().strip()
        self.context = ssl.create_default_context(cafile=str(account / "ca.crt")) if url.startswith("https") else None

    def allows(self, right: Right) -> bool:
        """Whether this account has one right in its namespace."""
        group, resource, verb = right
        name, _, subresource = resource.partition("/")
        attributes = {"namespace": self.namespace, "group": group, "resource": name, "verb": verb}
        attributes |= {"subresource": subresource} if subresource else {}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        request = urllib.request.Request(
            f"{self.url}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            data=json.dumps(review).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30, context=self.context) as answer:
            return bool(json.load(answer)["status"]["allowed"])


def main(arguments: Sequence[str]) -> int:
    """Print one line per difference, and a summary."""
    rights = granted(json.loads(arguments[0]))
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    scheme = os.environ.get("KUBERNETES_SCHEME", "https")
    server = Server(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}", ACCOUNT)
    wildcard = any("*" in right for right in rights)
    wrong = checked = 0
    for right in asked(rights):
        if wildcard and right not in rights:
            continue
        checked += 1
        group, resource, verb = right
        allowed = server.allows(right)
        if allowed != (right in rights):
            wrong += 1
            name = f"{resource}.{group}" if group else resource
            print(f"{'MISSING' if right in rights else 'TOO MUCH'}: {verb} {name} in namespace {server.namespace}")
    print(f"{checked} rights asked for, {len(rights)} granted by the chart, {wrong} differences")
    if wrong:
        print("Another Role or ClusterRole is bound to this account (TOO MUCH), or the RoleBinding is gone (MISSING):")
        print(f"  kubectl -n {server.namespace} get rolebindings,clusterrolebindings -o wide")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
