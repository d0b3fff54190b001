"""A journal of JSON lines that survives kill -9: a line is there whole, or torn at the end and passed over."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np


def append_line(path: Path, record: dict) -> None:
    """Append `record` as one line. Begins a line of its own if a killed process left the last one torn."""
    line = json.dumps(to_json(record), allow_nan=False, separators=(",", ":")).encode() + b"\n"
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        file.write(line)


def read_lines(path: Path) -> list[dict]:
    """The whole lines of the journal in the order they were written; no journal is an empty one."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    records = []
    for line in text.split("\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def to_json(value: Any) -> Any:
    """`value` in JSON's own types: numpy's scalars and arrays as Python's, paths as text, NaN and infinity as null."""
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
