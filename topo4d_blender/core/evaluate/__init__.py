"""Scores of a take against known truth, and nothing that the tracker may look at."""

from .scores import evaluate_take

__all__ = ["evaluate_take"]
