"""What was filmed: cameras, frames and plates. Knows files and calibration formats, nothing of meshes or tracking."""

from .camera import Camera
from .capture import Capture, describe, open_capture
from .images import read_plate
from .read_capture_json import write_capture_json

__all__ = ["Camera", "Capture", "describe", "open_capture", "read_plate", "write_capture_json"]
