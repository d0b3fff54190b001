"""What a bake leaves in the take: files of every format against their truth, proxies, coverage, tiles, what goes on."""

import json
import re
import shutil
import struct
import zlib

import bake_scenes as scenes
import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
from bake_scenes import Board
from PIL import Image, ImageCms

from topo4d_blender.core import jobs
from topo4d_blender.core.errors import RequestError, StorageError
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.take.maps import PROXY, SUFFIXES
from topo4d_blender.core.template import Template
from topo4d_blender.core.texture import bake_take, write
from topo4d_blender.core.texture.base import SOFT_EDGES, match_base, plates_share
from topo4d_blender.core.texture.formats import FORMATS, format_of, srgb_to_linear, write_png
from topo4d_blender.core.texture.frame import Canvas

WALL = Board((-0.5, -0.5, 0.5, 0.5), 0.0, (0.05, 0.05, 0.65, 0.65), scenes.smooth)
BLUE = Board((-0.12, -0.12, 0.12, 0.12), 0.3, (0.75, 0.75, 0.95, 0.95), scenes.plain(20, 40, 250))


class Said(Progress):
    def __init__(self):
        self.sentences, self.frames = [], {}

    def warning(self, sentence):
        self.sentences.append(sentence)

    def frame(self, frame, path, metrics):
        self.frames[frame] = path, metrics


def ramp(kind, size=64):
    """Every channel with steps that 8 bits cannot hold."""
    high = np.iinfo(kind).max
    steps = np.linspace(0, high, size * size).reshape(size, size)
    return np.stack([steps, steps[::-1], np.full_like(steps, high // 3)], axis=-1).astype(kind)


def chunks(content):
    """The chunks of a PNG, their checksums verified."""
    at, found = 8, {}
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + data)
        found.setdefault(kind, data)
        at += 12 + length
    return found


def test_the_formats_of_every_room_are_the_same():
    assert tuple(FORMATS) == tuple(SUFFIXES) == jobs.MAP_FORMATS
    with pytest.raises(RequestError, match="'webp'.*png, png16, jpeg, tiff, exr"):
        format_of("webp")


@pytest.mark.parametrize(("name", "bits"), [("png", 8), ("png16", 16)])
def test_png_holds_every_bit_and_says_srgb(tmp_path, name, bits):
    texels = ramp(FORMATS[name].texels)
    FORMATS[name].write(tmp_path / "a.png", texels)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)[..., ::-1], texels)
    found = chunks((tmp_path / "a.png").read_bytes())
    assert list(found)[:2] == [b"IHDR", b"sRGB"] and found[b"IHDR"][8] == bits
    with Image.open(tmp_path / "a.png") as picture:
        picture.load()
        assert picture.info["srgb"] == 0


def test_gray_png_is_gray(tmp_path):
    write_png(tmp_path / "a.png", ramp(np.uint8)[..., 0])
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "L" and "srgb" not in picture.info
        np.testing.assert_array_equal(np.asarray(picture), ramp(np.uint8)[..., 0])


def test_jpeg_is_near_and_says_srgb(tmp_path):
    texels = ramp(np.uint8)
    FORMATS["jpeg"].write(tmp_path / "a.jpg", texels)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert np.abs(np.asarray(picture).astype(int) - texels).mean() < 2
        assert is_srgb(picture.info["icc_profile"])


def test_tiff_holds_16_bits_and_says_srgb(tmp_path):
    texels = ramp(np.uint16)
    FORMATS["tiff"].write(tmp_path / "a.tif", texels)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.asarray(), texels)
        assert is_srgb(file.pages[0].tags["InterColorProfile"].value)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_UNCHANGED)[..., ::-1], texels)


def is_srgb(profile):
    """Whether littleCMS, by `profile`, gives the colours of its own sRGB."""
    given = ImageCms.ImageCmsProfile(__import__("io").BytesIO(profile))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.uint8))
    same = ImageCms.profileToProfile(picture, given, ImageCms.createProfile("sRGB"))
    return np.abs(np.asarray(same).astype(int) - np.asarray(picture)).max() <= 1


def test_exr_is_linear_half_and_names_its_primaries(tmp_path):
    texels = ramp(np.uint16)
    FORMATS["exr"].write(tmp_path / "a.exr", texels)
    file = OpenEXR.File(str(tmp_path / "a.exr"))
    got = file.channels()["RGB"].pixels
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, srgb_to_linear(texels / 65535), rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(
        file.header()["chromaticities"], (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329), atol=1e-6
    )


