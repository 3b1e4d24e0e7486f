"""Who reaches whom under a set of NetworkPolicies: the rules of the API's documentation, for pods and addresses.

A pod that no policy selects for a direction is open in that direction; else it is open to what any selecting policy
lists. A connection needs the way out of its source and the way into its destination.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A pod, or an address outside the cluster."""

    labels: dict[str, str] | None = None
    """None: not a pod"""
    namespace: str = ""
    """Where the pod is"""
    address: str = "203.0.113.9"
    """IPv4 or IPv6"""
    namespace_labels: dict[str, str] = field(default_factory=dict)
    """Besides its name"""


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector matches."""
    for name, value in (selector.get("matchLabels") or {}).items():
        if labels.get(name) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        value, values = labels.get(expression["key"]), expression.get("values", [])
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[expression["operator"]]
        if not holds:
            return False
    return True


def _peer(peer: dict[str, Any], place: Place, namespace: str) -> bool:
    if block := peer.get("ipBlock"):
        address = ipaddress.ip_address(place.address)
        inside = address in ipaddress.ip_network(block["cidr"])
        # like Cilium and unlike Calico, an address block never means a pod: the stricter reading
        return (
            place.labels is None
            and inside
            and not any(address in ipaddress.ip_network(each) for each in block.get("except", []))
        )
    if place.labels is None:
        return False
    if "namespaceSelector" in peer:
        names = {"kubernetes.io/metadata.name": place.namespace, **place.namespace_labels}
        if not selects(peer["namespaceSelector"], names):
            return False
    elif place.namespace != namespace:
        return False
    return selects(peer.get("podSelector", {}), place.labels)


def _open(policies: Sequence[Policy], direction: str, own: Place, other: Place, port: int, protocol: str) -> bool:
    if own.labels is None:
        return True
    chosen = [
        each
        for each in policies
        if each["metadata"]["namespace"] == own.namespace
        and direction in each["spec"]["policyTypes"]
        and selects(each["spec"]["podSelector"], own.labels)
    ]
    if not chosen:
        return True
    side = "to" if direction == "Egress" else "from"
    return any(
        (not rule.get(side) or any(_peer(peer, other, own.namespace) for peer in rule[side]))
        and (
            not rule.get("ports")
            or any(each["port"] == port and each.get("protocol", "TCP") == protocol for each in rule["ports"])
        )
        for policy in chosen
        for rule in policy["spec"].get(direction.lower()) or []
    )


def reaches(policies: Sequence[Policy], source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection is possible."""
    return _open(policies, "Egress", source, target, port, protocol) and _open(
        policies, "Ingress", target, source, port, protocol
    )
