"""Whether a mesh in view lies where the head is: do the cameras that see a vertex agree on its colour?

Where the mesh lies on the surface that was filmed, its vertices look alike to all cameras that see them; where it does
not (another scale, another place, another head), every camera sees another part of the head there. How far cameras
agree on a mesh that does fit depends on the skin, its gloss and the plates. So what is measured is compared with the
same for the mesh beside its surface (chance), for the mesh moved and scaled as a whole (does it fit better elsewhere?)
and for its parts moved a little in and out, each by itself (does another shape fit better?).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ..raster import sample
from .sight import SmallViews, inside, vertex_normals

Array = np.ndarray
LOOKED_AT = 1500  # vertices, at most
LEAST = 20  # vertices that two cameras see: fewer tell nothing,
LEAST_SHARE = 0.1  # nor does a smaller share of those that one sees
WIDE = 4.0  # pixels of the small pictures: sigma of the light that is taken off before they are compared
BESIDE = 0.02  # weight of what lies beside the mesh in that light
DARK = 0.1  # of the usual brightness on the mesh: a darker camera is not asked
STEP_PX, STEP_SIZE = 5.0, 0.12  # the mesh is moved by so many pixels, or by this share of its size if that is more
OFF = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)  # steps along the normals: beside the surface
IN_AND_OUT = (-1.0, -2 / 3, -1 / 3, 0.0, 1 / 3, 2 / 3, 1.0)  # steps along them: another shape
LARGER, AWAY = (1.0, 2.0, 3.0), (1.0, 2.0)  # steps that the mesh is scaled by, and moved as a whole
PART = 24  # of the vertices looked at, the nearest around each
STANDS_OUT = 1.0  # standard deviations of chance above its median: the mesh fits somewhat
# Of all that could agree: so much above chance in the best of many places is believed, and in the best shape, of which
# every part is a median. Plates of noise alone reach 0.28 and 0.17.
TELLS, TELLS_SHAPE = 1 / 3, 0.2
NEAR_BEST = 2 / 3  # of what is gained above chance in the best place, or shape


@dataclass(frozen=True)
class Fit:
    """How well a mesh fits the plates. Shares of what the colours tell that the cameras agree on, -1..1."""

    given: float  # where the mesh lies
    chance: float  # beside the surface
    spread: float  # standard deviation of chance
    best: float  # where it would fit best of the places tried
    scale: float  # there: times its size,
    shift: Array  # [3] and moved by this, capture units
    shaped: tuple[float, float, float]  # part by part: where the mesh lies, where each would fit best, and by chance

    @property
    def fits(self) -> bool:
        """Whether the mesh agrees better than chance, and neither elsewhere nor in another shape clearly better."""
        return self.stands_out and not self.fits_elsewhere and self.has_the_shape

    @property
    def stands_out(self) -> bool:
        """Whether the mesh agrees better than chance."""
        return self.given - self.chance >= STANDS_OUT * self.spread

    @property
    def fits_elsewhere(self) -> bool:
        """Whether it would agree clearly better at another size or place."""
        gain = self.best - self.chance
        return gain >= max(TELLS, STANDS_OUT * self.spread) and self.given - self.chance < NEAR_BEST * gain

    @property
    def has_the_shape(self) -> bool:
        """Whether its parts would not agree clearly better a little further in or out."""
        given, best, chance = self.shaped
        return best - chance < TELLS_SHAPE or given - chance >= NEAR_BEST * (best - chance)

    @property
    def tells(self) -> bool:
        """Whether the cameras agree anywhere at all: of plain or soft plates they do not, nor far from the head."""
        return self.best - self.chance >= TELLS or self.shaped[1] - self.shaped[2] >= TELLS_SHAPE


def measure_fit(views: SmallViews, vertices: Array, triangles: Array, plates: list[Array | None]) -> Fit | None:
    """How `vertices` [V, 3] fit `plates` (float32, None: missing).

    None if too few are seen by two cameras. Whoever asks looks first at `Fit.tells`: without, the plates show nothing
    that the cameras agree on, or the mesh is nowhere near.
    """
    pictures = views.pictures(plates)
    visible = views.see(vertices, pictures).visible
    seen = np.flatnonzero(visible.sum(axis=1) > 1)
    if len(seen) < max(LEAST, LEAST_SHARE * visible.any(axis=1).sum()):
        return None
    pixels, depth = views.project(vertices)
    details = _details(pictures, views.nearest(pixels, depth))
    chosen = seen[:: -(-len(seen) // LOOKED_AT)]
    points, normals = vertices[chosen], vertex_normals(vertices, triangles)[chosen]
    pixel = float(np.median(depth[:, chosen]) / np.median(views.focal))
    centre = (points.max(axis=0) + points.min(axis=0)) / 2
    radius = float(np.sqrt(((points - centre) ** 2).sum(axis=1).mean()))
    if radius == 0:
        return None
    step = max(STEP_PX * pixel, STEP_SIZE * radius)

    def agree(where: Array) -> tuple[Array, Array]:
        return _agreement(views, where, visible[chosen], details)

    along = {k: agree(points + k * step * normals) for k in sorted({*OFF, *IN_AND_OUT})}
    given, beside = _median(*along[0.0]), [_median(*along[k]) for k in OFF]
    places = [(1.0, np.zeros(3)), *_places(step, radius)]
    moved = [_median(*agree(centre + scale * (points - centre) + shift)) for scale, shift in places[1:]]
    values = [given, *moved]
    best = int(np.argmax(values))
    return Fit(
        given, float(np.median(beside)), float(np.std(beside)), values[best], *places[best], _shaped(points, along)
    )


def in_words(fit: Fit, unit_mm: float) -> str:
    """How badly a mesh fits, and where it would fit better, as half a sentence."""
    better = ""
    if fit.fits_elsewhere and fit.scale != 1:
        better = f"; {_percent(fit.best)} if it were about {fit.scale:.2g} times as large"
    elif fit.fits_elsewhere:
        axis = int(np.argmax(np.abs(fit.shift)))
        way = fit.shift[axis] * unit_mm
        better = f"; {_percent(fit.best)} if it were moved by about {way:+.0f} mm along {'xyz'[axis]}"
    elif not fit.has_the_shape:
        given, best, _ = fit.shaped
        better = (
            f"; with each of its parts a little further in or out {_percent(best)} instead of {_percent(given)}: "
            "another head, or this one turned or far from its place"
        )
    given, chance = _percent(fit.given), _percent(fit.chance)
    return f"{given} of what its surface shows looks alike to the cameras that see it (by chance {chance}{better})"


def _percent(share: float) -> str:
    return f"{max(100 * share, 0):.0f} %"


def _places(step: float, radius: float) -> Iterator[tuple[float, Array]]:
    """The mesh moved and scaled: (times its size, way [3])."""
    for count in LARGER:
        yield 1 + count * step / radius, np.zeros(3)
        yield 1 / (1 + count * step / radius), np.zeros(3)
    for count in AWAY:
        for axis in np.eye(3):
            yield 1.0, count * step * axis
            yield 1.0, -count * step * axis


def _details(pictures: list[Array | None], nearest: list[Array]) -> list[Array | None]:
    """What of the pictures is neither light nor a camera's gain: their difference to a wide blur, relative to it.

    On the mesh, whose depths are `nearest`, the blur takes little of what lies beside it.
    """
    details: list[Array | None] = []
    levels = np.full(len(pictures), np.nan)
    for k, (picture, depth) in enumerate(zip(pictures, nearest, strict=True)):
        on = np.isfinite(depth)
        if picture is None or not on.any():
            details.append(None)
            continue
        levels[k] = float(picture[on].mean())
        weight = np.where(on, 1.0, BESIDE).astype(np.float32)
        light = cv2.GaussianBlur(picture * weight[..., None], (0, 0), WIDE)
        light /= cv2.GaussianBlur(weight, (0, 0), WIDE)[..., None]
        details.append((picture - light) / np.maximum(light, DARK * levels[k] + 1e-6))
    usual = np.nanmedian(levels) if np.isfinite(levels).any() else 0.0
    return [None if d is None or level < DARK * usual else d for d, level in zip(details, levels, strict=True)]


def _agreement(views: SmallViews, points: Array, visible: Array, details: list[Array | None]) -> tuple[Array, Array]:
    """The share of each point's contrast that the cameras have in common, and that contrast.  # [N], [N].

    That is the intraclass correlation (Fisher, Statistical Methods for Research Workers, 1925, chapter VII) of
    `points` [N, 3] over the cameras that may see them, `visible` [N, K]; NaN and 0 where fewer than two do.
    """
    pixels, depth = views.project(points)
    colours = np.zeros((*visible.shape, 3), np.float32)
    seen = np.zeros_like(visible)
    for k, (camera, detail) in enumerate(zip(views.cameras, details, strict=True)):
        if detail is not None:
            seen[:, k] = visible[:, k] & inside(camera, pixels[k], depth[k])
            colours[seen[:, k], k] = sample(detail, pixels[k, seen[:, k]])
    count = np.maximum(seen.sum(axis=1), 2)[:, None]
    mean = colours.sum(axis=1) / count
    within = (((colours - mean[:, None]) * seen[..., None]) ** 2).sum(axis=1) / (count - 1)
    shared, contrast = (mean**2 - within / count).sum(axis=1), (mean**2 + within - within / count).sum(axis=1)
    enough = seen.sum(axis=1) > 1
    return np.where(enough, shared / np.maximum(contrast, 1e-12), np.nan), np.where(enough, contrast, 0.0)


def _median(shares: Array, contrast: Array) -> float:
    """Of the points of more contrast than the middle one; 0 where hardly any point is seen."""
    known = np.isfinite(shares)
    if known.sum() < LEAST:
        return 0.0
    return float(np.median(shares[known & (contrast >= np.median(contrast[known]))]))


def _shaped(points: Array, along: dict[float, tuple[Array, Array]]) -> tuple[float, float, float]:
    """Agreement of the parts of the mesh where they lie, where each would agree best `IN_AND_OUT`, and `OFF` it."""
    near = cKDTree(points).query(points, min(PART, len(points)))[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a part of which nothing is seen
        parts = {step: np.nanmedian(shares[near], axis=1) for step, (shares, _) in along.items()}
    contrast = along[0.0][1]
    known = (contrast >= np.median(contrast)) & np.isfinite(parts[0.0])
    if not known.any():
        return 0.0, 0.0, 0.0
    best = np.fmax.reduce([parts[step] for step in IN_AND_OUT])
    chance = np.nanmedian([np.nanmedian(parts[step][known]) for step in OFF])
    return float(np.median(parts[0.0][known])), float(np.median(best[known])), float(chance)
