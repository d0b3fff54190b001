"""What the .blend remembers of a capture, a take and a tracked mesh: choices of the artist, never progress."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)


def _is_mesh(_settings: bpy.types.PropertyGroup, obj: bpy.types.Object) -> bool:
    return obj.type == "MESH"


def _uv_maps(settings: bpy.types.PropertyGroup, context: bpy.types.Context, _typed: str) -> list[str]:
    """The names that the field offers: the UV maps of the mesh to track."""
    obj = settings.template or context.object
    return [layer.name for layer in obj.data.uv_layers] if obj is not None and obj.type == "MESH" else []


class TOPO4D_PG_frame(bpy.types.PropertyGroup):
    """One of the worst frames of a take."""

    frame: IntProperty(name="Frame")
    error_px: FloatProperty(name="Error", description="Mean distance between plates and mesh in pixels")


class TOPO4D_PG_flag(bpy.types.PropertyGroup):
    """Something that the engine found wrong in a frame (bridge/flags.py)."""

    frame: IntProperty(name="Frame")
    flag: StringProperty(name="Flag")
    text: StringProperty(name="What is Wrong")
    anywhere: BoolProperty(name="Somewhere on the Mesh", description="Whether vertices are named")


class TOPO4D_PG_object(bpy.types.PropertyGroup):
    """On a tracked mesh: where its frames come from."""

    take: StringProperty(
        name="Take", description="Folder that holds the solved frames of this mesh", subtype="DIR_PATH"
    )
    worst: CollectionProperty(type=TOPO4D_PG_frame)
    flags: CollectionProperty(type=TOPO4D_PG_flag)
    anchors: StringProperty(name="Anchors", description="Frames whose vertices are given and fixed")
    head_motion: BoolProperty(
        name="Head Motion on the Object", description="Whether the object carries the head's motion"
    )
    masters: BoolProperty(name="Full Size", description="Whether the textures are shown as large as they were baked")


class TOPO4D_PG_scene(bpy.types.PropertyGroup):
    """On a scene: what the panels ask for."""

    root: PointerProperty(
        name="Capture", description="Empty that the cameras of the capture hang under", type=bpy.types.Object
    )
    frames: StringProperty(
        name="Frames", description="Frames to track, such as 1-120 or 1,50-60; empty for all of the capture"
    )
    template: PointerProperty(
        name="Template",
        description="Mesh to track, lying on the subject in the first frame",
        type=bpy.types.Object,
        poll=_is_mesh,
    )
    uv_map: StringProperty(
        name="UV Map", description="UV map for the textures; empty for the active one", search=_uv_maps
    )
    take: StringProperty(
        name="Take Folder",
        description="Folder that the solved frames go to; empty for a new one beside the .blend or the capture",
        subtype="DIR_PATH",
    )
    track_from: EnumProperty(
        name="Template Fits",
        description="Which frame the template lies on the subject in; tracking goes from there both ways",
        items=[
            ("FIRST", "First Frame", "Track forward from the first of the frames"),
            ("LAST", "Last Frame", "Track backward from the last of the frames"),
            ("FRAME", "Frame", "Track forward and backward from a frame in between"),
        ],
    )
    start_frame: IntProperty(name="Frame", description="Frame that the template fits", default=1, min=0)
    anchors: StringProperty(
        name="Anchors",
        description="Folder of .npy or .obj files that end in a frame's number: these frames are given and met exactly",
        subtype="DIR_PATH",
    )
    from_take: StringProperty(
        name="From Take",
        description="Take whose nearest solved frame the frames above are tracked from, into a take of their own",
        subtype="DIR_PATH",
    )
    bake_resolution: EnumProperty(
        name="Resolution",
        description="Width and height of the baked textures in pixels",
        items=[(str(size), f"{size // 1024}K", f"{size} x {size}") for size in (1024, 2048, 4096, 8192)],
        default="2048",
    )
    bake_frames: StringProperty(
        name="Frames", description="Frames to bake, such as 1,50-60; empty for every tracked frame"
    )
    bake_every: IntProperty(
        name="Every n-th",
        description="1 bakes all of the frames, 5 every fifth; maps hold in between",
        default=1,
        min=1,
    )
    bake_format: EnumProperty(
        name="Format",
        description="What the maps are written as, beside a copy in 8 bits for the viewport",
        items=[
            ("png", "PNG", "8 bits, sRGB"),
            ("png16", "PNG, 16 Bits", "16 bits, sRGB"),
            ("jpeg", "JPEG", "8 bits at quality 95, sRGB: a third of the room of PNG"),
            ("tiff", "TIFF, 16 Bits", "16 bits, not compressed, sRGB"),
            ("exr", "OpenEXR", "Half floats, linear light with the primaries of Rec. 709"),
        ],
    )
    bake_method: EnumProperty(
        name="Method",
        description="How colours are taken from the plates",
        items=[
            ("inverse", "Best Views", "Every texel is looked up in the few cameras that see it best: seconds a frame"),
            ("splat", "Gaussians", "The paper's way: a dense Gaussian Mesh is fitted to all plates; minutes a frame"),
        ],
    )
    bake_choose_detail: BoolProperty(
        name="Choose Detail",
        description="Choose between smooth and sharp skin by hand; off, it is chosen by how noisy the plates are",
    )
    bake_detail: FloatProperty(
        name="Detail",
        description=(
            "0: smooth skin without grain, blended from many cameras. 1: the sharpest pores, from the best camera "
            "alone, with the grain of its plate"
        ),
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    base_texture: StringProperty(
        name="Base Texture",
        description="Picture that shows where no camera sees; with <UDIM> in its name for several tiles",
        subtype="FILE_PATH",
    )
    bake_again: BoolProperty(name="Bake Again", description="Bake frames anew that have a texture already")


CLASSES = (TOPO4D_PG_frame, TOPO4D_PG_flag, TOPO4D_PG_object, TOPO4D_PG_scene)
