"""A look at a frame whose vertices are given, before anything is solved: is the mesh in view, and does it fit?"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NoReturn

import numpy as np

from ..errors import RequestError
from .in_view import out_of_view
from .placement import Fit, in_words
from .walker import Walker

Array = np.ndarray
NOT_IN_VIEW = "not_in_view.png"


class FirstLook:
    """Makes given frames the reference, one after another; says of each once what is wrong with it.

    Pictures for whoever has to mend it lie in the take, as long as there is something to mend.
    """

    def __init__(self, walker: Walker, folder: Path) -> None:
        """`folder` is the take's."""
        self._walker, self._folder = walker, folder
        self._reference: int | None = None
        self._measured: set[int] = set()
        self.misfits: set[int] = set()  # frames in which the given mesh does not seem to lie on the head

    def __call__(self, frame: int, vertices: Array, what: str) -> None:
        """Make `frame`, in which `what` ("the template") lies at `vertices` [V, 3], the reference.

        Raises RequestError if no camera sees it; warns if it is seen but does not fit.
        """
        if frame == self._reference:
            return
        capture = self._walker.capture
        why = out_of_view(vertices, capture.cameras, capture.unit_mm)
        self._reference = frame
        if why:
            self._refuse(frame, vertices, what, why)
        measure = frame not in self._measured
        share, fit = self._walker.remember(frame, vertices, measure)
        if share == 0:
            self._refuse(frame, vertices, what, "")
        _drop(self._folder / NOT_IN_VIEW)  # by an earlier run, of another mesh
        if measure:
            self._measured.add(frame)
            self._warn(frame, vertices, what, fit)

    def _refuse(self, frame: int, vertices: Array, what: str, why: str) -> NoReturn:
        from ..report.staging import draw_staging  # a picture only when it is needed

        capture = self._walker.capture
        picture = draw_staging(self._folder / NOT_IN_VIEW, vertices, capture.cameras)
        raise RequestError(
            f"No camera of {capture.source} sees {what} in frame {frame}{why}: it must lie where "
            f"the head was filmed, in the capture's own space and unit. {picture} shows where both are."
        )

    def _warn(self, frame: int, vertices: Array, what: str, fit: Fit | None) -> None:
        picture, capture = self._folder / f"fit_{frame:06d}.png", self._walker.capture
        if (fit and fit.tells and fit.fits) or len(capture.cameras) < 2:  # one camera alone: it was told before
            _drop(picture)  # of a mesh that did not
            return
        if fit is None:
            found = f"Nothing tells whether {what} fits frame {frame}: hardly any of it is seen by two cameras"
        elif not fit.tells:
            words = in_words(fit, capture.unit_mm)
            found = f"Nothing tells whether {what} fits frame {frame}: {words}, and hardly more elsewhere"
        else:
            self.misfits.add(frame)
            words = in_words(fit, capture.unit_mm)
            found = f"{what[0].upper()}{what[1:]} does not seem to fit frame {frame}: {words}"
        from ..report.overlay import draw_overlay

        draw_overlay(picture, self._walker.template, vertices, capture, frame)
        self._walker.progress.warning(
            f"{found}; look at {picture}, and if the mesh lies beside the head there, stop and mend its scale, unit or "
            "place."
        )


def _drop(picture: Path) -> None:
    """Take an old picture away; one that is open in a viewer may stay."""
    with contextlib.suppress(OSError):
        picture.unlink(missing_ok=True)
