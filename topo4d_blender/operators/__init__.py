"""What the artist clicks, one file a step. Operators start jobs and return at once; `commit` shows the result."""

from . import capture, correct, engine, export, install, review, texture, track

CLASSES = (
    *engine.CLASSES,
    *install.CLASSES,
    *capture.CLASSES,
    *track.CLASSES,
    *review.CLASSES,
    *correct.CLASSES,
    *texture.CLASSES,
    *export.CLASSES,
)
