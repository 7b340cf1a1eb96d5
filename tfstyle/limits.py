"""Limits of the readers: the largest pictures, weight files and networks that are read."""

from __future__ import annotations

# Pictures
MAX_PICTURE_BYTES = 1 << 29
"""Bytes of a picture file."""

MAX_PIXELS = 50_000_000
"""Pixels of a picture."""

# Weight and network files
MAX_TENSOR_ELEMENTS = 1 << 31
"""Numbers in one tensor of a torch file."""

MAX_HEADER_BYTES = 100_000_000
"""Bytes of the header of a safetensors file; the format's own limit."""
