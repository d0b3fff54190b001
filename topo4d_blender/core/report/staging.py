"""The picture that shows why nothing can be tracked: where the cameras stand and look, and where the template lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..capture import Camera
from ..files import atomic_write


def draw_staging(path: Path, vertices: np.ndarray, cameras: tuple[Camera, ...]) -> Path:
    """Write a .png with two views (along y and along z) of `cameras` and `vertices` [V, 3]; returns `path`.

    Raises StorageError if it cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    centres = np.stack([c.centre for c in cameras])
    axes = np.stack([c.rotation[2] for c in cameras])
    size = float(np.linalg.norm(np.ptp(np.concatenate([centres, vertices]), axis=0)))
    figure, panels = plt.subplots(1, 2, figsize=(14, 7), layout="constrained")
    for panel, (i, j) in zip(panels, ((0, 2), (0, 1)), strict=True):
        panel.scatter(vertices[:, i], vertices[:, j], s=8, color="tab:orange", label="template")
        panel.scatter(centres[:, i], centres[:, j], s=30, color="tab:blue", label="cameras and where they look")
        panel.quiver(
            centres[:, i], centres[:, j], axes[:, i] * size / 5, axes[:, j] * size / 5,
            color="tab:blue", angles="xy", scale_units="xy", scale=1, width=0.003,
        )  # fmt: skip
        panel.set(xlabel="xyz"[i], ylabel="xyz"[j])
        panel.set_aspect("equal", adjustable="datalim")  # a square picture, however far away the template lies
        panel.grid(alpha=0.3)
    panels[0].legend(loc="upper left")
    figure.suptitle("Seen along the capture's y and z axes, in its units: the cameras do not see the template")
    atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=80))
    plt.close(figure)
    return path
