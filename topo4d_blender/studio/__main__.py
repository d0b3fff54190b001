"""The studio's stages, each a process of its own: `python -m topo4d_blender.studio film|blend`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from ..core.errors import Topo4DError
from .events import stage_output

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.group()
def main() -> None:
    """Film a known performance, or show a take in a .blend; needs the bpy module."""


@main.command()
@click.option("--out", type=_DIRECTORY, required=True, help="Folder of the capture.")
@click.option("--vertices", default=8000, show_default=True, help="The nearest subdivision of Suzanne is taken.")
@click.option("--cameras", default=12, show_default=True, type=click.IntRange(1))
@click.option("--frames", default=12, show_default=True, type=click.IntRange(1))
@click.option("--width", default=375, show_default=True, type=click.IntRange(16), help="Of the images, px.")
@click.option("--height", default=512, show_default=True, type=click.IntRange(16))
@click.option("--texture", default=2048, show_default=True, type=click.IntRange(16), help="Of the painted skin, px.")
@click.option("--samples", default=None, type=click.IntRange(1), help="Light paths a pixel.")
@click.option("--flat", is_flag=True, help="The texture shines by itself: no lights, no gloss.")
@click.option("--noise/--no-noise", default=True, show_default=True, help="Sensor noise, camera gains and JPEG.")
@click.option("--seed", default=0, show_default=True)
@click.option("--events", is_flag=True, help="Say JSON lines on stdout instead of drawing a progress bar.")
def film(out, vertices, cameras, frames, width, height, texture, samples, flat, noise, seed, events) -> None:
    """Film Suzanne's performance into a capture folder, with its truth."""
    with stage_output(events) as progress:
        from .film import Film, film_suzanne
        from .look import Look
        from .rig import Rig, Sensor

        look = Look(skin=not flat)
        if samples:
            look = replace(look, samples=samples)
        sensor = Sensor(seed=seed) if noise else Sensor(0.0, 0.0, 0.0, 100)
        rig = Rig(cameras, width, height, seed=seed)
        film_suzanne(Film(vertices, frames, texture, seed, rig, sensor, look), out, progress)


if __name__ == "__main__":
    try:
        main()
    except Topo4DError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)
