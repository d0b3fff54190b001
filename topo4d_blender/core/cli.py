"""The command line: `topo4d track | bake | evaluate | demo | doctor | worker`.

Exit status 0: done. 1: the work failed or was stopped. 2: the request was wrong, or the disk does not take the result.
What was finished is kept. An error is one sentence on stderr, never a traceback. stdout carries results alone (scores,
paths), stderr progress and warnings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from .bars import BarProgress
from .errors import RequestError, Topo4DError
from .jobs import BAKE_METHODS, DEVICES, MAP_FORMATS, METHODS, as_topo4d_error
from .jobs import bake as bake_job
from .jobs import track as track_job
from .protocol import ENGINE

_PATH = click.Path(path_type=Path)


class _OneSentence(click.Group):
    """A group whose every failure is one line on stderr and the exit status that belongs to it."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Ctrl-C is met here because click would answer it with an empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise as_topo4d_error(error) from None

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line and end the process."""
        kwargs["standalone_mode"] = False
        try:
            status = super().main(*args, **kwargs)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.ctx.get_help())
            status = 2
        except click.ClickException as error:
            status = _say(RequestError(_sentence(error)))
        except click.Abort:  # Ctrl-C before the command began
            status = _say(as_topo4d_error(KeyboardInterrupt()))
        except Exception as error:
            status = _say(as_topo4d_error(error))
        sys.exit(status if isinstance(status, int) else 0)


def _say(error: Topo4DError) -> int:
    click.echo(f"error: {' '.join(str(error).split())}", err=True)
    return error.exit_status


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _say_flagged(sentences: list[str]) -> None:
    if sentences:
        click.echo("Flagged, to be looked at:")
    for sentence in sentences:
        click.echo(f"  {sentence}")


def _sentence(error: click.ClickException) -> str:
    """Click's message with the command whose help says more."""
    ctx = getattr(error, "ctx", None)
    return f"{error.format_message().rstrip('.')}; see {ctx.command_path if ctx else 'topo4d'} --help."


def _settings(chosen: tuple[str, ...]) -> dict[str, float]:
    """What --set says, by name. Raises RequestError for what is no NAME=NUMBER."""
    settings = {}
    for text in chosen:
        name, _, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            raise RequestError(f"--set {text} is no NAME=NUMBER; give for instance --set iterations=500.") from None
        settings[name.strip()] = int(number) if number.is_integer() else number
    return settings


def _choosing_cameras(command: Callable) -> Callable:
    """The options --cameras and --without-cameras, handed over as one argument `cameras`: a list, or None."""

    @click.option(
        "--cameras",
        multiple=True,
        help="Such as cam00,cam01 or 'cam0*'; -cam07 leaves one out. Default: all, or those tracked with.",
    )
    @click.option("--without-cameras", multiple=True, metavar="NAME,...", help="The same as --cameras -NAME,...")
    @wraps(command)
    def choosing(cameras: tuple[str, ...], without_cameras: tuple[str, ...], **options: Any) -> Any:
        parts = [part.strip() for text in cameras for part in text.split(",")]
        parts += [f"-{part.strip()}" for text in without_cameras for part in text.split(",")]
        return command(**options, cameras=parts or None)

    return choosing


@click.group("topo4d", cls=_OneSentence, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ENGINE, prog_name="topo4d")
def main() -> None:
    """4D head capture: one mesh through every frame of a multi-camera performance, with textures."""


