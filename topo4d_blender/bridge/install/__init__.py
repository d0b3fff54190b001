"""Installing the engine: the folders it lives in, wheels, pip, and the process that does the work beside Blender.

Everything here but `errand` (Blender's side) runs in a Python without bpy and without numpy.
"""
