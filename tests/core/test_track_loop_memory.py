"""Memory does not grow with the number of frames."""

import os
import sys
from pathlib import Path

import pytest
from synthetic import make_capture

from topo4d_blender.core import jobs
from topo4d_blender.core.progress import Progress

FRAMES = 60
SIZE, CAMERAS = (128, 160), 4


def link_frames(film: Path, real: int, frames: int) -> None:
    """Lengthen the film to `frames` frames by links to the first `real`."""
    for camera in (film / "images").iterdir():
        for frame in range(real + 1, frames + 1):
            os.symlink(camera / f"{(frame - 1) % real + 1:06d}.png", camera / f"{frame:06d}.png")


def resident_mb() -> float:
    """Memory of this process that is in RAM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


class Weighing(Progress):
    """Weighs the process after every frame."""

    def __init__(self) -> None:
        self.mb: list[float] = []

    def frame(self, frame: int, path: str, metrics: dict) -> None:
        self.mb.append(resident_mb())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_flat_in_the_number_of_frames(tmp_path):
    film = tmp_path / "film"
    make_capture(film, frames=2, cameras=CAMERAS, size=SIZE, vertices=100)
    link_frames(film, 2, FRAMES)
    scale = Weighing()
    jobs.track(scale, capture=film, template=film / "start.obj", take=tmp_path / "take", settings={"iterations": 1})
    assert len(scale.mb) == FRAMES
    one_frame = CAMERAS * SIZE[0] * SIZE[1] * 3 * 4 / 2**20  # its plates as they are solved, 0.9 MB
    assert max(scale.mb[-10:]) - max(scale.mb[10:20]) < 0.2 * (FRAMES - 20) * one_frame
