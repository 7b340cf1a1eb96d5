"""Samples of more than 8 bits a channel, written by independent libraries or by hand."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from picture_files import assert_pixels, save, write_planes, write_png, write_tiff

from tfstyle import images
from tfstyle.errors import InputError


def test_16_bit_gray_is_scaled_not_clipped(rng, tmp_path):
    deep = rng.integers(0, 65536, size=(20, 30), dtype=np.uint16)
    for path in (write_png(tmp_path, deep, bitdepth=16), save(tmp_path, deep, "deep.tiff")):
        picture = images.read(path)
        np.testing.assert_allclose(picture.image[0], np.repeat(deep[..., None] / 65535.0, 3, -1), rtol=1e-6)
        assert "16 bits a channel kept" in picture.notes


def test_16_bit_color_png_keeps_its_depth(rng, tmp_path):
    deep = rng.integers(0, 65536, size=(20, 30, 3), dtype=np.uint16)
    picture = images.read(write_png(tmp_path, deep, bitdepth=16))
    np.testing.assert_allclose(picture.image[0], deep / 65535.0, rtol=1e-6)


def test_16_bit_color_png_keeps_its_alpha(rng, tmp_path):
    deep = rng.integers(0, 65536, size=(20, 30, 4), dtype=np.uint16)
    picture = images.read(write_png(tmp_path, deep, bitdepth=16, alpha=True), background="black")
    values = deep / 65535.0
    np.testing.assert_allclose(picture.alpha[0], values[..., 3:], rtol=1e-6)
    np.testing.assert_allclose(picture.image[0], values[..., :3] * values[..., 3:], rtol=1e-5, atol=1e-7)


def test_16_bit_color_needs_no_tensorflow(tmp_path):
    path = write_png(tmp_path, np.full((20, 30, 3), 12345, np.uint16), bitdepth=16)
    program = "import sys; from tfstyle import images; images.read(sys.argv[1]); assert 'tensorflow' not in sys.modules"
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(Path(images.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=True)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_color_tiff_keeps_its_depth(order, channels, rng, tmp_path):
    import tifffile

    deep = rng.integers(0, 65536, size=(20, 30, channels), dtype=np.uint16)
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(tmp_path / "deep.tiff", deep, photometric="rgb", byteorder=order, rowsperstrip=7, **extra)
    picture = images.read(tmp_path / "deep.tiff", background="black")
    alpha = deep[..., 3:] / 65535.0 if channels == 4 else 1.0
    np.testing.assert_allclose(picture.image[0], deep[..., :3] / 65535.0 * alpha, rtol=1e-5, atol=1e-7)
    assert picture.warnings == ()


def test_16_bit_color_tiff_in_separate_planes_is_read_at_8_with_a_warning_or_refused(rng, tmp_path):
    deep = rng.integers(0, 65536, size=(3, 20, 30), dtype=np.uint16)
    picture = images.read(write_planes(tmp_path, deep, compression=8))
    assert_pixels(picture, deep.transpose(1, 2, 0) / 257.0, tolerance=1.01)
    assert "8 bits" in picture.warnings[0]
    with pytest.raises(InputError, match="separate planes; save it interleaved"):  # Pillow reads other pixels.
        images.read(write_planes(tmp_path, deep, compression=1))


def test_16_bit_gray_tiff_in_which_0_is_white_is_not_a_negative(rng, tmp_path):
    import tifffile

    deep = rng.integers(0, 65536, size=(20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "deep.tiff", deep, photometric="miniswhite")
    np.testing.assert_allclose(images.read(tmp_path / "deep.tiff").image[0, ..., 0], 1.0 - deep / 65535.0, atol=1e-6)


def test_12_bit_gray_tiff_is_scaled_by_its_own_depth(tmp_path):
    pixels = bytes([0x80, 0x0F, 0xFF])  # 0x800 and 0xFFF.
    path = write_tiff(tmp_path, pixels, width=2, height=1, bits=12)
    np.testing.assert_allclose(images.read(path).image[0, 0, :, 0], [0x800 / 0xFFF, 1.0], rtol=1e-6)


@pytest.mark.parametrize("largest", [65535, 1023, 15])
@pytest.mark.parametrize(("magic", "channels"), [(b"P5", 1), (b"P6", 3)])
def test_ppm_of_any_depth_is_scaled_by_its_largest_value(magic, channels, largest, rng, tmp_path):
    deep = rng.integers(0, largest + 1, size=(20, 30, channels)).astype(">u2" if largest > 255 else "u1")
    path = tmp_path / "deep.ppm"
    path.write_bytes(magic + b"\n30 20\n%d\n" % largest + deep.tobytes())
    np.testing.assert_allclose(images.read(path).image[0], np.broadcast_to(deep / largest, (20, 30, 3)), atol=1e-6)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short"):
        images.read(path)
