"""Arrays read as pictures, resizing, and image files written."""

import os
import stat

import numpy as np
import pytest
import tensorflow as tf
from conftest import image
from PIL import Image, ImageCms

from tfstyle import images
from tfstyle.errors import InputError, OutputError, UsageError


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 8), (5, 8, 1), (5, 8, 3), (1, 5, 8, 3)])
def test_arrays_are_read_by_their_type(dtype, shape, rng):
    values = rng.uniform(size=shape)
    array = values.astype(dtype) if dtype.startswith("f") else (values * np.iinfo(dtype).max).round().astype(dtype)
    expected = values.reshape(5, 8, -1) * np.ones(3)
    for source in (array, tf.constant(array)):
        picture = images.read(source)
        assert picture.image.dtype == np.float32
        assert picture.image.shape == (1, 5, 8, 3)
        np.testing.assert_allclose(picture.image[0], expected, atol=3e-3 if dtype == "uint8" else 1e-5)


def test_a_fourth_channel_is_alpha(rng):
    array = rng.uniform(size=(5, 8, 4)).astype("float32")
    picture = images.read(array, background="black")
    np.testing.assert_allclose(picture.image[0], array[..., :3] * array[..., 3:], rtol=1e-6)
    np.testing.assert_array_equal(picture.alpha[0], array[..., 3:])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 8, 2), "uint8"), r"received shape \(5, 8, 2\)"),
        (np.zeros((2, 5, 8, 3), "uint8"), r"received shape \(2, 5, 8, 3\)"),
        (np.zeros((0, 8, 3), "uint8"), "received shape"),
        (np.full((5, 8, 3), 255.0), "received 255 to 255"),
        (np.full((5, 8, 3), np.nan), "received nan to nan"),
        (np.zeros((5, 8, 3), "int64"), "received int64"),
    ],
)
def test_an_array_of_another_kind_is_refused(array, message):
    with pytest.raises(InputError, match=message):
        images.read(array)


def test_a_list_is_an_array_and_a_picture_is_returned_unchanged():
    picture = images.read([[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]])
    np.testing.assert_array_equal(picture.image[0, :, :, 1], [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]])
    assert picture.full_size == (2, 3)
    assert images.read(picture, background="black") is picture


@pytest.mark.parametrize("source", [[[0.0], [0.0, 1.0]], None, {}, object()])
def test_anything_else_is_refused_in_one_line(source):
    with pytest.raises(InputError, match=r"^(a picture|an image array) should be ") as caught:
        images.read(source)
    assert "\n" not in str(caught.value)


def test_reading_leaves_an_array_as_it_was(rng):
    array = rng.uniform(size=(5, 8, 4)).astype("float32")
    before = array.copy()
    images.read(array)
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("color", [None, 7, ""])
def test_a_background_that_is_no_color_is_refused(color):
    with pytest.raises(UsageError, match="`background` should be a color"):
        images.read(np.zeros((5, 8, 3), "uint8"), background=color)


def test_a_negative_length_is_refused():
    with pytest.raises(UsageError, match="`long_side` should be at least 0, not -1"):
        images.read(np.zeros((5, 8, 3), "uint8"), long_side=-1)


def test_an_unknown_color_is_refused():
    with pytest.raises(ValueError, match="`background` should be a color"):
        images.read(np.zeros((5, 8, 3), "uint8"), background="blanc")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("gray", (128, 128, 128)), ("grey", (128, 128, 128)), ("#f80", (255, 136, 0)), ("rgb(0, 20, 80)", (0, 20, 80))],
)
def test_css_colors_are_parsed_in_both_spellings(text, expected):
    assert images.parse_color(text) == expected


@pytest.mark.parametrize("size", [(11, 16), (23, 31), (64, 96), (33, 20)])
def test_resizing_is_pillows_bicubic(size, rng):
    picture = image(rng, 33, 47)
    channels = [
        np.asarray(Image.fromarray(picture[0, ..., c]).resize(size[::-1], Image.Resampling.BICUBIC)) for c in range(3)
    ]
    expected = np.clip(np.stack(channels, axis=-1), 0, 1)
    np.testing.assert_allclose(images.resize(picture, *size)[0], expected, atol=2e-3)


def test_fitting_keeps_the_shape_and_sets_the_long_side(rng):
    assert images.fit(image(rng, 33, 47), 94).shape == (1, 66, 94, 3)
    assert images.fit(image(rng, 48, 30), 24).shape == (1, 24, 15, 3)


