"""The texture's tables: `python benchmarks/texture.py --captures DIR [--take TAKE] [--held-out cam11] [--out DIR]`.

DIR holds captures with truth, as ict_dev (capture_hires: one frame of large plates) and ict_plain (truth_texture.png).

    held out   a camera is left out of the bake and its plate compared with the mesh drawn with the map
               noise-free: what of the view's energy above 2 px goes with the plate's, over the plate's own without its
               noise (texture_scores.noise_free). A plate's own energy has sensor noise in it
    true map   the map of one frame against the texture that the plates show, both reduced to the plates' resolution
    flicker    how much the texels of a still face change from frame to frame, beside the noise's own
    seconds    what a frame of 24 plates of 3000x4096 takes at 8192, step by step, and the whole bake of two

TAKE is a tracked take of ict_dev, --plain-take one of ict_plain: the tables are then also made with their geometry.
Crops of the held-out view go to --out.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from texture_cost import flicker, seconds
from texture_scores import compare, draw, noise_free, plain_average, scored_pixels

from topo4d_blender.core.capture import Capture, open_capture, read_plate
from topo4d_blender.core.take import Take
from topo4d_blender.core.template import Template, read_template
from topo4d_blender.core.texture.fill import fill_empty
from topo4d_blender.core.texture.frame import Canvas, Solved, paint, solve_frame
from topo4d_blender.core.texture.plan import Choice, rank_views
from topo4d_blender.core.texture.splat import paint_splat
from topo4d_blender.core.texture.survey import survey
from topo4d_blender.core.texture.uv import EMPTY
from topo4d_blender.core.texture.views import edge_length

Array = np.ndarray
TABLES = "held-out", "true-map", "flicker", "seconds"
_CROP = 160  # px of a plate along a side of a crop


def main() -> None:
    """Print the tables that the captures allow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captures", type=Path, required=True)
    parser.add_argument("--take", type=Path, help="a tracked take of ict_dev")
    parser.add_argument("--plain-take", type=Path, help="a tracked take of ict_plain")
    parser.add_argument("--held-out", default="cam11")
    parser.add_argument("--resolution", type=int, default=4096, help="of the held-out table's maps")
    parser.add_argument("--out", type=Path, default=Path("."), help="where the crops go")
    parser.add_argument("--splat", action="store_true", help="also the slow way")
    parser.add_argument("--only", choices=TABLES, help="one of the tables")
    arguments = parser.parse_args()
    for table in (arguments.only,) if arguments.only else TABLES:
        if table == "held-out":
            held_out(arguments)
        elif table == "true-map":
            true_map(arguments)
        elif table == "flicker":
            flicker(arguments.captures / "ict_plain")
        else:
            seconds(arguments.captures / "ict_dev" / "capture_hires", arguments.out / "seconds", 8192)


def held_out(arguments: argparse.Namespace) -> None:
    """PSNR, SSIM and fine detail of the view of a camera that the bake did not have."""
    folder = arguments.captures / "ict_dev"
    capture, template = open_capture(folder / "capture_hires"), read_template(folder / "capture_hires" / "start.obj")
    frame = capture.frames[0]
    truth = np.load(folder / "truth.npz")
    geometries = {"true": truth["vertices"][frame - 1].astype(np.float64)}
    if arguments.take:
        geometries["tracked"] = Take.open(arguments.take).read_geometry(frame).astype(np.float64)
    index = [camera.name for camera in capture.cameras].index(arguments.held_out)
    camera, plates = capture.cameras[index].undistorted(), read_plates(capture, frame)
    canvas, clock = Canvas.of(template, arguments.resolution), Clock()
    print(f"\nMaps of {arguments.resolution}, {arguments.held_out} left out.\n")
    print("| geometry | way | PSNR | SSIM | energy above 2 px | 1-4 px | above 2 px, noise-free |")
    print("|---|---|---|---|---|---|---|")
    clean = None
    for name, vertices in geometries.items():
        given = [(k, None if k == index else plate, None) for k, plate in enumerate(plates)]
        cameras = [one.undistorted() for one in capture.cameras]
        with clock("solve"):
            solved = solve_frame(canvas, vertices, cameras, given, lambda: None)
        pictures = {f"plate of {arguments.held_out}": plates[index].astype(np.float32)}
        for way, bake in ways(template, canvas, solved, arguments.splat and name == "true").items():
            with clock(way):
                texture = bake()
            drawn, ids = draw(texture, vertices, template, camera)
            mask = scored_pixels(ids, vertices, template.triangles, camera, truth["face_mask"])
            s = compare(drawn, plates[index], mask)
            if clean is None:  # by the true geometry: a plate lies beside maps of another, which are alike
                halves = [half_of(canvas, vertices, cameras, given, half) for half in range(2)]
                views = [draw(one, vertices, template, camera)[0] for one in halves]
                clean = noise_free(plates[index], *views, mask)
            s["noise-free"] = (s["common"] / clean) ** 2
            values = " | ".join(f"{s[key]:.3f}" for key in ("ssim", "high", "band", "noise-free"))
            print(f"| {name} | {way} | {s['psnr']:.2f} | {values} |", flush=True)
            pictures[way] = drawn
        write_crops(arguments.out / f"crops_{name}.jpg", pictures, mask)
    share = clean / s["own"]
    print(
        f"\nThe plate's own energy above 2 px: {s['own']:.2f}, without its noise {clean:.2f}, a share of {share:.2f}."
    )


