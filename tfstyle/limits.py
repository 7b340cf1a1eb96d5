"""Limits of the readers: the largest pictures, weight files and networks that are read."""

from __future__ import annotations

# Pictures
MAX_PICTURE_BYTES = 1 << 29
"""Bytes of a picture file."""

MAX_PICTURE_MEMORY = 1_250_000_000
"""Bytes of memory that reading a picture takes: the decoder's own, the decoded pixels and the float32 result.

That is 62 million pixels of 8 bits a channel, 52 of 16 bits; where a small result is enough, 156 million of most
formats and 200 million of JPEG.
"""

MAX_PIXELS = 50_000_000
"""Pixels of a picture that is painted in one pass."""

MAX_PICTURE_READS = 1_000_000
"""Calls that read a picture file piece by piece, so that a header of a million parts cannot take minutes."""

MAX_JPEG_HEADER = 1 << 24
"""Bytes of a JPEG before its pixels: profile, EXIF, XMP and the like."""

MAX_SCANNED_PIXELS = 1_500_000_000
"""Pixels of a JPEG times its scans: each scan of a progressive file passes over the whole picture."""

MAX_STRIPS = 300_000
"""Strips or tiles of a TIFF file."""

# Weight and network files
MAX_TENSOR_ELEMENTS = 1 << 31
"""Numbers in one tensor of a torch file."""

MAX_HEADER_BYTES = 100_000_000
"""Bytes of the header of a safetensors file; the format's own limit."""
