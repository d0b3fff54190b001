"""What the artist clicks, one file a step. Operators start jobs and return at once; `commit` shows the result."""

from . import capture, engine, export, install, review, texture, track

CLASSES = (
    *engine.CLASSES,
    *install.CLASSES,
    *capture.CLASSES,
    *track.CLASSES,
    *review.CLASSES,
    *texture.CLASSES,
    *export.CLASSES,
)
