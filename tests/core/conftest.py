"""What several modules of these tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from track_scenes import Film, film_ball, read_film


@pytest.fixture(scope="session")
def ball_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ball filmed into a folder: a capture with truth, only to be read."""
    folder = tmp_path_factory.mktemp("ball")
    film_ball(folder)
    return folder


@pytest.fixture(scope="session")
def ball(ball_folder: Path) -> Film:
    """What is in `ball_folder`."""
    return read_film(ball_folder)
