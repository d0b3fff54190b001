"""The mesh that is tracked: topology, UV, roles, and the surface samples that stand on it. Knows no cameras."""

from .io import read_template, write_template
from .mesh import Template

__all__ = ["Template", "read_template", "write_template"]
