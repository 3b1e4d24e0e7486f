"""The words for messages about a run, which differ between training and scoring. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The words for one kind of run; the examples are those of a training."""

    verb: str
    """the verb: train"""
    going: str
    """its present participle: training"""
    done: str
    """the status of a key for which the run succeeded: trained"""
    things: str
    """what the rate counts: models"""


TRAINING = Wording(verb="train", going="training", done="trained", things="models")
SCORING = Wording(verb="score", going="scoring", done="scored", things="keys")


def of(kind: str) -> Wording:
    """The words of a run by its ``kind``, ``train`` or ``score``."""
    return SCORING if kind == SCORING.verb else TRAINING
