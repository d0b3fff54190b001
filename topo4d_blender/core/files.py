"""Files that are there whole or not at all: written beside, flushed to the disk, renamed."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def atomic_write(path: Path, writer: Callable[[BinaryIO], object]) -> None:
    """Write `path` by calling `writer` with a binary file in memory; readers see the old file or the whole new one.

    In memory because numpy and Pillow hide why a write to a real file failed. The folder is made if it is not there.
    Raises StorageError if the disk is full or the place cannot be written; what lay at `path` before is kept then.
    """
    content = io.BytesIO()
    writer(content)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def sweep(folder: Path) -> None:
    """Remove what `atomic_write` left beside its files in `folder` when its process was killed."""
    for beside in folder.glob(".*.tmp"):
        beside.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> StorageError:
    """The sentence for an `error` met while `path` was written."""
    if error.errno in _FULL:
        return StorageError(f"The disk is full: {path} could not be written; free some space and run again to go on.")
    reason = error.strerror or str(error)
    return StorageError(f"{path} cannot be written ({reason}); check its permissions or choose another folder.")
