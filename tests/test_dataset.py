"""Random crops: the same for the same index, from every picture in turn, and skipped files are named."""

import time
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf
from conftest import image
from PIL import Image

from tfstyle import images
from tfstyle.errors import InputError
from tfstyle.training import dataset


@pytest.fixture
def folder(rng, tmp_path):
    """Five pictures of different greys, none of them square."""
    place = tmp_path / "photos"
    place.mkdir()
    for number in range(5):
        images.write(np.full((1, 40 + number, 70 - number, 3), number / 5), place / f"{number}.png")
    return place


def greys(pieces):
    return [round(float(piece.mean()) * 5) for piece in pieces]


def test_every_picture_is_used_once_a_round_in_an_order_that_differs(folder):
    crops = dataset.RandomCrops(dataset.list_pictures(folder, crop=32), size=32, seed=1)
    rounds = [greys(crops(item) for item in range(5 * number, 5 * number + 5)) for number in range(4)]
    assert all(sorted(found) == [0, 1, 2, 3, 4] for found in rounds)
    assert len({tuple(found) for found in rounds}) > 1


def test_a_crop_is_a_function_of_seed_and_index(rng, tmp_path):
    for number in range(3):
        images.write(image(rng, 60, 90 + number), tmp_path / f"{number}.png")
    paths = dataset.list_pictures(tmp_path, crop=24)
    first, second = (dataset.RandomCrops(paths, size=24, seed=4) for _ in range(2))
    for item in (7, 2, 7, 10**12):
        assert first(item).shape == (24, 24, 3)
        assert first(item).dtype == np.float32
        np.testing.assert_array_equal(first(item), second(item))
    assert np.abs(first(2) - dataset.RandomCrops(paths, size=24, seed=5)(2)).max() > 0
    assert np.abs(first(2) - first(2 + 3 * 40)).max() > 0


def test_batches_begin_at_any_step(folder):
    crops = dataset.RandomCrops(dataset.list_pictures(folder, crop=32), size=32, seed=3)
    whole = [batch.numpy() for batch in dataset.make_batches(crops, size=32, batch=2).take(6)]
    late = [batch.numpy() for batch in dataset.make_batches(crops, size=32, batch=2, start=4).take(2)]
    assert whole[0].shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(whole[4:], late)
    np.testing.assert_array_equal(whole[1], [crops(2), crops(3)])


def test_crops_show_between_half_and_all_of_a_pictures_short_side(tmp_path):
    # Each pixel's value is its own row, so a crop's span of values is the height it shows; 32 of 200 rows is 0.16.
    rows = np.linspace(0.0, 1.0, 200, dtype="float32")
    images.write(np.broadcast_to(rows[None, :, None, None], (1, 200, 300, 3)), tmp_path / "ramp.png")
    crops = dataset.RandomCrops([tmp_path / "ramp.png"], size=32)
    spans = [np.ptp(crops(item)) for item in range(40)]
    assert 0.45 < min(spans) < 0.6
    assert 0.9 < max(spans) <= 1.0


def test_half_of_the_crops_are_flipped(tmp_path):
    columns = np.linspace(0.0, 1.0, 48, dtype="float32")
    images.write(np.broadcast_to(columns[None, None, :, None], (1, 32, 48, 3)), tmp_path / "ramp.png")
    crops = dataset.RandomCrops([tmp_path / "ramp.png"], size=32)
    flipped = sum(crops(item)[0, 0, 0] > crops(item)[0, -1, 0] for item in range(60))
    assert 20 < flipped < 40


def test_a_picture_of_the_crops_own_size_is_enough(rng, tmp_path):
    pixels = image(rng, 32, 32)
    images.write(pixels, tmp_path / "one.png")
    crops = dataset.RandomCrops(dataset.list_pictures(tmp_path, crop=32), size=32)
    piece = crops(0)
    assert min(np.abs(piece - pixels[0]).max(), np.abs(piece[:, ::-1] - pixels[0]).max()) < 0.01


def test_a_file_that_is_no_picture_or_too_small_is_named(folder, rng, caplog):
    (folder / "notes.txt").write_text("no picture")
    images.write(image(rng, 20, 90), folder / "small.png")
    assert len(dataset.list_pictures(folder, crop=32)) == 5
    assert "notes.txt" in caplog.text
    assert "small.png: is 90x20, smaller than a crop of 32 pixels" in caplog.text


