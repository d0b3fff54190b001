"""The camera rig of the studio, and what its sensors do to a picture. Knows no bpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from ..core.capture import Camera

Array = np.ndarray


@dataclass(frozen=True)
class Rig:
    """Cameras on an arc before the face, which looks along +z with +y up. Lengths in millimetres, angles in degrees."""

    cameras: int = 12
    width: int = 375  # px
    height: int = 512  # px
    arc: float = 130.0  # from the leftmost camera to the rightmost
    elevations: tuple[float, ...] = (-14.0, 6.0, 26.0)  # the rows the cameras take in turn
    distance: float = 1000.0  # from the middle of the subject
    rolls: tuple[float, ...] = (90.0, 0.0, -90.0, 90.0)  # taken in turn: cameras mounted sideways, both ways
    jitter: float = 1.0  # how far angles, distances, focal lengths and principal points scatter: 0 is a perfect rig
    margin: float = 0.04  # share of the image left free around the subject
    scales: tuple[float, ...] = (1.0,)  # of width and height, taken in turn: cameras of several sizes
    seed: int = 0


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one camera for some frames: it is out of focus, behind something, or it drops its plates."""

    camera: int  # from 0
    first: int  # frame
    last: int  # frame, included
    blur: float = 0.0  # px, standard deviation
    hidden: float = 0.0  # share of the plate's width that something dark before the lens covers, from the left
    dropped: bool = False  # no plate is written


@dataclass(frozen=True)
class Sensor:
    """What happens to the rendered picture, in order: faults, gain and balance (on linear light), noise, JPEG."""

    gain: float = 0.06  # cameras differ by up to this share
    read_noise: float = 0.6  # standard deviation in 8-bit steps, everywhere
    shot_noise: float = 1.2  # standard deviation in 8-bit steps at white, with the square root of the signal
    jpeg_quality: int = 95  # 100: lossless PNG instead
    seed: int = 0
    balance: float = 0.0  # the red and the blue of cameras differ from their green by up to this share
    drift: float = 0.0  # every camera's gain and balance wander by up to this share in the course of the film
    faults: tuple[Fault, ...] = ()

    @property
    def suffix(self) -> str:
        """The plates' file name extension."""
        return ".png" if self.jpeg_quality >= 100 else ".jpg"