def test_the_curve_of_srgb_at_points_anybody_can_look_up():
    np.testing.assert_allclose(srgb_to_linear(np.array([0, 0.04045, 0.5, 1])), [0, 0.0031308, 0.2140411, 1], rtol=1e-4)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_map_has_the_same_bytes(tmp_path, name):
    texels = ramp(FORMATS[name].texels)
    for file in ("a", "b"):
        FORMATS[name].write(tmp_path / file, texels)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"a", "b"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_place_that_takes_no_map_is_one_sentence(tmp_path, name):
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        FORMATS[name].write(tmp_path / "a", ramp(FORMATS[name].texels))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_deep_maps_carry_more_than_8_bits(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3))
    bake_take(take, capture, 128)
    shallow = cv2.imread(str(take.texture_path(1)), cv2.IMREAD_UNCHANGED)
    bake_take(take, capture, 128, overwrite=True, format="png16")
    deep = cv2.imread(str(take.texture_path(1)), cv2.IMREAD_UNCHANGED)
    assert shallow.dtype == np.uint8 and deep.dtype == np.uint16
    assert np.abs(deep / 257 - shallow).max() <= 1.01  # fills may round twice
    assert len(np.unique(deep)) > 10 * len(np.unique(shallow))


def test_every_format_is_baked_shown_and_found_again(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(2))
    for name, suffix in SUFFIXES.items():
        said = Said()
        assert bake_take(take, capture, 32, None, said, overwrite=True, format=name) == [1]
        master = take.folder / "texture" / f"000001{suffix}"
        assert said.frames[1][0] == str(master) and master.is_file() and take.texture_path(1) == master
        with Image.open(said.frames[1][1]["proxy"]) as proxy:
            assert proxy.format == "PNG" and proxy.size == (32, 32)
        assert (take.folder / "texture_2k").exists() == (name != "png")
        assert [p.name for p in (take.folder / "texture").iterdir()] == [master.name]
        assert take.textured_frames() == [1]
        assert bake_take(take, capture, 32, None, resume=True, format=name) == []
        whole = master.read_bytes()
        master.write_bytes(whole[:-7])
        assert take.textured_frames() == []
        assert bake_take(take, capture, 32, None, resume=True, format=name) == [1]
        assert master.read_bytes() == whole


