"""Scores in millimetres, without any alignment before scoring: vertex error, surface distance, drift, jitter, folds."""

from __future__ import annotations

from pathlib import Path

from ..take import Take


def evaluate_take(take: Take, truth: Path) -> dict:
    """Scores of every solved frame and over all frames, ready for JSON (docs/formats.md names every key).

    `truth` is an .npz with `vertices` [F, V, 3] (capture units, one row a frame of the capture in ascending order, or
    the frames named by an optional `frames` [F]), `face_mask` [V] bool and `unit_mm`. Raises RequestError.
    """
    raise NotImplementedError
