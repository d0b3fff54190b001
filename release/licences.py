"""Which licences a package of the engine may have: those that may be combined with GPL-3.0-or-later and passed on.

Sources: GNU, "Various licenses and comments about them"; the SPDX licence list. A licence that is not listed here is
refused, so non-commercial and proprietary ones are, whatever they are called.
"""

from __future__ import annotations

import re
from email.message import Message
from email.parser import HeaderParser
from functools import cache
from pathlib import Path
from zipfile import ZipFile

from license_expression import ExpressionError, LicenseExpression, get_spdx_licensing

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "GPL-3.0-or-later WITH GCC-exception-3.1",
    "ISC",
    "LGPL-2.1-or-later",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
    "Unlicense",
    "Zlib",
}
# Where a wheel's METADATA has no SPDX expression and no single clear word: read in its own licence file.
READ_BY_HAND = {
    "colorama": "BSD-3-Clause",
    "contourpy": "BSD-3-Clause",
    "cycler": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "kiwisolver": "BSD-3-Clause",
    "llvmlite": "BSD-2-Clause AND Apache-2.0 WITH LLVM-exception",
    "matplotlib": "PSF-2.0",  # matplotlib's own, which is Python's with the names changed
    "mpmath": "BSD-3-Clause",
    "numba": "BSD-2-Clause",
    "numpy": "BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1",  # the latter: its Fortran runtime
    "opencv-python-headless": "Apache-2.0 AND LGPL-2.1-or-later",  # the latter: its FFmpeg
    "openexr": "BSD-3-Clause",
    "scipy": "BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1",
    "sympy": "BSD-3-Clause",
    "tinyobjloader": "MIT AND ISC",
}
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "zlib/libpng License": "Zlib",
}
NVIDIA = "LicenseRef-NVIDIA-Proprietary"  # CUDA's libraries: free to use, not free to pass on with GPL software


class Forbidden(Exception):
    """A package whose licence is not among ALLOWED, in a sentence."""


def metadata_of(wheel: Path) -> Message:
    """The METADATA of a wheel file."""
    with ZipFile(wheel) as file:
        (name,) = (n for n in file.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        return HeaderParser().parsestr(file.read(name).decode("utf-8", "replace"))


def licence_of(metadata: Message) -> str:
    """The SPDX expression of the package that `metadata` describes. Raises Forbidden where nothing tells it."""
    name = re.sub(r"[-_.]+", "-", metadata["Name"]).lower()
    classifiers = [
        text.rpartition(" :: ")[2] for text in metadata.get_all("Classifier", []) if text.startswith("License")
    ]
    if name.startswith(("nvidia-", "cuda-toolkit")):  # the latter is an empty wheel that names the former
        return NVIDIA
    if "Other/Proprietary License" in classifiers:
        return "LicenseRef-Proprietary"
    if name in READ_BY_HAND:
        return READ_BY_HAND[name]
    for words in (metadata["License-Expression"], metadata["License"]):
        if words and (parsed := _parse(words.strip())) is not None:
            return parsed.render()
    known = {_CLASSIFIERS[text] for text in classifiers if text in _CLASSIFIERS}
    if len(known) == 1:
        return known.pop()
    raise Forbidden(
        f"Nothing in the wheel of {name} tells its licence: read its licence file and list it in release/licences.py."
    )


def check(name: str, expression: str, nvidia: bool = False) -> None:
    """Raises Forbidden unless `expression` is allowed; with `nvidia`, CUDA's libraries are too."""
    if expression == NVIDIA and nvidia:
        return
    parsed = _parse(expression)
    if parsed is None or not _allowed(parsed):
        raise Forbidden(
            f"{name} is licensed as {expression}, which may not be combined with GPL-3.0-or-later and passed on: "
            "leave it out."
        )


@cache
def _licensing():
    return get_spdx_licensing()


def _parse(text: str) -> LicenseExpression | None:
    """`text` as an SPDX expression; None if it is none."""
    try:
        parsed = _licensing().parse(text, validate=True)
    except (ExpressionError, AttributeError):
        return None
    return parsed


def _allowed(expression: LicenseExpression) -> bool:
    """Whether one side of every OR and all sides of every AND are allowed."""
    if isinstance(expression, _licensing().AND):
        return all(_allowed(part) for part in expression.args)
    if isinstance(expression, _licensing().OR):
        return any(_allowed(part) for part in expression.args)
    return expression.render() in ALLOWED
