"""Decoding of picture files: pixels, orientation, modes, alpha, frames, and files that are refused."""

import zlib
from pathlib import Path

import numpy as np
import png
import pytest
from picture_files import assert_pixels, save, write_png, write_tiff
from PIL import Image

from tfstyle import images
from tfstyle.errors import InputError
from tfstyle.pictures import decoding, opening, profiles

PNGSUITE = Path("/usr/share/doc/libsixel-examples/examples/images/pngsuite")


@pytest.fixture
def pixels(rng):
    """uint8 [20, 30, 3]: never square."""
    return rng.integers(0, 256, size=(20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["p.png", "p.bmp", "p.tiff", "p.ppm", "p.webp", "p.png.jpg"])
def test_lossless_files_give_their_exact_pixels(name, pixels, tmp_path):
    if name.endswith(".jpg"):  # A PNG with a JPEG's name: the first bytes count, not the name.
        path = save(tmp_path, pixels, "p.png").rename(tmp_path / name)
    else:
        path = save(tmp_path, pixels, name, **({"lossless": True} if name.endswith("webp") else {}))
    picture = images.read(path)
    assert_pixels(picture, pixels)
    assert (picture.notes, picture.warnings, picture.alpha) == ((), (), None)


@pytest.mark.parametrize("name", ["p.jpg", "p.avif"])
def test_lossy_files_are_near_their_pixels(name, tmp_path):
    smooth = np.linspace(0, 255, 40 * 60 * 3).reshape(40, 60, 3).astype(np.uint8)
    assert_pixels(images.read(save(tmp_path, smooth, name, quality=95)), smooth, tolerance=8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["p.jpg", "p.png", "p.webp", "p.tiff"])
def test_orientation_is_what_pillow_makes_of_it(name, orientation, pixels, tmp_path):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, pixels, name, exif=exif)
    picture = images.read(path)
    with Image.open(path) as file:
        expected = np.asarray(ImageOps.exif_transpose(file))
    assert_pixels(picture, expected)
    assert picture.orientation == orientation


@pytest.mark.filterwarnings("ignore:::PIL")
def test_a_damaged_exif_block_is_ignored(pixels, tmp_path):
    path = save(tmp_path, pixels, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert_pixels(images.read(path), pixels)


def test_the_frame_that_the_caller_chose_is_used(tmp_path):
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "lime", "blue")]
    with Image.open(save(tmp_path, frames[0], "a.tiff", save_all=True, append_images=frames[1:])) as file:
        file.seek(2)
        picture = images.read(file)
    assert_pixels(picture, np.full((20, 30, 3), (0, 0, 255)))
    assert picture.warnings == ("it holds several frames; only one is used.",)


def test_of_a_heic_file_the_primary_picture_is_read(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    file = heif.HeifFile()
    for color in ("red", "lime"):
        file.add_from_pillow(Image.new("RGB", (96, 64), color))
    file.save(tmp_path / "p.heic", primary_index=1)
    picture = images.read(tmp_path / "p.heic")
    assert_pixels(picture, np.full((64, 96, 3), (0, 255, 0)), tolerance=8)
    assert "only one is used" in picture.warnings[0]


@pytest.mark.parametrize("text", [b"P1 2 1\n1 0", b"P2\n2 1\n255\n9 8", b"P3\n1 1\n255\n9 8 7"])
def test_ppm_in_the_form_of_text_is_refused(text, tmp_path):
    (tmp_path / "p.ppm").write_bytes(text)
    for read in (images.read, decoding.probe):
        with pytest.raises(InputError, match="save it in binary form"):
            read(tmp_path / "p.ppm")


def test_a_tiff_of_signed_numbers_is_refused(tmp_path):
    path = write_tiff(tmp_path, bytes(12), width=3, height=2, bits=16, tags=[(339, 3, 1, 2)])
    with pytest.raises(InputError, match="has signed or 32-bit numbers, whose range is not known; save it with 8 or"):
        images.read(path)


def test_a_png_with_a_huge_profile_is_told_so(pixels, tmp_path):
    profile = profiles.srgb_profile() + bytes(1 << 21)
    path = write_png(tmp_path, pixels, bitdepth=8, profile=profile)
    with pytest.raises(InputError, match="has a profile or text of more than 1 MB; save it without"):
        images.read(path)


def test_32_bit_tiff_is_refused(rng, tmp_path):
    path = save(tmp_path, Image.fromarray(rng.uniform(size=(20, 30)).astype("float32")), "f.tiff")
    with pytest.raises(InputError, match=r"f\.tiff: has 32 bits a channel"):
        images.read(path)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "PA"])
def test_other_modes_become_rgb_as_pillow_makes_them(mode, pixels, tmp_path):
    converted = Image.fromarray(pixels).convert(mode)
    path = save(tmp_path, converted, "p.tiff" if mode in ("CMYK", "PA", "LA") else "p.png")
    with Image.open(path) as file:
        assert file.mode == mode
        expected = np.asarray(file.convert("RGBA").convert("RGB") if mode in ("LA", "PA") else file.convert("RGB"))
    picture = images.read(path)
    assert_pixels(picture, expected)
    assert f"{mode} converted to RGB" in picture.notes


def test_lab_is_converted_by_its_meaning(tmp_path):
    path = save(tmp_path, Image.new("LAB", (30, 20), (136, 128 + 0, 128 + 0)), "lab.tiff")  # L* = 53.3: mid gray.
    assert_pixels(images.read(path), np.full((20, 30, 3), 127), tolerance=3)