def test_only_large_maps_have_a_proxy_and_it_is_their_mean(tmp_path):
    size = 2 * PROXY
    texture = np.random.default_rng(0).integers(0, 255, (size // 64, size // 64, 3)).astype(np.uint8)
    texture = np.kron(texture, np.ones((64, 64, 1), np.uint8))
    take, _ = scenes.make_take(tmp_path, [WALL], scenes.rig(1))
    request = write.MapRequest(size)
    take.maps.begin(request)
    write.write_tile(take.maps, request, 1, None, texture, texture[..., 0])
    with Image.open(take.proxy_path(1)) as proxy, Image.open(take.maps.coverage(1)) as coverage:
        assert proxy.size == coverage.size == (PROXY, PROXY) and take.proxy_path(1).parent.name == "texture_2k"
        np.testing.assert_array_equal(np.asarray(proxy), texture[::2, ::2])
        np.testing.assert_array_equal(np.asarray(coverage), texture[::2, ::2, 0])


def test_coverage_says_how_well_each_texel_is_seen(tmp_path):
    boards = [WALL, BLUE]
    take, capture = scenes.make_take(tmp_path, boards, scenes.rig(1, spread_deg=0))
    bake_take(take, capture, 128)
    with Image.open(take.maps.coverage(1)) as picture:
        coverage = np.asarray(picture)
    _, owner = scenes.truth(boards, 128)
    assert coverage.dtype == np.uint8 and not coverage[owner == -1].any()
    wall = coverage[(owner == 0) & (coverage > 0)]
    assert (coverage[(owner == 0)] == 0).sum() > 100  # what the blue board hides
    assert coverage[owner == 1].max() > 250  # nearest to the only camera and straight before it
    assert 200 < np.percentile(wall, 90) < coverage[owner == 1].max()


def test_a_slanted_surface_is_covered_by_its_cosine():
    for degrees in (0, 60):
        camera = scenes.rig(2, spread_deg=degrees)[1:]
        canvas = Canvas.of(scenes.template_of([WALL]), 64)
        plate = scenes.film(camera[0], [WALL]).astype(np.uint8)
        from topo4d_blender.core.texture.frame import paint, solve_frame

        solved = solve_frame(canvas, scenes.template_of([WALL]).vertices, camera, [(0, plate, None)], lambda: None)
        _, coverage = paint(canvas, solved)
        middle = coverage[38:44, 20:26]
        assert abs(np.median(middle) / 255 - np.cos(np.deg2rad(degrees))) < 0.15


# A template's own texture


def test_the_base_takes_on_the_exposure_of_the_plates():
    rng = np.random.default_rng(0)
    base = rng.integers(20, 120, (64, 64, 3)).astype(np.uint8)
    coverage = np.where(np.arange(64)[:, None] < 40, 200, 0) * np.ones((64, 64), int)
    texture = np.where(coverage[..., None] > 0, base * [1.5, 0.8, 2.0], 0).astype(np.uint8)
    np.testing.assert_allclose(match_base(texture, coverage, base), [1.5, 0.8, 2.0], rtol=0.02)
    assert match_base(texture, np.zeros((64, 64), np.uint8), base) is None
    assert match_base(texture * 0, coverage, base).min() == 0.25  # black plates do not blacken the base


def test_the_base_shows_where_nothing_is_seen_and_the_border_is_soft(tmp_path):
    boards = [WALL, BLUE]
    take, capture = scenes.make_take(tmp_path, boards, scenes.rig(1, spread_deg=0))
    base = np.full((50, 50, 3), (10, 240, 10), np.uint8)
    Image.fromarray(base).save(tmp_path / "base.png")
    plain = bake_take(take, capture, 256) and np.asarray(Image.open(take.texture_path(1))).astype(float)
    bake_take(take, capture, 256, overwrite=True, base_texture=tmp_path / "base.png")
    based = np.asarray(Image.open(take.texture_path(1))).astype(float)
    with Image.open(take.maps.coverage(1)) as picture:
        coverage = np.asarray(picture)
    unseen = (coverage == 0) & (scenes.truth(boards, 256)[1] == 0)
    shown = base[0, 0] * match_base(plain, coverage, np.broadcast_to(base[0, 0], (256, 256, 3)))
    assert unseen.sum() > 500 and np.abs(based - shown)[unseen].max() <= 1
    far = cv2.distanceTransform((~unseen).astype(np.uint8), cv2.DIST_L2, 5)
    edge = 0.6 * 256 / 12  # texels: a quad of the wall
    wall = scenes.truth(boards, 256)[1] == 0
    np.testing.assert_array_equal(
        based[wall & (far > (SOFT_EDGES + 3) * edge)], plain[wall & (far > (SOFT_EDGES + 3) * edge)]
    )
    assert np.median(np.abs(plain - shown)[wall], axis=0).max() > 60  # apart, so that a border of one texel would jump
    steps = np.abs(np.diff(based, axis=1))[:, :160]
    assert steps[wall[:, :160] & ~unseen[:, :160]].max() < 30


def test_the_border_goes_over_a_seam_in_uv():
    """Two halves of one sheet, far apart in UV; holes in the one are felt in the other."""
    vertices = np.array([[x, y, 0.0] for y in (0, 1) for x in range(9)])
    quads = np.array([[x, x + 1, x + 10, x + 9] for x in range(8)])
    uv = vertices[quads][..., :2] / (8, 2)
    uv[4:, :, 1] += 0.5
    template = Template(
        vertices, quads.ravel().astype(np.int32), np.arange(0, 33, 4, dtype=np.int32), uv.reshape(-1, 2)
    )
    canvas = Canvas.of(template, 64)
    coverage = np.where(np.isin(canvas.uv_map.ids, (6, 7)), 0, 200).astype(np.uint8)  # the quad left of the seam
    share = plates_share(coverage, canvas.uv_map, vertices, canvas.edges, canvas.triangles).reshape(2, 9)
    assert share[0, 3] == share[0, 4] == 0 and share[0, 0] == 1 == share[0, 8]
    np.testing.assert_allclose(share[0, 5:8], [0.2593, 0.7407, 1.0], atol=1e-3)  # smoothstep of 1/3, 2/3, 1
    np.testing.assert_allclose(share[0, :3][::-1], share[0, 5:8][[0, 1, 2]], atol=1e-3)


def test_a_base_that_is_missing_or_of_the_wrong_kind_is_refused(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(1))
    bake_take(take, capture, 32)
    for name in ("nowhere.png", "body.<UDIM>.png", "take/texture/000001.png"):
        with pytest.raises(RequestError, match=re.escape(name)):
            bake_take(take, capture, 32, base_texture=tmp_path / name, overwrite=True)
    assert take.textured_frames() == [1]


@pytest.mark.parametrize("line", ["map_Kd skin.png", "map_Kd -s 1 1 1 skin.png", "map_Kd deep\\\\skin.png"])
def test_a_base_may_be_named_by_an_obj_that_wears_it(tmp_path, line):
    take, capture = scenes.make_take(tmp_path, [WALL, BLUE], scenes.rig(1, spread_deg=0))
    (tmp_path / "start.obj").write_text("mtllib start.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl skin\nf 1 2 3\n")
    (tmp_path / "start.mtl").write_text(f"newmtl plain\nKd 1 1 1\nnewmtl skin\n{line}\n")
    where = tmp_path / "deep" / "skin.png" if "deep" in line else tmp_path / "skin.png"
    where.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), (10, 240, 10)).save(where)
    bake_take(take, capture, 64, base_texture=tmp_path / "start.obj")
    assert take.maps.request.base_texture == str(where)
    (tmp_path / "start.mtl").write_text("newmtl skin\nKd 1 1 1\n")
    with pytest.raises(RequestError, match="start.obj name no colour map"):
        bake_take(take, capture, 64, base_texture=tmp_path / "start.obj", overwrite=True)


