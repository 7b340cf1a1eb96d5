"""Finds faces, so that they can be protected."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from tfstyle import images
from tfstyle.errors import InputError, SetupError
from tfstyle.styles import RAMPS
from tfstyle.tensors import sides

FACES = "faces"
"""In place of a mask of what to protect: the faces of the photograph."""

_LONG_SIDE, _SMALLEST = 640, 1 / 12
"""Long side at which faces are searched, and width of the smallest face as a fraction of it; there are more mistakes
among smaller ones."""

_RADII = 0.7, 0.55
"""Radii of the ellipse that is protected, as fractions of the width of the square that is found: with chin and hair."""

_log = logging.getLogger("tfstyle")


def check_protect(protect: Any) -> None:
    """Checks that faces can be found, if they are to be protected.

    Raises:
        SetupError: if scikit-image is missing.
    """
    if is_faces(protect):
        _library()


def find_protected(protect: Any, image: np.ndarray) -> Any:
    """Returns what to protect in an image: the mask given, or for `FACES` that of the faces.

    Args:
        protect: a mask as for `masks.read_mask`, `FACES`, or None.
        image: float32 [1, height, width, 3] in [0, 1].

    Raises:
        InputError: if no face is found.
        SetupError: if scikit-image is missing.
    """
    return find_faces(image) if is_faces(protect) else protect


def find_faces(image: np.ndarray) -> np.ndarray:
    """Finds faces that look at the viewer.

    Args:
        image: float32 [1, height, width, 3] in [0, 1].

    Returns:
        float32 [height', width'], 1 inside an ellipse around each face, otherwise 0, of the image reduced.

    Raises:
        InputError: if there is none.
        SetupError: if scikit-image is missing.

    References:
        Liao, Zhu, Lei, Zhang, Li: Learning Multi-scale Block Local Binary Patterns for Face Recognition (ICB 2007); the
        cascade is the one that scikit-image holds.
    """
    feature, data = _library()
    reduced = np.asarray(images.reduce(image, _LONG_SIDE, short_side=1))
    pixels, longest = np.rint(255.0 * reduced[0]).astype(np.uint8), max(sides(reduced))
    smallest = max(24, round(_SMALLEST * longest))
    cascade = feature.Cascade(data.lbp_frontal_face_cascade_filename())
    found = cascade.detect_multi_scale(
        pixels, scale_factor=1.2, step_ratio=1, min_size=(smallest, smallest), max_size=(longest, longest)
    )
    if not found:
        raise InputError("no face was found in the content image; give a mask of what to protect.")
    _log.info("protects %d face%s.", len(found), "s" if len(found) > 1 else "")
    mask = np.zeros(sides(reduced), np.float32)
    rows, columns = np.indices(mask.shape)
    for face in found:
        height, width = (radius * face["width"] for radius in _RADII)
        down, right = rows - face["r"] - face["height"] / 2, columns - face["c"] - face["width"] / 2
        mask[(down / height) ** 2 + (right / width) ** 2 <= 1.0] = 1.0
    return mask


def name_protected(protect: Any) -> dict[str, Any]:
    """Names the picture of what to protect for records: "protect"; none for a word and None."""
    return {} if protect is None or is_word(protect) else {"protect": protect}


def is_word(protect: Any) -> bool:
    """Returns whether it is a word for what to protect: `FACES`, or one of `styles.RAMPS`."""
    return isinstance(protect, str) and protect in (FACES, *RAMPS)


def is_faces(protect: Any) -> bool:
    """Returns whether faces are to be found."""
    return isinstance(protect, str) and protect == FACES


def _library() -> tuple[Any, Any]:
    try:
        from skimage import data, feature
    except ImportError:
        raise SetupError("finding faces needs scikit-image; run pip install tfstyle[faces], or give a mask.") from None
    return feature, data
