"""The contract of reading a picture, row by row, each with a file made here."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import png
import pytest
from PIL import Image, ImageCms

from tfstyle import images
from tfstyle.errors import InputError
from tfstyle.pictures import decoding, opening

PNGSUITE = Path("/usr/share/doc/libsixel-examples/examples/images/pngsuite")


@pytest.fixture
def pixels(rng):
    """uint8 [20, 30, 3]: never square."""
    return rng.integers(0, 256, size=(20, 30, 3), dtype=np.uint8)


def saved(tmp_path, picture, name="p.png", **options):
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(tmp_path / name, **options)
    return tmp_path / name


def assert_pixels(picture, expected, tolerance=0.0):
    """`expected` in 0-255."""
    assert picture.image.dtype == np.float32
    assert picture.image.shape == (1, *expected.shape)
    np.testing.assert_allclose(picture.image[0] * 255.0, expected, atol=tolerance + 1e-4)


@pytest.mark.parametrize("name", ["p.png", "p.bmp", "p.tiff", "p.ppm", "p.webp", "p.png.jpg"])
def test_lossless_files_give_their_exact_pixels(name, pixels, tmp_path):
    if name.endswith(".jpg"):  # A PNG with a JPEG's name: the first bytes count, not the name.
        path = saved(tmp_path, pixels, "p.png").rename(tmp_path / name)
    else:
        path = saved(tmp_path, pixels, name, **({"lossless": True} if name.endswith("webp") else {}))
    picture = images.read(path)
    assert_pixels(picture, pixels)
    assert (picture.notes, picture.warnings, picture.alpha) == ((), (), None)


@pytest.mark.parametrize("name", ["p.jpg", "p.avif"])
def test_lossy_files_are_near_their_pixels(name, tmp_path):
    smooth = np.linspace(0, 255, 40 * 60 * 3).reshape(40, 60, 3).astype(np.uint8)
    assert_pixels(images.read(saved(tmp_path, smooth, name, quality=95)), smooth, tolerance=8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["p.jpg", "p.png", "p.webp", "p.tiff"])
def test_orientation_is_what_pillow_makes_of_it(name, orientation, pixels, tmp_path):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, pixels, name, exif=exif)
    picture = images.read(path)
    with Image.open(path) as file:
        expected = np.asarray(ImageOps.exif_transpose(file))
    assert_pixels(picture, expected)
    assert picture.orientation == orientation


@pytest.mark.filterwarnings("ignore:::PIL")
def test_a_damaged_exif_block_is_ignored(pixels, tmp_path):
    path = saved(tmp_path, pixels, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert_pixels(images.read(path), pixels)


def swapped_profile(name="tset"):
    """An sRGB profile whose red and blue primaries are exchanged, so that conversion exchanges the channels."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        data[132 + 12 * i : 136 + 12 * i].decode(): 132 + 12 * i for i in range(struct.unpack(">I", data[128:132])[0])
    }
    red, blue = (bytes(data[tags[name] + 4 : tags[name] + 12]) for name in ("rXYZ", "bXYZ"))
    data[tags["rXYZ"] + 4 : tags["rXYZ"] + 12], data[tags["bXYZ"] + 4 : tags["bXYZ"] + 12] = blue, red
    return bytes(data.replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be")))


def linear_grey_profile():
    """A profile of grey whose values are linear in light: an sRGB profile with its space and red curve changed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    place = data.index(b"rTRC")
    data[place : place + 12] = b"kTRC" + struct.pack(">II", len(data), 12)
    data[16:20] = b"GRAY"
    data += b"curv" + bytes(8)  # A curve of no entries is the identity (ICC.1:2022, 10.6).
    data[:4] = struct.pack(">I", len(data))
    return bytes(data)


def encoded(light):
    """sRGB's transfer function (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_profile_is_converted_to_srgb(mode, pixels, tmp_path):
    flat = np.zeros_like(pixels)
    flat[...] = (200, 120, 40)
    converted = Image.fromarray(flat).convert(mode, palette=Image.Palette.ADAPTIVE)
    path = saved(tmp_path, converted, icc_profile=swapped_profile())
    picture = images.read(path)
    assert_pixels(picture, flat[..., ::-1], tolerance=3)
    assert "colours converted from" in picture.notes[-1]


def test_a_profile_called_srgb_is_converted_by_what_it_is(pixels, tmp_path):
    flat = np.zeros_like(pixels)
    flat[...] = (200, 120, 40)
    picture = images.read(saved(tmp_path, flat, icc_profile=swapped_profile("sRGB")))
    assert "sRGB" in picture.profile
    assert_pixels(picture, flat[..., ::-1], tolerance=3)


def test_an_srgb_profile_of_another_name_changes_nothing(pixels, tmp_path):
    profile = images.srgb_profile().replace("sRGB".encode("utf-16-be"), "tset".encode("utf-16-be"))
    picture = images.read(saved(tmp_path, pixels, icc_profile=profile))
    assert (picture.profile, picture.notes) == ("tset built-in", ())
    assert_pixels(picture, pixels)


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff", "deep-alpha.png", "plain.png"])
def test_grey_is_converted_from_its_profile_at_its_own_depth(name, tmp_path):
    deep = np.arange(0, 65536, 109, dtype=np.uint16)[:600].reshape(20, 30)
    if name == "deep.png":
        path = write_png(tmp_path, deep, bitdepth=16, profile=linear_grey_profile())
    elif name == "deep-alpha.png":
        both = np.stack([deep, np.full_like(deep, 65535)], axis=-1)
        path = write_png(tmp_path, both, bitdepth=16, alpha=True, profile=linear_grey_profile(), greyscale=True)
    else:
        deep = (deep // 257 * 257).astype(np.uint16) if name == "plain.png" else deep
        picture = (deep // 257).astype(np.uint8) if name == "plain.png" else deep
        path = saved(tmp_path, picture, name, icc_profile=linear_grey_profile())
    picture = images.read(path)
    levels = 255 if name == "plain.png" else 65535
    expected = np.repeat(encoded(deep / 65535.0)[..., None], 3, axis=-1)
    np.testing.assert_allclose(picture.image[0], expected, atol=1.5 / levels)
    assert picture.warnings == ()
    assert any("colours converted from" in note for note in picture.notes)


def test_a_profile_on_16_bit_colour_is_converted_at_8_with_a_warning(tmp_path):
    deep = np.full((20, 30, 3), (200 * 257, 120 * 257, 40 * 257), np.uint16)
    path = write_png(tmp_path, deep, bitdepth=16, profile=swapped_profile())
    picture = images.read(path)
    assert_pixels(picture, np.full((20, 30, 3), (40, 120, 200)), tolerance=3)
    assert "8 bits" in picture.warnings[0]


def test_a_transparent_colour_of_16_bits_is_found_where_a_profile_is_converted(tmp_path):
    deep = np.full((20, 30, 3), (0x1234, 0x5678, 0x9ABC), np.uint16)
    deep[:, 15:] = (0xC800, 0x7800, 0x2800)
    key = (0x1234, 0x5678, 0x9ABC)
    picture = images.read(write_png(tmp_path, deep, bitdepth=16, profile=swapped_profile(), transparent=key))
    np.testing.assert_array_equal(picture.alpha[0, 0, :, 0], np.repeat([0.0, 1.0], 15))


def test_the_frame_that_the_caller_chose_is_used(tmp_path):
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "lime", "blue")]
    with Image.open(saved(tmp_path, frames[0], "a.tiff", save_all=True, append_images=frames[1:])) as file:
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


def test_an_srgb_profile_changes_nothing(pixels, tmp_path):
    picture = images.read(saved(tmp_path, pixels, icc_profile=images.srgb_profile()))
    assert_pixels(picture, pixels)
    assert "sRGB" in picture.profile


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 128, images.srgb_profile()[:200]])
def test_a_damaged_profile_is_left_out_with_a_warning(profile, pixels, tmp_path):
    picture = images.read(saved(tmp_path, pixels, icc_profile=profile))
    assert_pixels(picture, pixels)
    assert "profile" in picture.warnings[0]


