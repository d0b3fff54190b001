"""How Blender and the engine talk: JSON lines over the worker's stdin and stdout, one object a line, UTF-8.

Imported by both sides, so it knows only the standard library. stdout carries the protocol alone; prints go to the log.
The worker exits when stdin closes. It runs one job at a time and may be given another when one is done.

Commands, Blender to worker (`command`):
    start   job="open"   capture, frames (null or "1-120")
            job="track"  capture, template, take, frames (null or "1-120"), method, settings {}, device, resume,
                         unit_mm (may be absent or null: the capture's own);
                         start (a frame), again ("51-120"), anchors, from_take (paths): as on the command line
            All three may name `cameras`: a list of names and patterns, those behind a - left out (capture/choice.py).
            Absent or null: all of the capture; for a bake, those that were tracked with.
            job="bake"   take, resolution, frames (null or "1,50-60"), images (null or a folder), resume, overwrite;
                         format, method, base_texture, detail, device as on the command line (may be absent or null)
    cancel

Events, worker to Blender (`event`):
    hello      protocol, engine, python, numba, torch (null if absent), device, cores, memory_gb, pid; always first
    stage      name, total                       a stage of the job begins, `total` steps long
    progress   done, total, eta_s (null at first)
    capture    what `describe` in core.capture gives: cameras, frames, images, unit_mm, warnings
    frame      frame, path, metrics              geometry/000123.npy is whole on disk
    texture    frame, path, proxy                texture/000123.png is whole on disk; proxy is what a viewport shows
    warning    sentence
    error      code ("request", "failed", "cancelled", "internal"), sentence, hint (may be empty); the job has ended
    done       job, summary {} (take, frames; of a track also flagged: sentences); the job has ended
    heartbeat  at least every 2 s while the worker lives
"""

from __future__ import annotations

import json

PROTOCOL = 1
ENGINE = "0.1.0"  # the engine's version; pyproject.toml says the same (a test)
HEARTBEAT_S = 2.0  # the worker is never silent for longer
COMMANDS = ("start", "cancel")
JOBS = ("open", "track", "bake")
EVENTS = ("hello", "stage", "progress", "capture", "frame", "texture", "warning", "error", "done", "heartbeat")


def encode(message: dict) -> str:
    """One line of the protocol, newline included. NaN and infinity are refused (ValueError): they are not JSON."""
    return json.dumps(message, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"


def decode(line: str) -> dict | None:
    """The message in `line`, or None if it is not one (a stray print of some library, an unknown kind)."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    if not isinstance(message, dict):
        return None
    known = message.get("event") in EVENTS or message.get("command") in COMMANDS
    return message if known else None
