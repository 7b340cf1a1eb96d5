"""Limits of the readers: the largest pictures, weight files and networks that are read."""

from __future__ import annotations

# Pictures
MAX_PICTURE_BYTES = 1 << 29
"""Bytes of a picture file."""

MAX_PICTURE_MEMORY = 1_250_000_000
"""Bytes of memory that reading a picture takes: the decoder's own, the decoded pixels and the float32 result.

That is 62 million pixels of 8 bits a channel, 52 of 16 bits; where a small result is enough, 156 million of most
formats, 200 million of progressive JPEG and any number of other JPEG.
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

MAX_TAG_NUMBERS = 1_000_000
"""Numbers in the tags of a TIFF file, strips and tiles among them: Pillow makes an object of each."""

MAX_EXIF = 1 << 20
"""Bytes of an EXIF block that is looked into."""

# Weight and network files
MAX_WEIGHT_BYTES = 1 << 30
"""Bytes of a weight or network file, and of the arrays read from it: VGG-19 with its dense layers has 575 million."""

MAX_WEIGHT_PARTS = 4096
"""Members of an archive; groups and datasets of an HDF5 file."""

MAX_PATH_LENGTH = 512
"""Characters of a dataset's path in an HDF5 file, which bounds how deep its groups lie."""

MAX_HEADER_BYTES = 1 << 18
"""Bytes of what describes the numbers: torch's pickle, the header of a safetensors file, a network's config."""

MAX_DIMENSIONS = 8
"""Dimensions of a tensor."""

MAX_WEIGHT = 1e6
"""Absolute value of a single weight; those of trained networks stay below a thousand."""

MAX_FILTERS = 512
"""Filters of a convolution, or numbers in a code, of a trained network; those of `tfstyle train` have at most 128."""

MAX_BLOCKS = 32
"""Residual blocks of a trained network; those of `tfstyle train` have 5."""

MAX_STEPS = 100_000_000
"""Steps of a training that is resumed."""

MAX_OPTIONS_BYTES = 1 << 26
"""Bytes of the options in a training state, the names of all photographs among them."""
