"""The picture that shows whether a mesh fits a frame: its edges over the plates of a few cameras."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..capture import Camera, Capture, read_plate
from ..files import atomic_write
from ..template import Template
from ..track.sight import inside
from .pictures import choose_cameras
from .views import Drawn, crop_plate, finish, make_view

CAMERAS = 4  # at most, side by side
ROOM = 1.5  # times the mesh's size: what is shown around it
IN_SIGHT = 0.5  # a camera is chosen if it has at least so much of the mesh as the one that has most


def draw_overlay(path: Path, template: Template, vertices: np.ndarray, capture: Capture, frame: int) -> Path:
    """Write a .png of `vertices` [V, 3] (capture units) over the plates of `frame`; returns `path`.

    Raises StorageError if it cannot be written.
    """
    plates = capture.images.get(frame, {})
    there = [camera for camera in capture.cameras if camera.name in plates]
    shares = [_share(camera, vertices) for camera in there]
    cameras = [c for c, share in zip(there, shares, strict=True) if 0 < share >= IN_SIGHT * max(shares)]
    centre = (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    around = centre + ROOM * (vertices - centre)
    tiles = []
    for camera in choose_cameras(cameras, CAMERAS) if cameras else []:
        view = make_view(camera, around)
        ground = crop_plate(view, read_plate(plates[camera.name], camera))
        tile = finish(view, Drawn(view, template, vertices).wireframe(ground, opacity=0.8))
        cv2.putText(tile, camera.name, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(tile)
    if not tiles:
        tiles = [np.zeros((480, 480, 3), np.uint8)]
    height = min(len(tile) for tile in tiles)
    strip = np.hstack([tile[:height] for tile in tiles])
    _, data = cv2.imencode(".png", np.ascontiguousarray(strip[:, :, ::-1]))
    atomic_write(path, lambda file: file.write(data.tobytes()))
    return path


def _share(camera: Camera, vertices: np.ndarray) -> float:
    return float(inside(camera, *camera.undistorted().project(vertices)).mean())