# Tiles


def two_tiles():
    boards = [WALL, Board(BLUE.box, BLUE.z, (1.25, 0.25, 1.75, 0.75), scenes.smooth)]
    return boards, scenes.template_of(boards)


def test_tiles_are_baked_one_by_one_each_as_it_would_be_alone(tmp_path):
    boards, template = two_tiles()
    take, capture = scenes.make_take(tmp_path, boards, scenes.rig(3), template=template)
    said = Said()
    assert bake_take(take, capture, 64, None, said) == [1]
    assert {p.name for p in (take.folder / "texture").iterdir()} == {"000001.1001.png", "000001.1002.png"}
    assert {p.name for p in (take.folder / "coverage").iterdir()} == {"000001.1001.png", "000001.1002.png"}
    assert any("2 UDIM tile(s) (1001, 1002)" in s for s in said.sentences)
    assert json.loads((take.folder / "texture.json").read_text())["tiles"] == [1001, 1002]
    second = Board(BLUE.box, BLUE.z, (0.25, 0.25, 0.75, 0.75), boards[1].colour)
    truth, owner = scenes.truth([second], 64)
    shown = np.asarray(Image.open(take.folder / "texture/000001.1002.png")).astype(float)
    inner = cv2.erode((owner == 0).astype(np.uint8), np.ones((9, 9))) > 0
    assert np.abs(shown - boards[1].colour(*uv_of(64, 1.0)))[inner].max() < 12
    assert truth.shape == shown.shape


def uv_of(resolution, offset):
    """UV of every texel of a tile, `offset` to the right."""
    c = (np.arange(resolution) + 0.5) / resolution
    return np.meshgrid(offset + c, 1 - c)


def test_a_frame_is_whole_when_all_its_tiles_are(tmp_path):
    boards, template = two_tiles()
    take, capture = scenes.make_take(tmp_path, boards, scenes.rig(2), (1, 2), template=template)
    bake_take(take, capture, 32)
    (take.folder / "texture" / "000002.1002.png").unlink()
    assert take.textured_frames() == [1]
    assert bake_take(take, capture, 32, resume=True) == [2]
    with pytest.raises(RequestError, match="<UDIM>"):
        bake_take(take, capture, 32, overwrite=True, base_texture=take.folder / "texture" / "000001.1001.png")
    shutil.copytree(take.folder / "texture", tmp_path / "body")
    base = tmp_path / "body" / "000001.<UDIM>.png"
    assert bake_take(take, capture, 32, overwrite=True, base_texture=base) == [1, 2]


# What is there already


