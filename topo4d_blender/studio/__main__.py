"""The studio's stages, each a process of its own: `python -m topo4d_blender.studio film|blend`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from ..core.jobs import as_topo4d_error
from .events import stage_output

_PATH = click.Path(path_type=Path)


@click.group()
def main() -> None:
    """Film a known performance, or show a take in a .blend; needs the bpy module."""


@main.command()
@click.option("--out", type=_PATH, required=True, help="Folder of the capture.")
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
def film(out: Path, events: bool, **options: Any) -> None:
    """Film Suzanne's performance into a capture folder, with its truth."""
    with stage_output(events) as progress:
        from .film import film_suzanne, plan_film

        film_suzanne(plan_film(**options), out, progress)


@main.command()
@click.argument("capture", type=_PATH)
@click.argument("take", type=_PATH)
@click.option("--template", type=_PATH, required=True, help="The .obj that was tracked.")
@click.option("--out", type=_PATH, required=True, help="The .blend to write.")
@click.option("--alembic", type=_PATH, help="The .abc to write as well.")
@click.option("--events", is_flag=True, help="Say JSON lines on stdout instead of drawing a progress bar.")
def blend(capture: Path, take: Path, template: Path, out: Path, alembic: Path | None, events: bool) -> None:
    """Show a take in a .blend: cameras with plates, a shape key a frame, the texture sequence, the timeline."""
    with stage_output(events) as progress:
        from .blend import write_blend

        write_blend(capture, template, take, out, alembic, progress)


def _run() -> int:
    """Run the stage; every failure is one sentence on stderr and the exit status that belongs to it."""
    try:
        return main(standalone_mode=False) or 0
    except click.ClickException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        return 2
    except (Exception, KeyboardInterrupt) as error:
        failure = as_topo4d_error(KeyboardInterrupt() if isinstance(error, click.Abort) else error)
        print(f"error: {failure}", file=sys.stderr)
        return failure.exit_status


if __name__ == "__main__":
    status = _run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is on disk. Blender's own way out sometimes waits for itself for ever (after Alembic, with timers).
    os._exit(status)