def test_a_profile_of_another_colour_space_is_left_out_with_a_warning(pixels, tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = images.read(saved(tmp_path, pixels, icc_profile=lab))
    assert_pixels(picture, pixels)
    assert "is not for RGB" in picture.warnings[0]


def write_png(folder, pixels, *, bitdepth, alpha=False, profile=None, **options):
    """A PNG of any depth, by an independent library."""
    height, width = pixels.shape[:2]
    options = {"greyscale": pixels.ndim == 2} | options
    writer = png.Writer(width, height, alpha=alpha, bitdepth=bitdepth, **options)
    stream = io.BytesIO()
    writer.write(stream, pixels.reshape(height, -1).tolist())
    data = stream.getvalue()
    if profile:
        body = b"iCCP" + b"p\0\0" + zlib.compress(profile)
        data = data[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
    (folder / "deep.png").write_bytes(data)
    return folder / "deep.png"


def write_tiff(folder, pixels, *, width, height, bits=8, tags=()):
    """A TIFF of one strip of grey; `tags` (number, kind, count, value) are added or replace others."""
    entries = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, bits), 259: (3, 1, 1), 262: (3, 1, 1)}
    entries |= {273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, len(pixels))}
    entries |= {number: rest for number, *rest in tags}
    data = b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(entries))
    data += b"".join(struct.pack("<HHII", number, *entries[number]) for number in sorted(entries)) + bytes(4)
    (folder / "own.tiff").write_bytes(data)
    return folder / "own.tiff"


