"""Films small captures with their truth, to tune and to judge the tracker on: `film_captures.py OUT [NAME ...]`.

Every capture is hard in a way of its own (its function says which), seeded and small: a tracker tuned on all of them
is tuned on none. `--seed` gives other identities, skins, rigs and performances of the same kinds, for acceptance on
what nobody has tuned on. OUT/NAME is a capture folder that `topo4d track` reads, with truth.npz for `topo4d evaluate`.
A film begun is gone on with. Heads of people need ICT-FaceKit Light (see ict_head.py): without `--heads` only Suzanne
is filmed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import ict_head
import ict_skin
import topologies

from topo4d_blender.core.capture import Camera
from topo4d_blender.core.errors import RequestError, Topo4DError
from topo4d_blender.core.template import Template
from topo4d_blender.studio import performance, suzanne
from topo4d_blender.studio.film import Prop, film_sequence
from topo4d_blender.studio.look import Light, Look
from topo4d_blender.studio.rig import Fault, Rig, Sensor, disturb_calibration, place_cameras

Array = np.ndarray
TEXTURE = 1024  # px: finer than the plates by three
SAMPLES = 4

HARD = Look(
    gloss=0.5,
    ambient=0.27,
    samples=SAMPLES,
    lights=(
        Light((-0.9, 0.8, 0.9), 17.0, 0.08, (1.0, 0.95, 0.88)),
        Light((1.1, 0.1, 0.7), 11.0, 0.08, (0.90, 0.95, 1.0)),
        Light((0.1, 1.1, 0.8), 9.0, 0.10),
    ),
)
SOFT = Look(samples=SAMPLES)


@dataclass(frozen=True)
class Scene:
    """All that film_sequence needs, in millimetres; it is filmed in units of `unit_mm`."""

    vertices: Array  # [F, V, 3]
    template: Template
    texture: Array
    roughness: Array
    cameras: list[Camera]  # also in millimetres
    unit_mm: float = 1000.0
    look: Look = SOFT
    sensor: Sensor = field(default_factory=Sensor)
    region: Array | None = None
    prop: Prop | None = None
    calibration: list[Camera] | None = None


def film(scene: Scene, out: Path) -> None:
    """Film `scene` into the folder `out`, in its own unit."""
    unit = scene.unit_mm
    prop = replace(scene.prop, vertices=scene.prop.vertices / unit) if scene.prop else None
    film_sequence(
        scene.vertices / unit,
        scene.template,
        scene.texture,
        out,
        unit_mm=unit,
        rig=_in_unit(scene.cameras, unit),
        sensor=scene.sensor,
        look=scene.look,
        roughness=scene.roughness,
        face_region=scene.region,
        prop=prop,
        calibration=_in_unit(scene.calibration, unit) if scene.calibration else None,
    )


def _in_unit(cameras: list[Camera], unit_mm: float) -> list[Camera]:
    scale = np.diag([unit_mm, unit_mm, unit_mm, 1.0])
    return [replace(c, world_to_camera=np.linalg.inv(scale) @ c.world_to_camera @ scale) for c in cameras]


# --- performances ---------------------------------------------------------------------------------------------------

LIVELY = (
    "browInnerUp_L browInnerUp_R browOuterUp_L browDown_R cheekPuff_L cheekSquint_R eyeSquint_L eyeSquint_R jawOpen "
    "jawLeft mouthSmile_L mouthSmile_R mouthStretch_R mouthPucker mouthFunnel mouthUpperUp_L mouthLowerDown_R "
    "mouthFrown_L noseSneer_L noseSneer_R mouthRight"
).split()


def expressions(random: np.random.Generator, frames: int, count: int = 9, loop: bool = False) -> dict[str, Array]:
    """Curves [F] in 0..1 of `count` expressions by chance, smooth, 0 in the first frame (and, in a loop, the last)."""
    time = np.arange(frames)
    curves = {}
    for name in random.permutation(LIVELY)[:count]:
        if loop:
            waves = random.integers(2, 6)
            curve = np.sin(np.pi * waves * time / (frames - 1)) ** 2
        else:
            onset = random.uniform(0.0, 0.25 * frames)
            curve = np.sin(np.pi * np.maximum(time - onset, 0.0) / random.uniform(7.0, 12.0)) ** 2
        curves[str(name)] = curve * random.uniform(0.4, 0.9)
    return curves


def key_curve(frames: int, *keys: tuple[float, float]) -> Array:
    """The curve [F] through (frame counted from 0, value), as smooth as it can be without overshooting."""
    from scipy.interpolate import PchipInterpolator

    times, values = zip(*keys, strict=True)
    return PchipInterpolator(times, values)(np.arange(frames))


def slowed(head: ict_head.Head, weights: dict[str, Array], millimetres: float) -> Array:
    """Shapes under `weights`, all weakened until no vertex of the face moves farther than that between two frames."""
    shapes = head.shapes(weights)
    fastest = np.linalg.norm(np.diff(shapes[:, : ict_head.FACE], axis=0), axis=2).max()
    return head.shapes({name: curve * min(1.0, millimetres / fastest) for name, curve in weights.items()})


# --- scenes ---------------------------------------------------------------------------------------------------------


def head_scene(head: ict_head.Head, shapes: Array, rig: Rig, **changes) -> Scene:
    """`head` through `shapes` [F, W, 3], framed on the face; eyeballs and teeth are filmed, the template lacks them."""
    texture, roughness = ict_skin.paint_head(head, head.skin, TEXTURE)
    prop = Prop(shapes[:, head.prop_rows], head.prop, ict_skin.paint_prop(head, TEXTURE // 2))
    cameras = place_cameras(rig, shapes[:, : ict_head.FACE].reshape(-1, 3), 1.0)
    region = np.arange(ict_head.SKIN) < ict_head.FACE
    scene = Scene(shapes[:, : ict_head.SKIN], head.skin, texture, roughness, cameras, region=region, prop=prop)
    return replace(scene, **changes)


def ict_turn(seed: int, heads: Path) -> Scene:
    """A head that turns 5 degrees and moves 6 mm between frames while the face plays; gloss that stays with 3 lamps."""
    random = np.random.default_rng([seed, 100])
    head = ict_head.load_head(heads, 11 * seed)
    shapes = slowed(head, expressions(random, 7), 7.0)
    yaw = np.cumsum([0, 5, 5, 5, -5, -5, -5]) * random.choice((-1, 1))
    pitch = 2.0 * np.sin(np.arange(7) * 0.9)
    shifts = np.outer(np.cumsum([0, 6, 6, -6, -6, -6, 6]), _direction(random))
    shapes = ict_head.turned(shapes, np.stack([pitch, yaw, 0.3 * yaw], axis=1), shifts, np.array([0.0, -60.0, 0.0]))
    return head_scene(head, shapes, small_rig(seed), look=HARD, sensor=Sensor(gain=0.12, seed=seed))


def ict_mouth(seed: int, heads: Path) -> Scene:
    """The jaw opens by 3 cm and closes within 7 frames, lips part, show teeth and press, lids close over eyeballs."""
    random = np.random.default_rng([seed, 101])
    head = ict_head.load_head(heads, 11 * seed + 1)
    jaw = key_curve(7, (0, 0), (1, 0.33), (2, 0.67), (3, 1.0), (4, 0.67), (5, 0.33), (6, 0))
    lids = key_curve(7, (0, 0), (1, 0.5), (2, 1.0), (3, 0.97), (4, 0.45), (5, 0.0), (6, 0.3))
    press = key_curve(7, (0, 0), (4, 0), (5, 0.2), (6, 0.9))
    part = key_curve(7, (0, 0), (1, 0.3), (3, 0.5), (5, 0.2), (6, 0))
    side = random.uniform(0.6, 1.0, 4)
    weights = {"jawOpen": jaw}
    weights |= {"mouthPress_L": press, "mouthPress_R": press * side[1]}
    weights |= {"mouthRollLower": 0.5 * press, "mouthRollUpper": 0.4 * press}
    weights |= {"mouthUpperUp_L": part * side[2], "mouthUpperUp_R": part * side[3], "mouthLowerDown_L": 0.6 * part}
    shapes = slowed(head, weights, 12.0)
    blinks = {name: lids * ict_head.shut(head, name) for name in ("eyeBlink_L", "eyeBlink_R")}
    blink = head.shapes(blinks | {"eyeBlink_L": blinks["eyeBlink_L"] * (0.85 + 0.15 * side[0])})
    shapes = ict_head.lids_over_eyeballs(head, shapes + blink - head.neutral)
    return head_scene(head, shapes, small_rig(seed + 1), look=replace(HARD, ambient=0.4), sensor=Sensor(seed=seed + 1))


def suz_hard(seed: int, heads: Path | None = None) -> Scene:
    """Not a person, with n-gons, in a unit of 1.5 dm, seen by sideways cameras of two sizes, in hard light."""
    from topo4d_blender.studio.scene import suzanne_mesh

    model = suzanne_mesh(2000)
    scale = suzanne.millimetres(model.vertices)
    texture, roughness = suzanne.paint(model, TEXTURE, 50 + seed)
    vertices = performance.perform(model.vertices, 13, 50 + seed)[::2] * scale  # at twice the demo's pace
    rig = replace(small_rig(seed + 2), rolls=(90.0, -90.0), scales=(1.0, 1.0, 0.75))
    region = suzanne.face_region(model.vertices)
    return Scene(
        vertices,
        topologies.with_ngons(model, 0.12, seed),
        texture,
        roughness,
        place_cameras(rig, vertices.reshape(-1, 3), 1.0),
        unit_mm=150.0,
        look=HARD,
        sensor=Sensor(gain=0.1, balance=0.04, seed=seed + 2),
        region=region,
    )


def ict_light(seed: int, heads: Path) -> Scene:
    """Light, gains and white balance drift, the calibration errs by 0.25 px, one camera is blurred, one drops out."""
    random = np.random.default_rng([seed, 103])
    head = ict_head.load_head(heads, 11 * seed + 2)
    shapes = slowed(head, expressions(random, 7), 8.0)
    faults = (Fault(5, 3, 5, blur=2.0), Fault(11, 2, 4, dropped=True), Fault(14, 4, 7, hidden=0.45))
    sensor = Sensor(gain=0.12, balance=0.06, drift=0.05, faults=faults, seed=seed + 3)
    look = replace(HARD, ambient=0.4, drift=0.2, drift_period=9.0)
    scene = head_scene(head, shapes, small_rig(seed + 3), look=look, sensor=sensor)
    face = shapes[0, : ict_head.FACE]
    return replace(scene, calibration=disturb_calibration(scene.cameras, face, 0.25, seed))


def ict_sparse(seed: int, heads: Path) -> Scene:
    """A mask of 1,500 vertices, all triangles, in centimetres, before 8 cameras."""
    random = np.random.default_rng([seed, 104])
    head = ict_head.load_head(heads, 11 * seed + 3)
    shapes = slowed(head, expressions(random, 7), 9.0)
    face = topologies.part(head.skin, ict_head.FACE)
    agape = head.neutral + head.expressions["jawOpen"]  # closed lips lie so near each other that they would be mixed up
    coarse, carry = topologies.decimated(replace(face, vertices=agape[: ict_head.FACE]), 1500)
    template = replace(coarse, vertices=carry(head.neutral))
    scene = head_scene(head, shapes, replace(small_rig(seed + 4), cameras=8), unit_mm=10.0)
    texture, roughness = ict_skin.paint_head(head, template, TEXTURE)
    vertices = np.stack([carry(shape) for shape in shapes])
    return replace(
        scene,
        vertices=vertices,
        template=template,
        texture=texture,
        roughness=roughness,
        region=None,
        sensor=Sensor(seed=seed + 4),
    )


def long(seed: int, heads: Path) -> Scene:
    """60 tiny frames of expressions that return to neutral: does the reference drift?"""
    random = np.random.default_rng([seed, 105])
    head = ict_head.load_head(heads, 11 * seed + 4)
    shapes = slowed(head, expressions(random, 60, 10, loop=True), 5.0)
    rig = Rig(12, 144, 192, arc=140.0, rolls=(0.0, 90.0), seed=seed + 5)
    return head_scene(head, shapes, rig, sensor=Sensor(seed=seed + 5))


def small_rig(seed: int) -> Rig:
    """16 cameras of 288x384 in three rows."""
    return Rig(16, 288, 384, arc=150.0, rolls=(0.0, 90.0, -90.0, 0.0, 180.0), seed=seed)


def _direction(random: np.random.Generator) -> Array:
    vector = random.standard_normal(3)
    return vector / np.linalg.norm(vector)


CAPTURES: dict[str, Callable[[int, Path | None], Scene]] = {
    scene.__name__: scene for scene in (ict_turn, ict_mouth, suz_hard, ict_light, ict_sparse, long)
}
WITHOUT_HEADS = ("suz_hard",)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Blender tells of every step of every picture on the process's standard output: keep that out of sight."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def chosen(names: list[str], heads: Path | None) -> list[str]:
    """The captures to film: those named, or all that can be. Raises RequestError for a name that there is not."""
    unknown = [name for name in names if name not in CAPTURES]
    if unknown:
        raise RequestError(f"There is no capture {unknown[0]}; there are {', '.join(CAPTURES)}.")
    names = names or list(CAPTURES)
    lacking = [name for name in names if heads is None and name not in WITHOUT_HEADS]
    if lacking:
        needs = f"they need ICT-FaceKit Light; give the folder with {ict_head.FILE} as --heads."
        print(f"{', '.join(lacking)} left out: {needs}", file=sys.stderr)
    return [name for name in names if name not in lacking]


def main() -> int:
    """Film what is asked for, a line each; 2 if the request was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CAPTURES)}; none: all")
    parser.add_argument("--heads", type=Path, help=f"folder with {ict_head.FILE}")
    parser.add_argument("--seed", type=int, default=1, help="2, 3, ...: the same kinds, nothing else the same")
    arguments = parser.parse_args()
    try:
        for name in chosen(arguments.names, arguments.heads):
            began = time.perf_counter()
            with quiet():
                scene = CAPTURES[name](arguments.seed, arguments.heads)
                film(scene, arguments.out / name)
            step = np.linalg.norm(np.diff(scene.vertices, axis=0), axis=2).max()
            print(
                f"{name:10} {len(scene.vertices)} frames, {len(scene.cameras)} cameras, "
                f"{len(scene.template.vertices)} vertices, unit {scene.unit_mm:g} mm, fastest {step:.1f} mm a frame, "
                f"{time.perf_counter() - began:.0f} s",
                flush=True,
            )
    except Topo4DError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
