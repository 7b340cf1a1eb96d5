"""Embedded color profiles, against profiles whose conversion is known."""

import numpy as np
import pytest
from picture_files import assert_pixels, linear_gray_profile, save, swapped_profile, write_png
from PIL import Image, ImageCms

from tfstyle import images
from tfstyle.pictures import profiles


@pytest.fixture
def pixels(rng):
    """uint8 [20, 30, 3]: never square."""
    return rng.integers(0, 256, size=(20, 30, 3), dtype=np.uint8)


def encoded(light):
    """sRGB's transfer function (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_profile_is_converted_to_srgb(mode, pixels, tmp_path):
    flat = np.zeros_like(pixels)
    flat[...] = (200, 120, 40)
    converted = Image.fromarray(flat).convert(mode, palette=Image.Palette.ADAPTIVE)
    path = save(tmp_path, converted, icc_profile=swapped_profile())
    picture = images.read(path)
    assert_pixels(picture, flat[..., ::-1], tolerance=3)
    assert "colors converted from" in picture.notes[-1]


def test_a_profile_called_srgb_is_converted_by_what_it_is(pixels, tmp_path):
    flat = np.zeros_like(pixels)
    flat[...] = (200, 120, 40)
    picture = images.read(save(tmp_path, flat, icc_profile=swapped_profile("sRGB")))
    assert "sRGB" in picture.profile
    assert_pixels(picture, flat[..., ::-1], tolerance=3)


def test_an_srgb_profile_of_another_name_changes_nothing(pixels, tmp_path):
    profile = profiles.srgb_profile().replace("sRGB".encode("utf-16-be"), "tset".encode("utf-16-be"))
    picture = images.read(save(tmp_path, pixels, icc_profile=profile))
    assert (picture.profile, picture.notes) == ("tset built-in", ())
    assert_pixels(picture, pixels)


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff", "deep-alpha.png", "plain.png"])
def test_gray_is_converted_from_its_profile_at_its_own_depth(name, tmp_path):
    deep = np.arange(0, 65536, 109, dtype=np.uint16)[:600].reshape(20, 30)
    if name == "deep.png":
        path = write_png(tmp_path, deep, bitdepth=16, profile=linear_gray_profile())
    elif name == "deep-alpha.png":
        both = np.stack([deep, np.full_like(deep, 65535)], axis=-1)
        path = write_png(tmp_path, both, bitdepth=16, alpha=True, profile=linear_gray_profile(), greyscale=True)
    else:
        deep = (deep // 257 * 257).astype(np.uint16) if name == "plain.png" else deep
        picture = (deep // 257).astype(np.uint8) if name == "plain.png" else deep
        path = save(tmp_path, picture, name, icc_profile=linear_gray_profile())
    picture = images.read(path)
    levels = 255 if name == "plain.png" else 65535
    expected = np.repeat(encoded(deep / 65535.0)[..., None], 3, axis=-1)
    np.testing.assert_allclose(picture.image[0], expected, atol=1.5 / levels)
    assert picture.warnings == ()
    assert any("colors converted from" in note for note in picture.notes)


def test_a_profile_on_16_bit_color_is_converted_at_8_with_a_warning(tmp_path):
    deep = np.full((20, 30, 3), (200 * 257, 120 * 257, 40 * 257), np.uint16)
    path = write_png(tmp_path, deep, bitdepth=16, profile=swapped_profile())
    picture = images.read(path)
    assert_pixels(picture, np.full((20, 30, 3), (40, 120, 200)), tolerance=3)
    assert "8 bits" in picture.warnings[0]


def test_a_transparent_color_of_16_bits_is_found_where_a_profile_is_converted(tmp_path):
    deep = np.full((20, 30, 3), (0x1234, 0x5678, 0x9ABC), np.uint16)
    deep[:, 15:] = (0xC800, 0x7800, 0x2800)
    key = (0x1234, 0x5678, 0x9ABC)
    picture = images.read(write_png(tmp_path, deep, bitdepth=16, profile=swapped_profile(), transparent=key))
    np.testing.assert_array_equal(picture.alpha[0, 0, :, 0], np.repeat([0.0, 1.0], 15))


def test_an_srgb_profile_changes_nothing(pixels, tmp_path):
    picture = images.read(save(tmp_path, pixels, icc_profile=profiles.srgb_profile()))
    assert_pixels(picture, pixels)
    assert "sRGB" in picture.profile


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 128, profiles.srgb_profile()[:200]])
def test_a_damaged_profile_is_left_out_with_a_warning(profile, pixels, tmp_path):
    picture = images.read(save(tmp_path, pixels, icc_profile=profile))
    assert_pixels(picture, pixels)
    assert "profile" in picture.warnings[0]


def test_a_profile_of_another_color_space_is_left_out_with_a_warning(pixels, tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = images.read(save(tmp_path, pixels, icc_profile=lab))
    assert_pixels(picture, pixels)
    assert "is not for RGB" in picture.warnings[0]
