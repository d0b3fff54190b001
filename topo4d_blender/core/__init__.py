"""The engine: captures, tracking, textures, takes and scores.

Importable alone, on any machine with the packages of pyproject.toml; never imports bpy. Its command line is
``python -m topo4d_blender.core`` (or ``topo4d``). Units and axes are stated once, in docs/conventions.md.
"""