def half_of(canvas: Canvas, vertices: Array, cameras: list, given: list, half: int) -> Array:
    """The map of the best views among every other camera, from the first (`half` 0) or the second on."""
    some = [(k, plate if k % 2 == half else None, None) for k, plate, _ in given]
    return best_view(canvas, solve_frame(canvas, vertices, cameras, some, lambda: None))


def best_view(canvas: Canvas, solved: Solved) -> Array:
    """The map of which each texel shows the view alone that sees it best."""
    return paint(canvas, replace(solved, choice=Choice(1, solved.choice.power)))[0]


def ways(template: Template, canvas: Canvas, solved: Solved, splat: bool) -> dict[str, Callable[[], Array]]:
    """Every way to bake one solved frame."""

    def inverse() -> Array:
        texture, _ = paint(canvas, solved)
        fill_empty(texture, canvas.uv_map.ids == EMPTY)
        return texture

    def asked(detail: float) -> Array:
        choice = Choice.asked(detail)
        edge = edge_length(solved.vertices, canvas.edges)
        scores = survey(solved.views, solved.vertices, canvas.surface, edge).scores(choice.power)
        order = rank_views(scores, solved.views.present, canvas.triangles)
        return paint(canvas, replace(solved, choice=choice, scores=scores, order=order))[0]

    found = {"best view alone": lambda: best_view(canvas, solved)}
    found |= {"plain average": lambda: plain_average(canvas, solved)[0], "inverse": inverse}
    if splat:
        found["splat"] = lambda: paint_splat(template, canvas, solved)
    for detail in (0.5, 1.0):
        found[f"inverse, detail {detail}"] = lambda detail=detail: asked(detail)
    return found


def true_map(arguments: argparse.Namespace) -> None:
    """PSNR of maps against what the flat shader showed."""
    folder = arguments.captures / "ict_plain"
    capture, template = open_capture(folder / "capture"), read_template(folder / "capture" / "start.obj")
    vertices = np.load(folder / "truth.npz")["vertices"]
    cases = [("true", capture.frames[0], vertices[0].astype(np.float64))]
    if arguments.plain_take:
        take = Take.open(arguments.plain_take)
        cases += [("tracked", frame, take.read_geometry(frame).astype(np.float64)) for frame in (3, 6, 9)]
    with Image.open(folder / "truth_texture.png") as picture:
        truth = np.asarray(picture.convert("RGB"))
    canvas, size = Canvas.of(template, len(truth)), capture.cameras[0].height
    small = cv2.resize(truth, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    print(f"\n| geometry | frame | way | PSNR against the true map at {size} |\n|---|---|---|---|")
    for name, frame, geometry in cases:
        given = [(k, plate, None) for k, plate in enumerate(read_plates(capture, frame))]
        solved = solve_frame(canvas, geometry, [c.undistorted() for c in capture.cameras], given, lambda: None)
        _, coverage = paint(canvas, solved)
        seen = cv2.resize((coverage > 0).astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0.999
        for way, bake in ways(template, canvas, solved, arguments.splat and name == "true").items():
            map_ = cv2.resize(bake(), (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
            psnr = 10 * np.log10(255**2 / ((map_ - small)[seen] ** 2).mean())
            print(f"| {name} | {frame} | {way} | {psnr:.2f} |", flush=True)


def read_plates(capture: Capture, frame: int) -> list[Array]:
    """All plates of `frame`, in the order of the cameras."""
    return [read_plate(capture.images[frame][camera.name], camera) for camera in capture.cameras]


def write_crops(path: Path, pictures: dict[str, Array], mask: Array) -> None:
    """The plate and the drawn views side by side, at three places of the face, with their names above."""
    y, x = np.argwhere(mask).mean(axis=0).astype(int)
    rows = []
    for dy, dx in ((-_CROP, 0), (0, -_CROP // 2), (_CROP // 2, _CROP // 4)):
        top, left = max(y + dy - _CROP // 2, 0), max(x + dx - _CROP // 2, 0)
        parts = [p[top : top + _CROP, left : left + _CROP] for p in pictures.values()]
        rows.append(np.hstack([cv2.resize(p, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) for p in parts]))
    sheet = np.rint(np.vstack([np.full((32, rows[0].shape[1], 3), 255.0), *rows])).clip(0, 255).astype(np.uint8)
    for i, name in enumerate(pictures):
        cv2.putText(sheet, name, (2 * _CROP * i + 6, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path, quality=80)


class Clock:
    """Seconds of the last step."""

    last = 0.0

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one step."""
        began = time.perf_counter()
        yield
        self.last = time.perf_counter() - began
        print(f"{name}: {self.last:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