def test_16_bit_grey_is_scaled_not_clipped(rng, tmp_path):
    deep = rng.integers(0, 65536, size=(20, 30), dtype=np.uint16)
    for path in (write_png(tmp_path, deep, bitdepth=16), saved(tmp_path, deep, "deep.tiff")):
        picture = images.read(path)
        np.testing.assert_allclose(picture.image[0], np.repeat(deep[..., None] / 65535.0, 3, -1), rtol=1e-6)
        assert "16 bits a channel kept" in picture.notes


def test_16_bit_colour_png_keeps_its_depth(rng, tmp_path):
    deep = rng.integers(0, 65536, size=(20, 30, 3), dtype=np.uint16)
    picture = images.read(write_png(tmp_path, deep, bitdepth=16))
    np.testing.assert_allclose(picture.image[0], deep / 65535.0, rtol=1e-6)


def test_16_bit_colour_png_keeps_its_alpha(rng, tmp_path):
    deep = rng.integers(0, 65536, size=(20, 30, 4), dtype=np.uint16)
    picture = images.read(write_png(tmp_path, deep, bitdepth=16, alpha=True), background="black")
    values = deep / 65535.0
    np.testing.assert_allclose(picture.alpha[0], values[..., 3:], rtol=1e-6)
    np.testing.assert_allclose(picture.image[0], values[..., :3] * values[..., 3:], rtol=1e-5, atol=1e-7)


def test_16_bit_colour_needs_no_tensorflow(tmp_path):
    path = write_png(tmp_path, np.full((20, 30, 3), 12345, np.uint16), bitdepth=16)
    program = "import sys; from tfstyle import images; images.read(sys.argv[1]); assert 'tensorflow' not in sys.modules"
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(Path(images.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=True)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_tiff_keeps_its_depth(order, channels, rng, tmp_path):
    import tifffile

    deep = rng.integers(0, 65536, size=(20, 30, channels), dtype=np.uint16)
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(tmp_path / "deep.tiff", deep, photometric="rgb", byteorder=order, rowsperstrip=7, **extra)
    picture = images.read(tmp_path / "deep.tiff", background="black")
    alpha = deep[..., 3:] / 65535.0 if channels == 4 else 1.0
    np.testing.assert_allclose(picture.image[0], deep[..., :3] / 65535.0 * alpha, rtol=1e-5, atol=1e-7)
    assert picture.warnings == ()


def write_planes(folder, deep, *, compression):
    """A 16-bit colour TIFF of three separate planes [3, height, width]."""
    planes = [plane.astype("<u2").tobytes() for plane in deep]
    planes = [zlib.compress(plane) for plane in planes] if compression == 8 else planes
    extra = struct.pack("<3H2x3I3I", 16, 16, 16, *np.cumsum([92, *map(len, planes[:2])]), *map(len, planes))
    tags = [(258, 3, 3, 60), (259, 3, 1, compression), (262, 3, 1, 2), (273, 4, 3, 68), (277, 3, 1, 3)]
    tags += [(279, 4, 3, 80), (284, 3, 1, 2)]
    height, width = deep.shape[1:]
    path = write_tiff(folder, bytes(52) + extra + b"".join(planes), width=width, height=height, tags=tags)
    return path


def test_16_bit_colour_tiff_in_separate_planes_is_read_at_8_with_a_warning_or_refused(rng, tmp_path):
    deep = rng.integers(0, 65536, size=(3, 20, 30), dtype=np.uint16)
    picture = images.read(write_planes(tmp_path, deep, compression=8))
    assert_pixels(picture, deep.transpose(1, 2, 0) / 257.0, tolerance=1.01)
    assert "8 bits" in picture.warnings[0]
    with pytest.raises(InputError, match="separate planes; save it interleaved"):  # Pillow reads other pixels.
        images.read(write_planes(tmp_path, deep, compression=1))


def test_16_bit_grey_tiff_in_which_0_is_white_is_not_a_negative(rng, tmp_path):
    import tifffile

    deep = rng.integers(0, 65536, size=(20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "deep.tiff", deep, photometric="miniswhite")
    np.testing.assert_allclose(images.read(tmp_path / "deep.tiff").image[0, ..., 0], 1.0 - deep / 65535.0, atol=1e-6)


def test_12_bit_grey_tiff_is_scaled_by_its_own_depth(tmp_path):
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
    profile = images.srgb_profile() + bytes(1 << 21)
    path = write_png(tmp_path, pixels, bitdepth=8, profile=profile)
    with pytest.raises(InputError, match="has a profile or text of more than 1 MB; save it without"):
        images.read(path)


def test_32_bit_tiff_is_refused(rng, tmp_path):
    path = saved(tmp_path, Image.fromarray(rng.uniform(size=(20, 30)).astype("float32")), "f.tiff")
    with pytest.raises(InputError, match=r"f\.tiff: has 32 bits a channel"):
        images.read(path)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "PA"])
