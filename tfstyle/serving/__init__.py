"""Exports networks for other programs."""

FORMATS = ("savedmodel", "onnx", "litert")
"""What a network can be exported as."""
