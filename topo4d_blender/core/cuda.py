"""What the doctor finds on an NVIDIA card: whether torch uses it, what the engine does there, what memory is free."""

from __future__ import annotations

from .gpus import Gpu, ask_nvidia, choose_torch, this_platform
from .jobs import why_not_baked_on_cuda, why_not_tracked_on_cuda
from .machine import package_version

LEAST_FREE_GB = 5.0  # maps of 8192 texels from 24 plates of 12 megapixels: 2.4 GB of tensors, and what torch keeps
_AGAIN = "Install the engine with torch for CUDA."
_DRIVER = "Update the graphics driver and restart the machine."
_PROGRAMS = "Close other programs that use the graphics card (Blender's rendered viewport, browsers)"
_MEMORY_SPENT = ("out of memory", "outofmemory", "alloc_failed")  # torch, the driver, cuBLAS


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
    whys = [why_not_tracked_on_cuda(), why_not_baked_on_cuda()]
    found |= {"tracks": not whys[0], "bakes": not whys[1]}
    failed = [why for why in whys if why]
    if failed and all(_is_memory(why) for why in failed):
        step = f"{_PROGRAMS} and run doctor again: {found['free_gb']:.1f} GB of its memory are free."
        found |= {"why": "The card's memory was spent in a small test.", "step": step}
    elif failed:
        found |= {"why": "A small test does not come out there as on the processor.", "step": _DRIVER}
    elif found["free_gb"] < LEAST_FREE_GB:
        found["step"] = (
            f"{_PROGRAMS} before baking: {found['free_gb']:.1f} GB of it are free, "
            f"and maps of 8192 texels want {LEAST_FREE_GB:.0f}."
        )
    return found


def _is_memory(why: str) -> bool:
    return any(words in why.lower() for words in _MEMORY_SPENT)


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