def test_other_modes_become_rgb_as_pillow_makes_them(mode, pixels, tmp_path):
    converted = Image.fromarray(pixels).convert(mode)
    path = saved(tmp_path, converted, "p.tiff" if mode in ("CMYK", "PA", "LA") else "p.png")
    with Image.open(path) as file:
        assert file.mode == mode
        expected = np.asarray(file.convert("RGBA").convert("RGB") if mode in ("LA", "PA") else file.convert("RGB"))
    picture = images.read(path)
    assert_pixels(picture, expected)
    assert f"{mode} converted to RGB" in picture.notes


def test_lab_is_converted_by_its_meaning(tmp_path):
    path = saved(tmp_path, Image.new("LAB", (30, 20), (136, 128 + 0, 128 + 0)), "lab.tiff")  # L* = 53.3: mid grey.
    assert_pixels(images.read(path), np.full((20, 30, 3), 127), tolerance=3)


@pytest.mark.parametrize(("background", "expected"), [("white", 255), ("#000000", 0), ("rgb(0, 0, 51)", (0, 0, 51))])
def test_alpha_is_composited_on_the_background(background, expected, tmp_path):
    rgba = np.zeros((20, 30, 4), np.uint8)
    rgba[..., 0], rgba[:, 15:, 3] = 200, 102  # Left transparent, right 40 % opaque red.
    picture = images.read(saved(tmp_path, rgba), background=background)
    behind = np.broadcast_to(np.array(expected, float), (3,))
    np.testing.assert_allclose(picture.image[0, 0, 0] * 255, behind, atol=1e-3)
    np.testing.assert_allclose(picture.image[0, 0, 29] * 255, 0.4 * np.array([200, 0, 0]) + 0.6 * behind, atol=1e-3)
    np.testing.assert_allclose(picture.alpha[0, 0, [0, 29], 0], [0.0, 0.4], atol=1e-6)


def test_palette_and_key_colour_transparency_are_seen(pixels, tmp_path):
    palette = Image.fromarray(pixels).convert("P")
    first = palette.getpixel((0, 0))
    for path in (
        saved(tmp_path, palette, "palette.png", transparency=first),
        saved(tmp_path, palette, "palette.gif", transparency=first),
        saved(tmp_path, pixels, "key.png", transparency=tuple(int(v) for v in pixels[0, 0])),
        saved(tmp_path, pixels[..., 0], "grey.png", transparency=int(pixels[0, 0, 0])),
    ):
        assert images.read(path).alpha[0, 0, 0, 0] == 0.0


def test_an_opaque_alpha_counts_as_none(pixels, tmp_path):
    assert images.read(saved(tmp_path, Image.fromarray(pixels).convert("RGBA"))).alpha is None


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tiff"])
def test_of_an_animation_the_first_frame_is_read_with_a_warning(name, tmp_path):
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "lime", "blue")]
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
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
    path = saved(tmp_path, rng.integers(0, 256, size=(64, 96, 3), dtype=np.uint8), name)
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.7):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError) as caught:
            images.read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:::PIL")
def test_flipped_bits_never_escape_as_another_error(rng, tmp_path):
    for name in ("p.png", "p.jpg", "p.webp", "p.gif", "p.tiff"):
        path = saved(tmp_path, rng.integers(0, 256, size=(24, 36, 3), dtype=np.uint8), name)
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


def bomb(width, height):
    """A tiny PNG whose header says it is huge."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(9000, 7000), (12000, 9000), (50000, 50000)])
def test_a_decompression_bomb_is_refused(size, tmp_path):
    (tmp_path / "bomb.png").write_bytes(bomb(*size))
    for read in (images.read, decoding.probe):
        with pytest.raises(InputError, match="pixels"):
            read(tmp_path / "bomb.png")


def test_a_file_too_large_on_disk_is_refused(tmp_path, monkeypatch, pixels):
    monkeypatch.setattr(opening, "MAX_PICTURE_BYTES", 100)
    with pytest.raises(InputError, match="MB are read"):
        images.read(saved(tmp_path, pixels))


def test_a_pil_image_is_read_like_its_file(pixels, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, pixels, exif=exif)
    with Image.open(path) as file:
        np.testing.assert_array_equal(images.read(file).image, images.read(path).image)


SUITE = sorted(PNGSUITE.rglob("*.png"))


@pytest.mark.skipif(not SUITE, reason="the Debian package libsixel-examples (PngSuite) is not installed")
@pytest.mark.parametrize("path", SUITE, ids=lambda path: path.stem)
def test_pngsuite_decodes_to_the_pixels_of_an_independent_decoder(path):
    """gAMA and cHRM are ignored; a file that is broken on purpose (x…) is refused."""
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
