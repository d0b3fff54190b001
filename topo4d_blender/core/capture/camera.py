"""One calibrated camera: OpenCV axes, pinhole with Brown-Conrady distortion, continuous pixel coordinates.

Conventions (stated here once, cited everywhere): x right, y down, z forward; `world_to_camera` takes world points, in
the capture's own unit, to camera space; the image spans [0, W] x [0, H], the centre of its first pixel is (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import RequestError

Array = np.ndarray


@dataclass(frozen=True)
class Camera:
    """A camera at one image size. Immutable: `scaled` and `undistorted` give new ones."""

    name: str
    width: int  # px
    height: int  # px
    fx: float  # px
    fy: float  # px
    cx: float  # px, continuous: the centre of the image is width / 2
    cy: float  # px
    world_to_camera: Array = field(repr=False)  # [4, 4] float64, rigid
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)  # k1 k2 p1 p2 k3 (OpenCV order)

    @property
    def rotation(self) -> Array:
        """World to camera rotation.  # [3, 3]."""
        return self.world_to_camera[:3, :3]

    @property
    def translation(self) -> Array:
        """World to camera translation, capture units.  # [3]."""
        return self.world_to_camera[:3, 3]

    @property
    def centre(self) -> Array:
        """Where the camera stands in the world.  # [3]."""
        return -self.rotation.T @ self.translation

    @property
    def matrix(self) -> Array:
        """Intrinsic matrix, continuous pixel coordinates.  # [3, 3]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def scaled(self, width: int, height: int) -> Camera:
        """The same camera seen through an image of `width` x `height` px: a uniform scale of the calibrated size.

        A size rounded to whole pixels is accepted (3000x4096 at 1/8 is 375x512; 1001 px at 1/2 may be 500 or 501).
        Raises RequestError for any other ratio: the picture was cropped or rotated and its calibration is not known.
        """
        if (width, height) == (self.width, self.height):
            return self
        sx, sy = width / self.width, height / self.height
        scale = max(sx, sy)
        if abs(self.width * scale - width) > 1.0 or abs(self.height * scale - height) > 1.0:
            raise RequestError(
                f"Camera {self.name} is calibrated for {self.width}x{self.height} px but its image is "
                f"{width}x{height}, which is not a uniform scale of it; export the images uncropped and unrotated."
            )
        return replace(
            self, width=width, height=height, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy
        )

    def undistorted(self) -> Camera:
        """The pinhole camera of this camera's plates after `read_plate` took the lens distortion out."""
        return replace(self, distortion=(0.0,) * 5)

    def project(self, points: Array) -> tuple[Array, Array]:
        """Pixels [N, 2] and depths [N] (capture units, positive in front) of world `points` [N, 3]; lens included.

        Distortion: Brown-Conrady as in OpenCV's calib3d documentation.
        """
        p = np.asarray(points, np.float64) @ self.rotation.T + self.translation
        depth = p[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = p[:, 0] / depth, p[:, 1] / depth
        if any(self.distortion):
            k1, k2, p1, p2, k3 = self.distortion
            r2 = x * x + y * y
            radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
            x, y = (
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            )
        return np.stack([self.fx * x + self.cx, self.fy * y + self.cy], axis=1), depth
