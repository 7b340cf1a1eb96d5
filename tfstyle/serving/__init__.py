"""Exports networks for other programs."""

FORMATS = ("savedmodel", "onnx", "litert")
"""Formats that a network can be exported in."""
