"""What the artist sees, one file a step: the sidebar tab Topo4D of the 3D view. Nothing here touches disk or engine."""

from . import engine, export, job, review, subject, take, texture, track

CLASSES = (
    *job.CLASSES,
    *engine.CLASSES,
    *take.CLASSES,
    *subject.CLASSES,
    *track.CLASSES,
    *review.CLASSES,
    *texture.CLASSES,
    *export.CLASSES,
)
