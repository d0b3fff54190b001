"""The mesh that is tracked: topology, UV, roles, and the surface samples that stand on it. Knows no cameras."""

from .mesh import Template, read_template

__all__ = ["Template", "read_template"]
