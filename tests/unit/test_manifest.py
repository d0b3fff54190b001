"""The extension's manifest: what Blender's validator does not say until it is too late, and what must agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = tomllib.loads((ROOT / "blender_manifest.toml").read_text("utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_name_of_blender_is_not_in_the_name():
    """extensions.blender.org, terms of service 2.1."""
    assert (MANIFEST["id"], MANIFEST["name"]) == ("topo4d", "Topo4D")


def test_one_version_and_one_licence():
    assert MANIFEST["version"] == PROJECT["version"]
    assert MANIFEST["license"] == [f"SPDX:{PROJECT['license']}"]


def test_texts_fit_and_end_without_a_full_stop():
    for text in (MANIFEST["tagline"], *MANIFEST["permissions"].values()):
        assert len(text) <= 64 and re.fullmatch(r".*[\w)\]}]", text)


def test_permissions_are_those_that_are_used():
    assert set(MANIFEST["permissions"]) == {"files", "network"}


def test_no_wheels_and_no_platforms():
    """All extensions share one site-packages: the engine has an environment of its own instead."""
    assert not {"wheels", "platforms"} & set(MANIFEST)


def test_paths_are_left_to_the_build_script():
    """`[build] paths` with `paths_exclude_pattern` passes validate and fails build."""
    assert "build" not in MANIFEST