@pytest.mark.parametrize(("background", "expected"), [("white", 255), ("#000000", 0), ("rgb(0, 0, 51)", (0, 0, 51))])
def test_alpha_is_composited_on_the_background(background, expected, tmp_path):
    rgba = np.zeros((20, 30, 4), np.uint8)
    rgba[..., 0], rgba[:, 15:, 3] = 200, 102  # Left transparent, right 40 % opaque red.
    picture = images.read(save(tmp_path, rgba), background=background)
    behind = np.broadcast_to(np.array(expected, float), (3,))
    np.testing.assert_allclose(picture.image[0, 0, 0] * 255, behind, atol=1e-3)
    np.testing.assert_allclose(picture.image[0, 0, 29] * 255, 0.4 * np.array([200, 0, 0]) + 0.6 * behind, atol=1e-3)
    np.testing.assert_allclose(picture.alpha[0, 0, [0, 29], 0], [0.0, 0.4], atol=1e-6)


def test_palette_and_key_color_transparency_are_seen(pixels, tmp_path):
    palette = Image.fromarray(pixels).convert("P")
    first = palette.getpixel((0, 0))
    for path in (
        save(tmp_path, palette, "palette.png", transparency=first),
        save(tmp_path, palette, "palette.gif", transparency=first),
        save(tmp_path, pixels, "key.png", transparency=tuple(int(v) for v in pixels[0, 0])),
        save(tmp_path, pixels[..., 0], "gray.png", transparency=int(pixels[0, 0, 0])),
    ):
        assert images.read(path).alpha[0, 0, 0, 0] == 0.0


def test_an_opaque_alpha_counts_as_none(pixels, tmp_path):
    assert images.read(save(tmp_path, Image.fromarray(pixels).convert("RGBA"))).alpha is None


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tiff"])
def test_of_an_animation_the_first_frame_is_read_with_a_warning(name, tmp_path):
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "lime", "blue")]
    path = save(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
    picture = images.read(path)
    assert_pixels(picture, np.full((20, 30, 3), (255, 0, 0)), tolerance=4)
    assert "several frames" in picture.warnings[0]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty"),
        (b"hello, this is text", "is not a supported image"),
        (b"%PDF-1.4\n", "is not a supported image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a supported image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a supported image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", r"is a HEIC picture; pip install 'tfstyle\[heif\]'"),
    ],
)
def test_what_is_not_a_picture_is_refused_in_one_line(content, cause, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_register_heif", lambda: False)
    path = tmp_path / "p.jpg"
    path.write_bytes(content)
    for read in (images.read, decoding.probe):
        with pytest.raises(InputError, match=cause) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        images.read(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="is a folder"):
        images.read(tmp_path)


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.webp", "p.gif", "p.tiff", "p.bmp", "p.avif"])
def test_a_file_cut_short_is_refused(name, rng, tmp_path):
    path = save(tmp_path, rng.integers(0, 256, size=(64, 96, 3), dtype=np.uint8), name)
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.7):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError) as caught:
            images.read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:::PIL")
def test_flipped_bits_never_escape_as_another_error(rng, tmp_path):
    for name in ("p.png", "p.jpg", "p.webp", "p.gif", "p.tiff"):
        path = save(tmp_path, rng.integers(0, 256, size=(24, 36, 3), dtype=np.uint8), name)
        data = path.read_bytes()
        for _ in range(40):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), size=3):
                broken[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(broken)
            try:
                picture = images.read(path)
            except InputError:
                continue
            assert np.isfinite(picture.image).all()


def test_a_file_too_large_on_disk_is_refused(tmp_path, monkeypatch, pixels):
    monkeypatch.setattr(opening, "MAX_PICTURE_BYTES", 100)
    with pytest.raises(InputError, match="MB are read"):
        images.read(save(tmp_path, pixels))


def test_a_pil_image_is_read_like_its_file(pixels, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path, pixels, exif=exif)
    with Image.open(path) as file:
        np.testing.assert_array_equal(images.read(file).image, images.read(path).image)


SUITE = sorted(PNGSUITE.rglob("*.png"))


@pytest.mark.skipif(not SUITE, reason="the Debian package libsixel-examples (PngSuite) is not installed")
@pytest.mark.parametrize("path", SUITE, ids=lambda path: path.stem)
def test_pngsuite_decodes_to_the_pixels_of_an_independent_decoder(path):
    """The chunks gAMA and cHRM are ignored; the files that are broken on purpose (x…) are refused."""
    try:
        reader = png.Reader(filename=str(path))
        reader.preamble()
        reader.sbit = None  # Significant bits are a remark on the pixels, not the pixels.
        width, height, rows, facts = reader.asRGBA()
        rows = np.array([list(row) for row in rows], float)
    except (png.Error, zlib.error):
        with pytest.raises(InputError):
            images.read(path)
        return
    peak = 2.0 ** facts["bitdepth"] - 1.0
    expected = rows.reshape(height, width, 4) / peak
    picture = images.read(path, background="black")
    alpha = np.ones((height, width, 1)) if picture.alpha is None else picture.alpha[0]
    np.testing.assert_allclose(alpha, expected[..., 3:], atol=1e-6)
    np.testing.assert_allclose(picture.image[0], expected[..., :3] * expected[..., 3:], atol=1e-6)
