"""The words for what a run does with its keys: training makes models, scoring predicts. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How a run is spoken of."""

    verb: str
    """what it does: train"""
    going: str
    """while it does it: training"""
    done: str
    """the status of a key for which it succeeded: trained"""
    things: str
    """what is counted by the second: models"""


TRAINING = Wording(verb="train", going="training", done="trained", things="models")
SCORING = Wording(verb="score", going="scoring", done="scored", things="keys")


def of(kind: str) -> Wording:
    """The words of a run by its ``kind``, ``train`` or ``score``."""
    return SCORING if kind == SCORING.verb else TRAINING