def test_a_file_found_damaged_later_is_named_and_replaced_by_another(folder, caplog):
    data = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(data[: len(data) // 2])
    crops = dataset.RandomCrops(dataset.list_pictures(folder, crop=32), size=32)
    found = greys(crops(item) for item in range(10))
    assert 2 not in found
    assert set(found) == {0, 1, 3, 4}
    assert caplog.text.count("2.png") == 1


def test_files_that_vanish_or_shrink_during_a_training_are_named_and_replaced_by_others(folder, caplog, monkeypatch):
    monkeypatch.setattr(dataset, "MAX_CACHED_BYTES", 0)
    crops = dataset.RandomCrops(dataset.list_pictures(folder, crop=32), size=32)
    (folder / "1.png").unlink()
    images.write(np.full((1, 20, 90, 3), 0.8), folder / "4.png", overwrite=True)
    assert set(greys(crops(item) for item in range(10))) == {0, 2, 3}
    assert "1.png: no such file" in caplog.text
    assert "4.png: is 90x20, smaller than a crop of 32 pixels" in caplog.text


def test_pictures_that_have_all_vanished_are_one_line(folder, monkeypatch):
    """Also where TensorFlow reads them, whose own error holds a traceback of many lines."""
    monkeypatch.setattr(dataset, "MAX_CACHED_BYTES", 0)
    crops = dataset.RandomCrops(dataset.list_pictures(folder, crop=32), size=32)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="photos: holds no picture that can be used any more"):
        crops(3)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        list(dataset.make_batches(crops, size=32, batch=2).take(1))
    found = dataset.find_cause(caught.value)
    assert isinstance(found, InputError)
    assert str(found) == f"{folder}: holds no picture that can be used any more."
    other = tf.errors.InvalidArgumentError(None, None, "shapes differ")
    assert dataset.find_cause(other) is None


def test_several_threads_decode_a_picture_once(folder, monkeypatch):
    crops, read, decode = dataset.RandomCrops(dataset.list_pictures(folder, crop=32), size=32), [], images.read

    def slow(path, **options):
        read.append(path)
        time.sleep(0.05)
        return decode(path, **options)

    monkeypatch.setattr(images, "read", slow)
    crops._cache.clear()
    crops._bytes = 0
    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(crops, [3] * 8))
    assert len(read) == 1
    assert crops._bytes == sum(3 * picture.width * picture.height for picture in crops._cache.values())


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("L", 100 / 255), ("LA", 155 / 255), ("RGBA", 155 / 255), ("I;16", 100 / 255), ("P", 100 / 255)],
)
def test_grey_transparent_deep_and_indexed_pictures_give_crops_of_three_channels(mode, expected, tmp_path):
    # 100 of 255 where it is opaque; at alpha 165 of 255 before white it is 155.
    shape = (40, 60)
    pixels = {
        "I;16": np.full(shape, 100 * 257, np.uint16),
        "LA": np.stack([np.full(shape, 100), np.full(shape, 165)], -1).astype(np.uint8),
        "RGBA": np.stack([np.full(shape, 100)] * 3 + [np.full(shape, 165)], -1).astype(np.uint8),
    }.get(mode, np.full(shape, 100, np.uint8))
    picture = Image.fromarray(pixels).convert("P") if mode == "P" else Image.fromarray(pixels)
    assert picture.mode == mode
    picture.save(tmp_path / "one.png")
    crops = dataset.RandomCrops(dataset.list_pictures(tmp_path, crop=32), size=32)
    for item in (0, 1, 7):
        assert crops(item).shape == (32, 32, 3)
        np.testing.assert_allclose(crops(item), expected, atol=1 / 255)


def test_a_folder_whose_files_cannot_be_listed_is_one_line(folder, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "is_file", refused)
    with pytest.raises(InputError, match=r"photos: is not a folder that can be read \(Permission denied\)"):
        dataset.list_pictures(folder, crop=32)


def test_no_pictures_at_all_are_one_line():
    with pytest.raises(InputError, match="there are no pictures to cut crops from"):
        dataset.RandomCrops([], size=32)


@pytest.mark.parametrize(
    ("name", "message"),
    [("empty", "holds no picture of at least 32 pixels on each side; choose a smaller `size`"), ("none", "folder")],
)
def test_a_folder_without_pictures_is_one_line(name, message, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        dataset.list_pictures(tmp_path / name, crop=32)


def test_where_any_size_would_do_no_smaller_one_is_asked_for(tmp_path):
    with pytest.raises(InputError, match="holds no picture that can be read; add one"):
        dataset.list_pictures(tmp_path, crop=1)


def test_only_damaged_files_are_one_line(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(InputError, match="no p"):
        dataset.RandomCrops(dataset.list_pictures(tmp_path, crop=32), size=32)


def test_pictures_beyond_the_cache_are_read_again(folder, monkeypatch):
    monkeypatch.setattr(dataset, "MAX_CACHED_BYTES", 0)
    crops = dataset.RandomCrops(dataset.list_pictures(folder, crop=32), size=32, seed=1)
    assert sorted(greys(crops(item) for item in range(5))) == [0, 1, 2, 3, 4]
    assert not crops._cache


def test_pairs_are_batches_of_both(folder):
    crops = [dataset.RandomCrops(dataset.list_pictures(folder, crop=32), size=32, seed=seed) for seed in (1, 2)]
    ((first, second),) = dataset.make_pairs(*crops, size=32, batch=3, start=2).take(1)
    for crop, batch in zip(crops, (first, second), strict=True):
        np.testing.assert_array_equal(batch, np.stack([crop(item) for item in (6, 7, 8)]))
