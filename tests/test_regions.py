"""Regions of two images, and what recurs in one."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import SAMPLES, image

from tfstyle import images, regions
from tfstyle.errors import InputError
from tfstyle.vgg import load_vgg


@pytest.fixture(scope="module")
def network():
    return load_vgg(regions.LAYERS, padding_mode="replicate", ceil_mode=True)


def halves(rng, height, width, *, rough_on_top):
    """An image whose one half is a rough texture and the other an even color."""
    rough = rng.uniform(size=(height // 2, width, 3))
    even = np.full((height - height // 2, width, 3), 0.6)
    parts = [rough, even] if rough_on_top else [even[: height // 2], rng.uniform(size=even.shape)]
    return np.concatenate(parts)[None].astype("float32")


def test_two_halves_find_their_counterparts(network, rng):
    content, style = halves(rng, 96, 128, rough_on_top=True), halves(rng, 112, 80, rough_on_top=True)
    found = regions.find_regions(network, content, style, count=2)
    for mask in (found.content.numpy()[0], found.style.numpy()[0]):
        edge = mask.shape[0] // 2
        top, bottom = mask[: edge - 2].mean((0, 1)), mask[edge + 2 :].mean((0, 1))
        assert min(top.max(), bottom.max()) > 0.8
        assert top.argmax() != bottom.argmax()
    assert found.content.numpy()[0, 4].mean(0).argmax() == found.style.numpy()[0, 4].mean(0).argmax()


def test_the_sky_of_a_photograph_is_that_of_the_painting(network):
    photograph, painting = (images.read(SAMPLES / name).image for name in ("neuschwanstein.jpg", "starry_night.jpg"))
    found = regions.find_regions(network, photograph, painting, count=3)
    sky = found.content.numpy()[0, :4].mean((0, 1)).argmax()
    assert found.content.numpy()[0, :4, :, sky].mean() > 0.9
    assert found.style.numpy()[0, 1:8, 8:, sky].mean() > 0.7
    assert found.style.numpy()[0, -4:, :, sky].mean() < 0.3


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("size", [(16, 16), (16, 60), (96, 64)])
@pytest.mark.parametrize("kind", ["flat", "noise"])
def test_masks_are_finite_and_those_of_the_content_image_sum_to_one(network, rng, count, size, kind):
    content = np.full((1, *size, 3), 0.4, "float32") if kind == "flat" else image(rng, *size)
    found = regions.find_regions(network, tf.constant(content), tf.constant(content), count=count)
    np.testing.assert_allclose(found.content.numpy().sum(-1), 1.0, atol=1e-5)
    for mask in found:
        assert np.isfinite(mask).all()
        assert 0.0 <= mask.numpy().min() <= mask.numpy().max() <= 1.0
    assert found.content.shape[-1] == found.style.shape[-1] == count


def test_equal_images_have_equal_regions_and_the_result_is_repeatable(network, rng):
    picture = halves(rng, 96, 128, rough_on_top=False)
    first, second = (regions.find_regions(network, picture, picture, count=2, seed=3) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    both = first.content.numpy().argmax(-1), first.style.numpy().argmax(-1)
    assert (both[0] == both[1]).mean() > 0.9


def test_a_small_region_of_the_content_image_joins_another(network, rng, monkeypatch):
    monkeypatch.setattr(regions, "SMALLEST_SHARE", 0.9)
    found = regions.find_regions(network, image(rng, 96, 64), image(rng, 64, 96), count=3)
    assert sorted(found.content.numpy().max((0, 1, 2))) == [0.0, 0.0, 1.0]


def test_sharpened_masks_follow_the_edges_of_the_image():
    picture = np.full((1, 64, 96, 3), 0.2, "float32")
    picture[:, :, 41:] = (0.9, 0.6, 0.3)  # The edge lies within the sixth of twelve columns of the mask.
    coarse = np.zeros((1, 8, 12, 2), "float32")
    coarse[:, :, :6, 0], coarse[:, :, 6:, 1] = 1.0, 1.0
    found = regions.sharpen(tf.constant(coarse), tf.constant(picture)).numpy()
    assert found.shape == (1, 64, 96, 2)
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-5)
    assert found[0, :, 40, 0].min() - found[0, :, 41, 0].max() > 0.3  # Bilinear resizing changes by 0.125 a pixel.


def test_the_guided_filter_agrees_with_a_plain_loop(rng):
    picture, coarse = image(rng, 21, 30), rng.dirichlet((1.0, 1.0), size=(1, 21, 30)).astype("float32")
    guide, mask, radius = picture[0].astype(float), coarse[0, ..., 0].astype(float), 16
    slope, offset = np.zeros_like(guide), np.zeros_like(mask)

    def window(y, x):
        return np.s_[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]

    for y, x in np.ndindex(21, 30):
        inside, wanted = guide[window(y, x)].reshape(-1, 3), mask[window(y, x)].reshape(-1)
        covariance = np.cov(inside.T, bias=True) + 1e-3 * np.eye(3)
        slope[y, x] = np.linalg.solve(covariance, ((inside - inside.mean(0)) * wanted[:, None]).mean(0))
        offset[y, x] = wanted.mean() - slope[y, x] @ inside.mean(0)
    expected = [
        guide[y, x] @ slope[window(y, x)].mean((0, 1)) + offset[window(y, x)].mean() for y, x in np.ndindex(21, 30)
    ]
    found = regions.sharpen(tf.constant(coarse), tf.constant(picture))
    np.testing.assert_allclose(found[0, ..., 0], np.reshape(expected, (21, 30)), atol=2e-3)


def test_recurrence_is_low_for_what_is_shown_once(rng):
    columns = rng.normal(size=(1, 1, 24, 400)).repeat(18, axis=1)  # Each column recurs far below.
    columns[0, 6:12, 9:15] = 3.0 * rng.normal(size=(6, 6, 400))
    found = regions.recurrence(columns)[0, ..., 0]
    assert found.shape == (18, 24)
    assert found[8:10, 11:13].max() == 0.0
    assert np.delete(found, np.s_[4:14], axis=0).min() > 0.9


@pytest.mark.parametrize("shape", [(1, 1, 1, 5), (1, 2, 3, 5)])
def test_recurrence_is_one_where_nothing_is_far_enough_or_all_is_equal(shape):
    np.testing.assert_array_equal(regions.recurrence(np.ones(shape, "float32")), np.ones((*shape[:3], 1)))
    np.testing.assert_array_equal(regions.recurrence(np.ones((1, 17, 13, 4), "float32")), np.ones((1, 17, 13, 1)))


def test_recurrence_agrees_with_a_plain_loop(rng):
    features = rng.normal(size=(1, 9, 11, 40)).astype("float32")
    centered = features[0] - features[0].mean((0, 1))
    units = centered / np.linalg.norm(centered, axis=-1, keepdims=True)
    similar = np.zeros((9, 11))
    for y, x in np.ndindex(9, 11):
        cosines = [
            units[y, x] @ units[v, u]
            for v, u in np.ndindex(9, 11)
            if max(abs(v - y), abs(u - x)) > 1  # 11 // 8
        ]
        similar[y, x] = np.mean(sorted(cosines)[-8:])
    smooth, eroded = np.zeros_like(similar), np.zeros_like(similar)
    for y, x in np.ndindex(9, 11):
        smooth[y, x] = similar[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean()
    recurring = np.clip((smooth - 0.22) / (0.35 - 0.22), 0, 1)
    for y, x in np.ndindex(9, 11):
        eroded[y, x] = recurring[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].min()
    np.testing.assert_allclose(regions.recurrence(features)[0, ..., 0], eroded, atol=1e-5)


def test_a_picture_too_small_for_the_network_is_refused(network, rng):
    with pytest.raises(InputError, match="needs 16 pixels"):
        regions.find_regions(network, image(rng, 12, 40), image(rng, 40, 40), count=2)