def test_maps_are_not_overwritten_unless_asked(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(2), (1, 2, 3))
    bake_take(take, capture, 32, (1, 2))
    with pytest.raises(RequestError, match="maps of frame 1-2 already.*--resume.*--overwrite"):
        bake_take(take, capture, 32)
    assert bake_take(take, capture, 32, (3,)) == [3]
    assert bake_take(take, capture, 32, overwrite=True) == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resolution": 64}, "resolution 32, not 64"),
        ({"format": "jpeg"}, "format png, not jpeg"),
        ({"cameras": 1}, "other cameras"),
        ({"images": "other.json"}, r"from .*capture\.json, not .*other\.json"),
        ({"base_texture": True}, "base texture none, not .*000001.png"),
    ],
)
def test_going_on_otherwise_than_before_is_refused_in_one_sentence(tmp_path, change, words):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2))
    bake_take(take, capture, 32)
    before = {p: p.read_bytes() for p in take.folder.rglob("*") if p.is_file()}
    if "cameras" in change:
        object.__setattr__(capture, "cameras", capture.cameras[:-1])
    if "images" in change:
        object.__setattr__(capture, "source", tmp_path / change["images"])
    options = {k: v for k, v in change.items() if k not in ("cameras", "images")}
    if "base_texture" in options:
        options["base_texture"] = shutil.copy(take.texture_path(1), tmp_path)
    options.setdefault("resolution", 32)
    for how in ({"resume": True}, {}):
        with pytest.raises(RequestError, match=f"{words}.*--overwrite"):
            bake_take(take, capture, **options, **how)
    with pytest.raises(RequestError, match="also has maps of frame 2"):
        bake_take(take, capture, frames=(1,), overwrite=True, **options)
    assert {p: p.read_bytes() for p in take.folder.rglob("*") if p.is_file()} == before
    assert bake_take(take, capture, overwrite=True, **options) == [1, 2]
    assert bake_take(take, capture, resume=True, **options) == []


def test_geometry_that_was_solved_again_is_baked_again(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(2), (1, 2))
    bake_take(take, capture, 32)
    take.write_geometry(2, take.read_geometry(2) + np.float32(0.01), {})
    assert bake_take(take, capture, 32, resume=True) == [2]


def test_a_damaged_or_newer_note_of_the_maps_is_refused(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(1))
    bake_take(take, capture, 32)
    note = take.folder / "texture.json"
    for text, words in (
        ("{", "damaged"),
        (note.read_text().replace('"format_version": 1', '"format_version": 2'), "newer"),
    ):
        note.write_text(text)
        with pytest.raises(RequestError, match=f"texture.json.*{words}"):
            bake_take(take, capture, 32, resume=True)


# The disk


def test_a_disk_too_small_for_the_sequence_is_told_before_the_first_frame(tmp_path, monkeypatch):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(1), tuple(range(1, 13)))
    usage = write.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(write.shutil, "disk_usage", lambda _: usage._replace(free=20 * 2**20))
    with pytest.raises(
        StorageError, match=r"maps of 12 frame\(s\), 1024 texels as png, need about 21\.\d MB.* has 20\.0 MB free"
    ):
        bake_take(take, capture, 1024)
    assert not (take.folder / "texture").exists()
    assert bake_take(take, capture, 64) == list(range(1, 13))


def test_a_disk_too_small_for_larger_maps_keeps_the_smaller_ones(tmp_path, monkeypatch):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(1), (1, 2))
    bake_take(take, capture, 32)
    before = {p: p.read_bytes() for p in take.folder.rglob("*") if p.is_file()}
    usage = write.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(write.shutil, "disk_usage", lambda _: usage._replace(free=10000))
    with pytest.raises(StorageError, match=r"frame\(s\), 1024 texels"):
        bake_take(take, capture, 1024, overwrite=True)
    assert {p: p.read_bytes() for p in take.folder.rglob("*") if p.is_file()} == before
    assert bake_take(take, capture, 32, overwrite=True) == [1, 2]  # what is replaced makes room


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_said_a_map_needs_is_about_what_it_needs(tmp_path, name):
    """On grain like a plate's; the guess may be half of it or twice, for no two faces are alike."""
    rng = np.random.default_rng(0)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (512, 512, 3)), (0, 0), 1.2)
    texels = np.clip(128 + 2.5 * grain / grain.std(), 0, 255) / 255 * np.iinfo(FORMATS[name].texels).max
    FORMATS[name].write(tmp_path / "a", texels.astype(FORMATS[name].texels))
    assert 0.5 < (tmp_path / "a").stat().st_size / 512**2 / FORMATS[name].bytes_a_texel < 2
