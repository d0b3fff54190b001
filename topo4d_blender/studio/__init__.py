"""The film studio: films a known performance with Blender and keeps the truth.

For the demo, the tests, and planning a rig before a shoot. Files that import bpy run in a process of their own.
"""
