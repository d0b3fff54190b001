"""Files that are there whole or not at all: written beside, flushed to the disk, renamed."""

from __future__ import annotations

import errno
import io
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOTHING = 2**20  # bytes: a disk with less is full


def atomic_write(path: Path, writer: Callable[[BinaryIO], object]) -> None:
    """Write `path` by calling `writer` with a binary file in memory; readers see the old file or the whole new one.

    In memory because numpy and Pillow hide why a write to a real file failed. The folder is made if it is not there.
    Raises StorageError if the disk is full or the place cannot be written; what lay at `path` before is kept then.
    """
    content = io.BytesIO()
    writer(content)
    atomic_file(path, lambda beside: beside.write_bytes(content.getbuffer()))


def atomic_file(path: Path, writer: Callable[[Path], object]) -> None:
    """The same for a `writer` that takes a path alone: it writes a file beside, which takes the place of `path` then.

    A RuntimeError of such a library, which keeps the system's reason to itself, is taken for the disk's failure.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            writer(beside)
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except RuntimeError as error:
        full = shutil.disk_usage(path.parent).free < _NOTHING
        raise cannot_write(path, OSError(errno.ENOSPC if full else errno.EIO, " ".join(str(error).split()))) from error
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
    mend = (
        "choose another folder"
        if isinstance(error, FileNotFoundError)
        else "check its permissions or choose another folder"
    )
    return StorageError(f"{path} cannot be written ({reason}); {mend}.")