def test_resizing_to_the_same_size_changes_nothing(rng):
    picture = image(rng)
    np.testing.assert_array_equal(images.resize(picture, 33, 47), picture)


@pytest.mark.parametrize(
    ("size", "long_side", "expected"),
    [
        ((683, 1024), 512, (342, 512)),
        ((1024, 359), 512, (512, 180)),
        ((20, 4000), 512, (3, 512)),
        ((1, 900), 16, (1, 16)),
    ],
)
def test_a_fitted_size_keeps_the_shape(size, long_side, expected):
    assert images.fit_size(*size, long_side) == expected


@pytest.mark.parametrize("name", ["p.png", "p.tiff", "p.webp", "p.jpg", "p.JPEG", "p.avif"])
def test_what_is_written_is_read_again(name, tmp_path):
    smooth = np.linspace(0, 1, 40 * 60 * 3).reshape(1, 40, 60, 3).astype("float32")
    path = images.write(smooth, tmp_path / name)
    lossless = name in ("p.png", "p.tiff")
    np.testing.assert_allclose(images.read(path).image, smooth, atol=0.5001 / 255 if lossless else 0.04)


def test_values_are_rounded_and_cut_off_not_truncated_or_wrapped(tmp_path):
    values = np.array([[[[0.4999 / 255] * 3, [0.5001 / 255] * 3, [1.2] * 3, [-0.3] * 3, [254.6 / 255] * 3]]], "float32")
    images.write(values, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as file:
        assert np.asarray(file)[0, :, 0].tolist() == [0, 1, 255, 0, 255]


@pytest.mark.parametrize("name", ["p.png", "p.tiff", "p.webp", "p.avif"])
def test_alpha_is_carried_to_the_file(name, rng, tmp_path):
    alpha = np.zeros((1, 33, 47, 1), "float32")
    alpha[:, :, 20:] = 1.0
    path = images.write(image(rng), tmp_path / name, alpha=alpha)
    np.testing.assert_allclose(images.read(path).alpha, alpha, atol=0.1)


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.tiff", "p.webp", "p.avif"])
def test_a_file_carries_an_srgb_profile_and_no_metadata_of_the_content_image(name, rng, tmp_path):
    path = images.write(image(rng), tmp_path / name)
    with Image.open(path) as file:
        assert "sRGB" in ImageCms.getProfileDescription(ImageCms.getOpenProfile(_profile(file, tmp_path)))
        assert not set(dict(file.getexif())) & {0x010F, 0x0112, 0x8825, 0x9003}  # Maker, orientation, place, time.
        assert file.info.get("comment") is None


def _profile(file, folder):
    (folder / "p.icc").write_bytes(file.info["icc_profile"])
    return str(folder / "p.icc")


def test_jpeg_keeps_full_color_resolution(tmp_path, rng):
    images.write(image(rng), tmp_path / "p.jpg")
    with Image.open(tmp_path / "p.jpg") as file:
        assert {layer[1:3] for layer in file.layer} == {(1, 1)}


def test_quality_changes_the_size(rng, tmp_path):
    sizes = [images.write(image(rng), tmp_path / f"{q}.jpg", quality=q).stat().st_size for q in (30, 95)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("quality", [0, 101, -5, 99.5, "95", None])
def test_a_quality_that_no_format_knows_is_refused(quality, rng, tmp_path):
    with pytest.raises(UsageError, match="`quality` should be from 1 to 100, a whole number, not"):
        images.write(image(rng), tmp_path / "p.jpg", quality=quality)
    assert not list(tmp_path.iterdir())


def test_a_picture_is_written_as_it_was_read(rng, tmp_path):
    first = images.write(image(rng), tmp_path / "a.png")
    second = images.write(images.read(first), tmp_path / "b.png", quality=np.int64(80))
    assert first.read_bytes() == second.read_bytes()


def test_a_tensor_of_another_library_is_refused():
    class Kind:
        def __repr__(self):
            return "torch.float16"

    class Tensor:
        shape, dtype = (1, 5, 8, 3), Kind()

    with pytest.raises(UsageError, match=r"`content` should be float32 .* received torch\.float16 \[1, 5, 8, 3\]"):
        images.as_image(Tensor(), "content")
    for given in (np.zeros((1, 5, 8, 3), "float32"), tf.zeros((1, 5, 8, 3))):
        assert images.as_image(given, "content").shape == (1, 5, 8, 3)
    with pytest.raises(UsageError, match=r"received float64 \[1, 5, 8, 3\]"):
        images.as_image(np.zeros((1, 5, 8, 3)), "content")


def test_nothing_is_overwritten_unasked(rng, tmp_path):
    path = tmp_path / "p.png"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists; choose another name"):
        images.write(image(rng), path)
    assert path.read_bytes() == b"precious"
    images.write(image(rng), path, overwrite=True)
    assert images.read(path).image.shape == (1, 33, 47, 3)


def test_a_written_file_has_the_usual_permissions(rng, tmp_path):
    before = os.umask(0o027)
    try:
        path = images.write(image(rng), tmp_path / "p.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("p.gif", {}, r"cannot be written as '.gif'; use .png"),
        ("p", {}, "cannot be written as 'a file without ending'"),
        ("none/p.png", {}, "there is no folder"),
        ("folder.png", {}, "is a folder"),
        ("p.jpg", {"alpha": True}, "JPEG holds no alpha"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_early(name, options, message, tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=message):
        images.check_output(tmp_path / name, **options)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="not writable"):
        images.check_output(tmp_path / "p.png")


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(InputError, match="should be finite"):
        images.write(np.full((1, 3, 5, 3), np.nan), tmp_path / "p.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("shape", "dtype", "alpha", "message"),
    [
        ((2, 5, 8, 3), "float32", None, r"\[height, width, 3\]; received \[2, 5, 8, 3\]"),
        ((5, 8), "float32", None, r"received \[5, 8\]"),
        ((1, 5, 8, 1), "float32", None, r"received \[1, 5, 8, 1\]"),
        ((3, 5, 8), "float32", None, r"received \[3, 5, 8\]"),
        ((1, 0, 8, 3), "float32", None, r"received \[1, 0, 8, 3\]"),
        ((1, 5, 8, 3), "uint8", None, r"floats in \[0, 1\]; received uint8"),
        ((1, 5, 8, 3), "float32", (1, 8, 5, 1), "should have one size; received 8x5 and 5x8"),
        ((1, 5, 8, 3), "float32", (5, 8), r"its alpha should have the shape .*; received \[5, 8\]"),
    ],
)
@pytest.mark.parametrize("write", [images.write, images.write_result])
def test_only_a_single_image_of_floats_is_written(write, shape, dtype, alpha, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        write(np.zeros(shape, dtype), tmp_path / "p.png", alpha=None if alpha is None else np.zeros(alpha, "float32"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_an_image_is_written_with_or_without_a_batch_axis(dtype, rng, tmp_path):
    picture = tf.cast(image(rng, 9, 14), dtype)
    one, other = (images.write(given, tmp_path / f"{n}.png") for n, given in enumerate((picture, picture[0])))
    assert one.read_bytes() == other.read_bytes()
    np.testing.assert_allclose(images.read(one).image, tf.cast(picture, "float32"), atol=0.51 / 255)


def test_a_result_whose_format_cannot_hold_it_is_saved_as_png(rng, tmp_path):
    strip = np.tile(image(rng, 2, 100), (1, 1, 170, 1))
    with pytest.raises(
        OutputError, match=r"out\.webp: 17000x2 pixels cannot be written as WEBP.*; saved as .*out\.png\.$"
    ):
        images.write_result(strip, tmp_path / "out.webp")
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    np.testing.assert_allclose(images.read(tmp_path / "out.png").image, strip, atol=0.51 / 255)


def test_the_pictures_of_a_folder_are_found_in_order_of_name(rng, tmp_path, caplog):
    for name, size in (("b", (20, 30)), ("a", (40, 25))):
        images.write(image(rng, *size), tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "inner").mkdir()
    assert list(images.find_pictures(tmp_path)) == [(tmp_path / "a.png", (25, 40)), (tmp_path / "b.png", (30, 20))]
    assert caplog.text.count("passed over") == 1
    assert f"{tmp_path / 'notes.txt'}: is not a picture." in caplog.text
    with pytest.raises(InputError, match="is not a folder that can be read"):
        list(images.find_pictures(tmp_path / "none"))


@pytest.mark.parametrize(
    ("size", "reduced"),
    [((300, 600), (128, 256)), ((1000, 100), (480, 48)), ((60, 40), (60, 40)), ((20, 300), (20, 300))],
)
def test_an_image_is_reduced_but_not_below_a_short_side(size, reduced, rng):
    picture = tf.constant(rng.uniform(size=(1, *size, 3)), tf.float32)
    assert images.reduce(picture, 256, short_side=48).shape[1:3] == reduced
