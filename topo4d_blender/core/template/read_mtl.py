"""The picture an .obj wears, as its .mtl says (map_Kd)."""

from __future__ import annotations

from pathlib import Path

import tinyobjloader

from ..errors import RequestError


def colour_map(path: Path) -> Path:
    """The one map_Kd of the materials of the .obj at `path`. Raises RequestError if there is none, or more than one."""
    config = tinyobjloader.ObjReaderConfig()
    config.triangulate = False
    reader = tinyobjloader.ObjReader()
    if not path.is_file() or not reader.ParseFromFile(str(path), config):
        raise RequestError(f"{path} is no .obj that can be read; name the picture itself.")
    maps = sorted({m.diffuse_texname for m in reader.GetMaterials()} - {""})
    if len(maps) != 1:
        found = f"name {len(maps)} colour maps ({', '.join(maps)})" if maps else "name no colour map (map_Kd)"
        raise RequestError(f"The materials of {path} {found}; name the picture itself.")
    return path.parent / maps[0].replace("\\", "/")
