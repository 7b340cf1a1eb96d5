"""Limits of the readers: the largest pictures, weight files and networks that are read."""

from __future__ import annotations

# Pictures
MAX_PICTURE_BYTES = 1 << 29
"""Bytes of a picture file."""

MAX_PIXELS = 50_000_000
"""Pixels of a picture."""

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
