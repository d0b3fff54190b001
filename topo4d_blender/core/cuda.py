"""What the doctor finds on an NVIDIA card: whether torch uses it, what the engine does there, what memory is free."""

from __future__ import annotations

from .gpus import Gpu, ask_nvidia, choose_torch, this_platform
from .jobs import bakes_on_cuda, tracks_on_cuda
from .machine import package_version

LEAST_FREE_GB = 5.0  # maps of 8192 texels from 24 plates of 12 megapixels; reckoned, no card has told
_AGAIN = "Install the engine with torch for CUDA."
_DRIVER = "Update the graphics driver and restart the machine."


def look_at_cuda() -> dict:
    """{"runs", "card", "free_gb", "tracks", "bakes", "why", "step"}.

    `runs`: torch computes on `card`; `tracks`, `bakes`: a small job came out there as on the processor, which takes
    seconds. `why` nothing runs, or not all, and the `step` that mends it; "" where there is none.
    """
    torch = ask_torch()
    found = {"runs": bool(torch["card"]), "card": torch["card"], "free_gb": torch["free_gb"]}
    found |= {"tracks": False, "bakes": False, "why": "", "step": ""}
    if not found["runs"]:
        why, step = why_no_cuda(ask_nvidia(), torch)
        return found | {"why": why, "step": step}
    found |= {"tracks": tracks_on_cuda(), "bakes": bakes_on_cuda()}
    if not (found["tracks"] and found["bakes"]):
        found |= {"why": "A small test does not come out there as on the processor.", "step": _DRIVER}
    elif found["free_gb"] < LEAST_FREE_GB:
        found["step"] = (
            f"Close other programs that use the graphics card (Blender's rendered viewport, browsers) before baking: "
            f"{found['free_gb']:.1f} GB of it are free, and maps of 8192 texels want {LEAST_FREE_GB:.0f}."
        )
    return found


def ask_torch() -> dict:
    """{"version", "problem", "cuda", "card", "free_gb"} of torch: what is "" is not there, loads, is built without."""
    facts = {"version": package_version("torch") or "", "problem": "", "cuda": "", "card": "", "free_gb": 0.0}
    try:
        import torch

        facts["cuda"] = torch.version.cuda or ""
        if torch.cuda.is_available():
            card = torch.cuda.get_device_properties(0)
            facts["card"] = f"{card.name}, {card.total_memory / 2**30:.0f} GB"
            facts["free_gb"] = round(torch.cuda.mem_get_info(0)[0] / 2**30, 1)
    except Exception as error:  # a broken installation, or driver, fails in any way
        return facts | {"card": "", "problem": " ".join(str(error).split())[:120]}
    return facts


def why_no_cuda(cards: list[Gpu], torch: dict) -> tuple[str, str]:
    """Why torch (`ask_torch`) computes on none of `cards`, and the step that mends it, "" where none does."""
    choice = choose_torch(this_platform(), cards)
    if choice.torch != "cuda":
        return choice.why, choice.step
    if not torch["version"]:
        return f"{cards[0].name} is here, but torch is not installed.", _AGAIN
    if torch["problem"]:
        return f"Torch does not load ({torch['problem']}).", _AGAIN
    if not torch["cuda"]:
        return f"{cards[0].name} is here, but this torch is a build without CUDA.", _AGAIN
    return f"{cards[0].name} answers, but torch finds no card.", _DRIVER
