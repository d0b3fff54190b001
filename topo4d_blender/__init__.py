"""Topo4D for Blender. `register` and `unregister`, nothing else; importable without bpy and without torch."""
