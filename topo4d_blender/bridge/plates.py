"""Plates and textures as Blender image sequences.

Blender plays a sequence by replacing the last run of digits in the *file name*, so `cam00/000123.png` is a sequence and
`000123/cam00.jpg` is not; the latter gets a folder of links that is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import bpy


def is_sequence(paths: Mapping[int, Path]) -> bool:
    """Whether Blender's frame numbering leads from any of `paths` (frame -> file) to all the others."""
    if not paths:
        return False
    first = paths[min(paths)]
    match = re.fullmatch(r"(.*?)(\d+)(\D*)", first.name)
    if match is None:
        return False
    head, digits, tail = match.groups()
    return all(path == first.with_name(f"{head}{frame:0{len(digits)}d}{tail}") for frame, path in paths.items())


def link_sequence(paths: Mapping[int, Path], folder: Path) -> dict[int, Path]:
    """Name `paths` again as a sequence, `folder`/000123.jpg, by hard or symbolic links; nothing is copied.

    Raises OSError where the file systems allow neither kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    linked = {}
    for frame, path in paths.items():
        linked[frame] = folder / f"{frame:06d}{path.suffix.lower()}"
        linked[frame].unlink(missing_ok=True)
        try:
            os.link(path, linked[frame])
        except OSError:
            os.symlink(path, linked[frame])
    return linked


def load_sequence(paths: Mapping[int, Path], name: str, linear: bool = False) -> bpy.types.Image:
    """The image data-block of a sequence (`is_sequence`), sRGB whatever a studio's colour configuration defaults to.

    `linear`: linear light with the primaries of Rec. 709 instead.
    """
    image = bpy.data.images.load(str(paths[min(paths)]), check_existing=False)
    image.name = name
    image.source = "SEQUENCE" if len(paths) > 1 else "FILE"
    set_colour_space(image, linear)
    return image


def set_colour_space(image: bpy.types.Image, linear: bool = False) -> None:
    """Mark `image` as sRGB or as `linear`; configurations without a space of that name keep their default."""
    try:
        image.colorspace_settings.name = "Linear Rec.709" if linear else "sRGB"
    except TypeError:
        pass


def play(user: bpy.types.ImageUser, first: int, last: int) -> None:
    """Let `user` show file number f on scene frame f, for f in [first, last]; after it the last one holds.

    Blender shows number min(scene - frame_start + 1, frame_duration) + frame_offset; before frame_start it finds none.
    """
    user.frame_start = first
    user.frame_duration = last - first + 1  # 1 after load
    user.frame_offset = first - 1
    user.use_cyclic = False
    if hasattr(user, "use_auto_refresh"):
        user.use_auto_refresh = True
