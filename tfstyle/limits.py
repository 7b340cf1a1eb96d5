"""Limits on the pictures, weight files and networks that are read."""

from __future__ import annotations

# Pictures
MAX_PICTURE_BYTES = 1 << 29
"""Bytes of a picture file."""

MIN_PICTURE_MEMORY, MAX_PICTURE_MEMORY = 1_250_000_000, 4_000_000_000
"""Bytes of memory that reading a picture may take: for the decoder, the decoded pixels and the float32 result.

The limit is a quarter of the free memory, within these two. The first allows 62 million pixels of 8 bits per channel,
or 52 million of 16 bits, and if a small result is enough, 156 million in most formats, 200 million in a progressive
JPEG, and any number in other JPEG files. The second allows 3.2 times as many: 200 million pixels of 8 bits.
"""

MAX_PIXELS = 200_000_000
"""Pixels of a picture that is stylized in one pass."""

MAX_PICTURE_READS = 1_000_000
"""Read calls on a picture file: a header of a million parts would take minutes."""

MAX_JPEG_HEADER = 1 << 24
"""Bytes of a JPEG before its pixel data: color profile, EXIF, XMP and other metadata."""

MAX_SCANNED_PIXELS = 1_500_000_000
"""Pixels of a JPEG times its number of scans: each scan of a progressive file covers the whole picture."""

MAX_STRIPS = 300_000
"""Strips or tiles of a TIFF file."""

MAX_TAG_NUMBERS = 1_000_000
"""Numbers in the tags of a TIFF file, including strips and tiles: Pillow makes a Python object of each."""

MAX_EXIF = 1 << 20
"""Bytes of an EXIF block that is read; the orientation in a larger one is ignored."""

# Weight and network files
MAX_WEIGHT_BYTES = 1 << 30
"""Bytes of a weight or network file, and of the arrays read from it. VGG-19 with its dense layers has 575 million."""

MAX_WEIGHT_PARTS = 4096
"""Members of an archive; groups and datasets of an HDF5 file."""

MAX_PATH_LENGTH = 512
"""Characters of a dataset's path in an HDF5 file, which also limits the depth of its groups."""

MAX_HEADER_BYTES = 1 << 18
"""Bytes that describe the arrays: the pickle of a torch file, the header of a safetensors file, a network's config."""

MAX_DIMENSIONS = 8
"""Dimensions of a tensor."""

MAX_WEIGHT = 1e6
"""Absolute value of a single weight; in trained networks all are below a thousand."""

MAX_FILTERS = 512
"""Filters of a convolution, or entries of a style code, of a trained network; `tfstyle train` uses at most 128."""

MAX_BLOCKS = 32
"""Residual blocks of a trained network; `tfstyle train` uses 5."""

MAX_STEPS = 100_000_000
"""Steps of a training run that is resumed."""

MAX_OPTIONS_BYTES = 1 << 26
"""Bytes of the options in a training state, including the names of all content images."""
