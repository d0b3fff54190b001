"""What may go wrong on Blender's side, in words for the artist."""


class BridgeError(Exception):
    """One sentence: what is wrong with which data-block or file, and what to do. Operators report it as it stands."""