@main.command()
@click.argument("capture", type=_PATH)
@click.option("--template", type=_PATH, help="The mesh, registered to the frame of --start (.obj, .npz).")
@click.option("--out", "take", required=True, type=_PATH, help="The take folder to write.")
@click.option("--frames", help="Such as 1-120, backwards 60-40, or every fifth: 1-100:5; default: all.")
@click.option("--start", type=int, help="The frame that the template fits; default: the first named. Tracks both ways.")
@click.option("--again", metavar="FRAMES", help="Solve these frames of the take again, such as 51-120, or 49-1 back.")
@click.option("--anchors", type=_PATH, help="Frames whose vertices are given: a folder of 000123.npy or .obj; an .npz.")
@click.option("--from-take", type=_PATH, help="Start from the nearest frame that this other take has solved.")
@_choosing_cameras
@click.option("--unit-mm", type=float, help="Millimetres one unit of the capture is; default: what it says.")
@click.option("--method", default=METHODS[0], show_default=True, type=click.Choice(METHODS))
@click.option("--set", "chosen", multiple=True, metavar="NAME=NUMBER", help="A setting of the method: docs/methods.md.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(DEVICES))
@click.option("--resume", is_flag=True, help="Go on with the take in --out where it was left, also for more frames.")
def track(chosen: tuple[str, ...], **options: Any) -> None:
    """Follow a template through CAPTURE, a folder or a calibration file, into a take folder."""
    with BarProgress().stopping() as progress:
        summary = track_job(progress, settings=_settings(chosen), **options)
    click.echo(f"{_count(summary['frames'], 'frame')} solved in {summary['take']}")
    _say_flagged(summary["flagged"])


@main.command()
@click.argument("take", type=_PATH)
@click.option("--resolution", default=8192, show_default=True, type=click.IntRange(16, 16384), help="Width in texels.")
@click.option("--frames", help="Such as 1,50-60 or every fifth: 1-100:5; default: all solved.")
@_choosing_cameras
@click.option(
    "--images", type=_PATH, help="A capture of the same cameras with larger plates; default: the tracked one."
)
@click.option(
    "--format",
    default=MAP_FORMATS[0],
    show_default=True,
    type=click.Choice(MAP_FORMATS),
    help="png and jpeg: 8 bits; png16 and tiff: 16; exr: half floats, linear.",
)
@click.option("--method", default=BAKE_METHODS[0], show_default=True, type=click.Choice(BAKE_METHODS))
@click.option(
    "--base-texture",
    type=_PATH,
    help="Shown where no camera sees: a picture on the same UV map (<UDIM> for tiles), or an .obj wearing it.",
)
@click.option(
    "--detail",
    type=click.FloatRange(0, 1),
    help="0: smooth, from many views; 1: pores and grain of the sharpest view alone; default: by the plates' noise.",
)
@click.option(
    "--device", default="auto", show_default=True, type=click.Choice(DEVICES), help="cuda: of the method inverse alone."
)
@click.option("--resume", is_flag=True, help="Keep the maps that are already baked.")
@click.option("--overwrite", is_flag=True, help="Replace the maps that are already baked.")
def bake(**options: Any) -> None:
    """Bake a colour map for the frames of TAKE."""
    with BarProgress().stopping() as progress:
        summary = bake_job(progress, **options)
    click.echo(f"{_count(summary['frames'], 'map')} baked in {summary['take']}")


@main.command()
@click.argument("take", type=_PATH)
@click.option("--truth", required=True, type=_PATH, help="truth.npz: vertices, face_mask, unit_mm.")
def evaluate(take: Path, truth: Path) -> None:
    """Score TAKE against known truth; JSON on stdout, lengths in millimetres."""
    from .evaluate import evaluate_take
    from .take import Take

    scores = evaluate_take(Take.open(take), truth)
    for sentence in scores["warnings"]:
        click.echo(f"warning: {sentence}", err=True)
    click.echo(json.dumps(scores, indent=2, allow_nan=False))


@main.command()
@click.option("--out", default=Path("topo4d_demo"), show_default=True, type=_PATH, help="The folder to write.")
@click.option("--resolution", default=2048, show_default=True, type=click.IntRange(16, 16384), help="Width in texels.")
@click.option("--frames", default=12, show_default=True, type=click.IntRange(1), help="Length of the performance.")
def demo(out: Path, resolution: int, frames: int) -> None:
    """Film a synthetic performance, track it, bake it; write the .blend and a report."""
    from ..studio.demo import run_demo

    with BarProgress().stopping() as progress:
        summary = run_demo(out, resolution, progress, frames=frames)
    click.echo(f"mean vertex error {summary['mean_mm']:.3f} mm, 95 % below {summary['p95_mm']:.3f} mm")
    _say_flagged(summary["flagged"])
    click.echo(f"open {summary['report']} and {summary['blend']}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def doctor(as_json: bool) -> None:
    """Say what this machine can run, and what to install for more. Exit status 1 if the engine does not run here."""
    from .doctor import diagnose, in_words, works

    found = diagnose()
    click.echo(json.dumps(found, indent=2) if as_json else in_words(found))
    if not works(found):
        sys.exit(1)


@main.command()
def worker() -> None:
    """Serve Blender over stdin and stdout (protocol.py)."""
    from .worker import main as serve

    serve()
