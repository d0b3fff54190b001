"""What operators share: when they can run, how they start a job, how they find the tracked mesh."""

import bpy

from ..bridge.errors import BridgeError
from ..bridge.session import SESSION, Job
from ..preferences import NO_PYTHON, engine_log, engine_python


def is_free(cls: type[bpy.types.Operator]) -> bool:
    """Whether no job runs; says in the tooltip that one does otherwise. For what would pull the rug from under it."""
    if SESSION.job is not None:
        cls.poll_message_set("A job runs: wait for it, or cancel it")
        return False
    return True


def can_start(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Whether a job could start now; says why not in the tooltip."""
    if not engine_python(context):
        cls.poll_message_set(f"{NO_PYTHON} in the preferences")
        return False
    return is_free(cls)


def start(operator: bpy.types.Operator, context: bpy.types.Context, job: Job) -> set[str]:
    """Start the engine if it does not run and give it `job`; the operator's own return value."""
    SESSION.start_engine(engine_python(context), engine_log())
    if SESSION.failure:
        operator.report({"ERROR"}, SESSION.failure)
        return {"CANCELLED"}
    try:
        SESSION.submit(job)
    except BridgeError as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    return {"FINISHED"}


NO_CAMERA = "Every camera is left out; open the eye of some in the list of cameras."


def subject(context: bpy.types.Context) -> bpy.types.Object | None:
    """The mesh to work on: the one chosen as template, else the active object if it is a mesh."""
    chosen = context.scene.topo4d.template
    if chosen is not None:
        return chosen
    active = context.view_layer.objects.active
    return active if active is not None and active.type == "MESH" else None


def tracked(context: bpy.types.Context) -> bpy.types.Object | None:
    """The subject, if it carries a take."""
    obj = subject(context)
    return obj if obj is not None and obj.topo4d.take else None


def needs_take(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Whether there is a tracked mesh; says so in the tooltip otherwise."""
    if tracked(context) is None:
        cls.poll_message_set("Track a sequence first")
        return False
    return True
