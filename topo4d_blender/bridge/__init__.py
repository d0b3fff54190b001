"""Between Blender and the engine: arrays and files on one side, data-blocks on the other.

Nothing in here needs a window or reads `bpy.context`, so scripts, the film studio and the tests call the same functions
that the operators call. Only bpy, numpy and the standard library; of the engine, only `core.protocol`.
"""
