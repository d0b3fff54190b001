"""The studio in Blender: a mesh that can be posed, a skin, lights, one calibrated camera. The only file here with bpy.

The scene is in metres and keeps the capture's axes (y up); nobody opens it. Runs in a process of its own.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import mathutils
import numpy as np

from ..core.capture import Camera
from ..core.errors import RequestError
from ..core.template import Template
from .look import Light, Look

Array = np.ndarray


def suzanne_mesh(vertices: int) -> Template:
    """Blender's monkey, subdivided until her vertex count is nearest to `vertices`; her own size, y up, facing +z."""
    levels = int(np.clip(np.rint(np.log(vertices / 507.0) / np.log(4.0)), 0, 5))
    _empty_scene()
    bpy.ops.mesh.primitive_monkey_add()
    subject = bpy.context.object
    if levels:
        subdivision = subject.modifiers.new("Subdivision", "SUBSURF")
        subdivision.levels = levels
        bpy.ops.object.modifier_apply(modifier=subdivision.name)
    mesh = subject.data
    points = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", points.ravel())
    loops = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", loops)
    starts = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_start", starts)
    uv = np.empty((len(mesh.loops), 2), np.float32)
    mesh.uv_layers.active.data.foreach_get("uv", uv.ravel())
    turned = np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1).astype(np.float64)
    return Template(turned, loops, np.append(starts, len(loops)).astype(np.int32), uv)


def make_mesh(template: Template, name: str = "subject") -> bpy.types.Object:
    """A new object in the scene with the template's mesh: vertex and loop order kept, smooth shaded."""
    mesh = bpy.data.meshes.new(name)
    starts = np.ascontiguousarray(template.face_starts[:-1], np.int32)
    mesh.vertices.add(len(template.vertices))
    mesh.loops.add(len(template.loops))
    mesh.polygons.add(len(starts))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(template.vertices, np.float32).ravel())
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(template.loops, np.int32))
    mesh.polygons.foreach_set("loop_start", starts)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(starts), bool))
    if template.uv is not None:
        layer = mesh.uv_layers.new(name="UVMap")
        layer.data.foreach_set("uv", np.ascontiguousarray(template.uv, np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.validate()
    subject = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(subject)
    return subject


class Studio:
    """A set-up scene: `pose` the subject, then `render` it through a camera."""

    def __init__(
        self,
        template: Template,
        unit_mm: float,
        texture: Path,
        look: Look,
        middle: Array,
        roughness: Path | None = None,
        prop: tuple[Template, Path] | None = None,
    ) -> None:
        """`middle` [3] is the middle of the head in capture units; the lights stand around it.

        `prop` is a mesh filmed besides, with its texture; it is as glossy as the skin.
        """
        _empty_scene()
        self._metres = unit_mm / 1000.0
        subjects = [(template, texture, roughness)] + ([(*prop, None)] if prop else [])
        self._subjects = []
        for mesh, picture, rough in subjects:
            subject = make_mesh(mesh)
            subject.data.materials.append(_material(picture, rough, look))
            self._subjects.append(subject)
        self._lamps = [_add_light(light, np.asarray(middle) * self._metres) for light in look.lights if look.skin]
        _set_world(look)
        _set_render(look)
        lens = bpy.data.cameras.new("camera")
        self._camera = bpy.data.objects.new("camera", lens)
        bpy.context.scene.collection.objects.link(self._camera)
        bpy.context.scene.camera = self._camera

    def pose(self, vertices: Array, prop: Array | None = None) -> None:
        """Move the subject's vertices to `vertices` [V, 3], the prop's to `prop` [W, 3], capture units."""
        for subject, points in zip(self._subjects, (vertices, prop), strict=False):
            mesh = subject.data
            mesh.vertices.foreach_set("co", np.ascontiguousarray(points * self._metres, np.float32).ravel())
            mesh.update()

    def light(self, look: Look) -> None:
        """Give the lamps and the ambient light the strength and colour that they have in `look`."""
        for lamp, light in zip(self._lamps, look.lights, strict=False):
            lamp.energy, lamp.color = light.watts, light.colour
        for subject in self._subjects:
            shader = subject.data.materials[0].node_tree.nodes.get("Principled BSDF")
            if shader is not None:
                shader.inputs["Emission Strength"].default_value = look.ambient

    def render(self, camera: Camera, path: Path, seed: int = 0) -> None:
        """Write the 16-bit PNG `path` as `camera` sees it; the same for the same seed."""
        scene = bpy.context.scene
        scene.render.resolution_x, scene.render.resolution_y = camera.width, camera.height
        scene.cycles.seed = seed
        set_camera(self._camera, camera, self._metres)
        scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)


def set_camera(target: bpy.types.Object, camera: Camera, metres: float) -> None:
    """Give a Blender camera object the pose and lens of `camera`, exactly; one capture unit is `metres` long.

    Blender looks along -z with +y up; its shift counts in image widths (sensor fit horizontal), to the right and up.
    """
    if any(camera.distortion) or abs(camera.fx / camera.fy - 1.0) > 1e-9:
        raise RequestError(
            f"The studio films with square pixels and without lens distortion; camera {camera.name} has either."
        )
    lens = target.data
    lens.sensor_fit = "HORIZONTAL"
    lens.sensor_width = 36.0
    lens.lens = camera.fx / camera.width * lens.sensor_width
    lens.shift_x = (camera.width / 2.0 - camera.cx) / camera.width
    lens.shift_y = (camera.cy - camera.height / 2.0) / camera.width
    lens.clip_start, lens.clip_end = 0.01, 100.0
    pose = np.eye(4)
    pose[:3, :3] = camera.rotation.T @ np.diag([1.0, -1.0, -1.0])
    pose[:3, 3] = camera.centre * metres
    target.matrix_world = mathutils.Matrix(pose.tolist())


def export_obj(template: Template, texture: Path, path: Path) -> None:
    """Write `template` as an .obj with its polygons, vertex order and UV kept, and a material that shows `texture`."""
    _empty_scene()
    subject = make_mesh(template, path.stem)
    subject.data.materials.append(_material(texture, None, Look()))
    bpy.ops.wm.obj_export(
        filepath=str(path),
        check_existing=False,
        forward_axis="Y",  # with up Z: the axes as they are
        up_axis="Z",
        export_normals=False,
        export_materials=True,
        path_mode="RELATIVE",
    )


def _empty_scene() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)


