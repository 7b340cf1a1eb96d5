"""Pictures reduced while they are read: means of their pixels, in every mode, orientation and format."""

import numpy as np
import pytest
from picture_files import save, write_png
from PIL import Image

from tfstyle import images
from tfstyle.pictures import decoding, pixels


def mean_by_hand(values, factor):
    """Means of squares of factor x factor pixels, fewer at the edges."""
    rows = range(0, values.shape[0], factor)
    columns = range(0, values.shape[1], factor)
    squares = [[values[y : y + factor, x : x + factor].mean(axis=(0, 1)) for x in columns] for y in rows]
    return np.array(squares)


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_reducing_takes_means(factor, rng):
    values = rng.uniform(size=(13, 20, 3)).astype("float32")
    means, alpha = pixels.reduce((values, None), factor)
    np.testing.assert_allclose(means, mean_by_hand(values, factor), rtol=1e-5)
    assert alpha is None


def test_reducing_weighs_colors_by_their_alpha():
    color = np.array([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]] * 2], "float32")
    alpha = np.array([[[1.0], [0.5]], [[0.0], [0.0]]], "float32")
    means, opacity = pixels.reduce((color, alpha), 2)
    np.testing.assert_allclose(opacity[0, 0], [1.5 / 4])
    np.testing.assert_allclose(means[0, 0], [2 / 3, 0.0, 1 / 3], rtol=1e-6)


@pytest.mark.parametrize(("long_side", "factor"), [(0, 1), (1000, 1), (100, 1), (51, 1), (50, 2), (25, 4), (14, 7)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "16"])
def test_a_picture_stays_twice_as_long_as_needed(mode, long_side, factor, rng, tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "_BAND", 2000)  # Several bands.
    values = rng.integers(0, 256, size=(131, 200, 3), dtype=np.uint8)
    if mode == "16":
        path = write_png(tmp_path, values.astype("uint16") * 257, bitdepth=16)
    else:
        path = save(tmp_path, Image.fromarray(values).convert(mode))
    whole, picture = images.read(path), images.read(path, long_side=long_side)
    np.testing.assert_allclose(picture.image[0], mean_by_hand(whole.image[0], factor), atol=1e-6)
    assert picture.full_size == (131, 200)
    height, width = picture.image.shape[1:3]
    note = f"reduced to {width}x{height} while it was read"
    assert picture.notes == whole.notes + ((note,) if factor > 1 else ())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["p.png", "p.tiff", "p.jpg"])
def test_a_reduced_picture_is_upright(name, orientation, tmp_path):
    smooth = np.linspace(0, 255, 96 * 160 * 3).reshape(96, 160, 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, smooth, name, exif=exif)
    whole, picture = images.read(path), images.read(path, long_side=20)
    assert picture.full_size == whole.full_size == whole.image.shape[1:3]
    np.testing.assert_allclose(picture.image[0], mean_by_hand(whole.image[0], 4), atol=0.02)


def test_a_jpeg_is_reduced_by_its_decoder_and_the_rest_after_it(tmp_path, monkeypatch):
    smooth = np.linspace(0, 255, 416 * 640 * 3).reshape(416, 640, 3).astype(np.uint8)
    path = save(tmp_path, smooth, "p.jpg", quality=95)
    sizes = []
    convert = decoding.convert
    monkeypatch.setattr(decoding, "convert", lambda found, **rest: sizes.append(found.size) or convert(found, **rest))
    for long_side, decoded, expected in ((80, (160, 104), (104, 160)), (10, (80, 52), (13, 20))):
        picture = images.read(path, long_side=long_side)
        assert sizes.pop() == decoded
        assert picture.image.shape[1:3] == expected
        assert abs(picture.image.mean() - smooth.mean() / 255) < 0.01


def test_a_pil_image_is_reduced_and_left_as_it_was(tmp_path):
    path = save(tmp_path, np.full((64, 96, 3), 77, np.uint8), "p.jpg")
    with Image.open(path) as file:
        assert images.read(file, long_side=12).image.shape == (1, 16, 24, 3)
        assert file.size == (96, 64)


def test_16_bits_of_a_pil_image_are_kept(rng, tmp_path):
    deep = rng.integers(0, 65536, size=(20, 30, 3), dtype=np.uint16)
    with Image.open(write_png(tmp_path, deep, bitdepth=16)) as file:
        np.testing.assert_allclose(images.read(file).image[0], deep / 65535.0, rtol=1e-6)