def place_cameras(rig: Rig, points: Array, unit_mm: float) -> list[Camera]:
    """The rig's cameras around `points` [N, 3] (capture units), each with the longest lens that keeps all in view."""
    random = np.random.default_rng([rig.seed, 1])
    middle = 0.5 * (points.min(0) + points.max(0))
    cameras = []
    for index in range(rig.cameras):
        wobble = random.uniform(-1.0, 1.0, 8) * rig.jitter
        share = index / (rig.cameras - 1) - 0.5 if rig.cameras > 1 else 0.0
        azimuth = np.radians(share * rig.arc + 2.0 * wobble[0])
        elevation = np.radians(rig.elevations[index % len(rig.elevations)] + 2.0 * wobble[1])
        roll = np.radians(rig.rolls[index % len(rig.rolls)] + 3.0 * wobble[2])
        distance = rig.distance / unit_mm * (1.0 + 0.05 * wobble[3])
        outward = np.array(
            [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
        )
        world_to_camera = _look_at(middle + distance * outward, middle, roll)
        cx = rig.width * (0.5 + 0.03 * wobble[4])
        cy = rig.height * (0.5 + 0.03 * wobble[5])
        focal = _longest_focal(world_to_camera, points, rig, cx, cy) * (1.0 - 0.03 * abs(wobble[6]))
        camera = Camera(f"cam{index:02d}", rig.width, rig.height, focal, focal, float(cx), float(cy), world_to_camera)
        scale = rig.scales[index % len(rig.scales)]
        cameras.append(camera.scaled(round(rig.width * scale), round(rig.height * scale)))
    return cameras


def _look_at(eye: Array, target: Array, roll: float) -> Array:
    """World to camera matrix (x right, y down, z forward) of a camera at `eye`, turned by `roll` about its axis."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    upright = np.stack([right, np.cross(forward, right), forward])
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ upright
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ eye
    return matrix


def _longest_focal(world_to_camera: Array, points: Array, rig: Rig, cx: float, cy: float) -> float:
    """Focal length in px at which the outermost point lies on the margin."""
    p = points @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    x, y = p[:, 0] / p[:, 2], p[:, 1] / p[:, 2]
    left, top = rig.margin * rig.width, rig.margin * rig.height
    room = (
        (cx - left) / -x.min(),
        (rig.width - left - cx) / x.max(),
        (cy - top) / -y.min(),
        (rig.height - top - cy) / y.max(),
    )
    return float(min(r for r in room if r > 0))


def disturb_calibration(cameras: Sequence[Camera], points: Array, pixels: float, seed: int = 0) -> list[Camera]:
    """What a calibration that errs says of `cameras`: turned, rolled, zoomed and shifted a little, each by chance.

    The projections of `points` [N, 3] move by `pixels` (root mean square) in every camera, to first order.
    """
    random = np.random.default_rng([seed, 7])
    wrong = []
    for camera in cameras:
        chance = random.standard_normal(6)
        seen = camera.project(points)[0]
        trial = 1e-3  # px: small enough for the answer to be linear
        moved = _disturbed(camera, trial * chance).project(points)[0] - seen
        wrong.append(_disturbed(camera, trial * chance * pixels / np.sqrt((moved**2).sum(axis=1).mean())))
    return wrong


def _disturbed(camera: Camera, amounts: Array) -> Camera:
    """`camera` moved by six `amounts` in px: turned about x, y and z, zoomed, its principal point shifted."""
    radius = 0.25 * (camera.width + camera.height)  # px from the middle at which roll and zoom move so much
    turn = amounts[:3] / np.array([camera.fy, camera.fx, radius])
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    zoom = 1.0 + amounts[3] / radius
    return replace(
        camera,
        fx=camera.fx * zoom,
        fy=camera.fy * zoom,
        cx=camera.cx + float(amounts[4]),
        cy=camera.cy + float(amounts[5]),
        world_to_camera=matrix @ camera.world_to_camera,
    )


def camera_gains(sensor: Sensor, count: int, frame: int) -> Array:
    """Gain of each camera's red, green and blue in `frame`, on linear light.  # [count, 3]."""
    gains = 1.0 + sensor.gain * np.random.default_rng([sensor.seed, 2]).uniform(-1.0, 1.0, count)[:, None]
    random = np.random.default_rng([sensor.seed, 6])
    balance = random.uniform(-1.0, 1.0, (count, 3)) * (1.0, 0.0, 1.0)
    period, phase = random.uniform(9.0, 30.0, (count, 3)), random.uniform(0.0, 1.0, (count, 3))
    wander = np.sin(2.0 * np.pi * (frame / period + phase))
    return gains * (1.0 + sensor.balance * balance) * (1.0 + sensor.drift * wander)


def fault_of(sensor: Sensor, camera: int, frame: int) -> Fault | None:
    """What is wrong with `camera` in `frame`; the first fault named counts."""
    return next((f for f in sensor.faults if f.camera == camera and f.first <= frame <= f.last), None)


def expose(picture: Array, gains: Array, sensor: Sensor, camera: int, frame: int) -> Array:
    """The 8-bit plate of `picture` ([H, W, 3] sRGB in 0..1): faulty, gained by `gains` [3], noisy.

    The same for the same camera and frame.
    """
    linear = np.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
    linear = _with_fault(linear, fault_of(sensor, camera, frame)) * gains
    signal = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    deviation = np.sqrt(sensor.read_noise**2 + sensor.shot_noise**2 * np.clip(signal, 0.0, 1.0))
    random = np.random.default_rng([sensor.seed, 3, camera, frame])
    noisy = signal * 255.0 + deviation * random.standard_normal(signal.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _with_fault(linear: Array, fault: Fault | None) -> Array:
    if fault is None:
        return linear
    if fault.blur:
        linear = cv2.GaussianBlur(linear, (0, 0), fault.blur)
    if fault.hidden:
        linear = linear.copy()
        linear[:, : round(fault.hidden * linear.shape[1])] = 0.02
    return linear