def _material(texture: Path, roughness: Path | None, look: Look) -> bpy.types.Material:
    material = bpy.data.materials.new("skin")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output = nodes.new("ShaderNodeOutputMaterial")
    colour = nodes.new("ShaderNodeTexImage")
    colour.image = bpy.data.images.load(str(texture))
    if not look.skin:
        shader = nodes.new("ShaderNodeEmission")
        links.new(colour.outputs["Color"], shader.inputs["Color"])
        links.new(shader.outputs[0], output.inputs["Surface"])
        return material
    shader = nodes.new("ShaderNodeBsdfPrincipled")
    links.new(colour.outputs["Color"], shader.inputs["Base Color"])
    links.new(colour.outputs["Color"], shader.inputs["Emission Color"])
    shader.inputs["Emission Strength"].default_value = look.ambient
    shader.inputs["Specular IOR Level"].default_value = look.gloss
    shader.inputs["Roughness"].default_value = 0.45
    if roughness is not None:
        rough = nodes.new("ShaderNodeTexImage")
        rough.image = bpy.data.images.load(str(roughness))
        rough.image.colorspace_settings.name = "Non-Color"
        links.new(rough.outputs["Color"], shader.inputs["Roughness"])
    links.new(shader.outputs[0], output.inputs["Surface"])
    return material


def _add_light(light: Light, middle: Array) -> bpy.types.Light:
    lamp = bpy.data.lights.new("lamp", "AREA")
    lamp.shape, lamp.size = "DISK", 2.0 * light.radius
    lamp.energy, lamp.color = light.watts, light.colour
    target = bpy.data.objects.new("lamp", lamp)
    offset = mathutils.Vector(light.position)
    target.rotation_euler = (-offset).to_track_quat("-Z", "Y").to_euler()
    target.location = mathutils.Vector(middle.tolist()) + offset
    bpy.context.scene.collection.objects.link(target)
    return lamp


def _set_world(look: Look) -> None:
    """A gray that the cameras see behind the subject and that lights nothing."""
    world = bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    world.use_nodes = True
    gray = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    gray.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    gray.inputs["Strength"].default_value = look.background
    world.cycles.sampling_method = "NONE"
    world.cycles_visibility.diffuse = world.cycles_visibility.glossy = False


def _set_render(look: Look) -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.use_persistent_data = True  # the mesh and its texture stay in memory from one camera to the next
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.render.image_settings.color_depth = "16"
    scene.render.image_settings.compression = 0
    scene.render.dither_intensity = 0.0
    scene.render.resolution_percentage = 100
    scene.view_settings.view_transform = "Standard"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = look.samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = False
    cycles.max_bounces = 0
    cycles.caustics_reflective = cycles.caustics_refractive = False
