"""Pixels as picture files."""

import time
import tracemalloc

import numpy as np
import pytest

from tfstyle.errors import OutputError
from tfstyle.pictures import encoding


def test_values_in_8_bits_worked_by_hand():
    assert encoding.to_uint8(np.array([0.4999 / 255, 0.5001 / 255, 1.3, -0.2], "float32")).tolist() == [0, 1, 255, 0]


def test_a_large_image_is_converted_without_copies_in_floating_point(rng):
    image = rng.uniform(-0.1, 1.1, size=(1, 1500, 1700, 3)).astype("float32")
    tracemalloc.start()
    found = encoding.to_uint8(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found, np.clip(np.rint(image * np.float32(255.0)), 0, 255))
    assert peak < 1.1 * found.nbytes + 3 * 4 * encoding._BAND


def test_equal_images_give_equal_bytes_at_any_time(rng):
    pixels = rng.integers(0, 256, size=(7, 9, 3), dtype=np.uint8)
    first = encoding.encode(pixels, "PNG")
    encoding.srgb_profile.cache_clear()
    time.sleep(1.1)  # A profile stamped with the time would differ now.
    assert encoding.encode(pixels, "PNG") == first


@pytest.mark.parametrize(("format", "side"), [("WEBP", 16384), ("JPEG", 65536)])
def test_a_picture_too_large_for_its_format_is_refused_with_its_size(format, side):
    with pytest.raises(OutputError, match=rf"^3x{side} pixels cannot be written as {format} .*; use another"):
        encoding.encode(np.zeros([side, 3, 3], np.uint8), format)
