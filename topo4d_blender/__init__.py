"""Topo4D for Blender. `register` and `unregister`, nothing else; importable without bpy and without torch."""


def register() -> None:
    """Blender enables the extension."""
    from . import registration

    registration.register()


def unregister() -> None:
    """Blender disables the extension: nothing of it stays behind, no handler, no timer, no worker."""
    from . import registration

    registration.unregister()
