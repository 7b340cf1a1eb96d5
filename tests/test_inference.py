"""Tiles that cover an image, blend weights, and what is refused."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tfstyle.errors import InputError, UsageError
from tfstyle.feedforward import inference
from tfstyle.feedforward.inference import Tile


@pytest.mark.parametrize("length", [8, 64, 72, 95 * 8, 1024, 1032])
def test_spans_cover_a_length_without_gap_or_overlap(length):
    spans = inference._spans(length, 64)
    assert (spans[0][0], spans[-1][1]) == (0, length)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    assert all(32 <= end - start <= 96 or length < 64 for start, end in spans)


def test_a_tile_grows_as_far_as_the_image_reaches_and_crops_what_it_covers():
    image = tf.reshape(tf.range(24 * 32), [1, 24, 32, 1])
    whole, tile = inference.whole_tile(image), Tile(8, 16, 24, 32)
    assert whole == Tile(0, 24, 0, 32)
    outer = tile.grow(4, 24, 32)
    assert outer == Tile(4, 20, 20, 32)
    grown = outer.crop(image, outer=whole)
    np.testing.assert_array_equal(grown, image[:, 4:20, 20:])
    np.testing.assert_array_equal(tile.crop(grown, outer=outer), image[:, 8:16, 24:])
    np.testing.assert_array_equal(tile.crop(image[:, ::8, ::8], outer=whole, cell=8), image[:, 8:9, 24:25])


@pytest.mark.parametrize("halo", [0, 16])
def test_mapping_the_identity_over_tiles_gives_the_image_back(halo, rng):
    image = rng.uniform(size=(1, 104, 200, 3)).astype("float32")
    whole, sizes = inference.whole_tile(image), []

    def crop(tile):
        sizes.append((tile.bottom - tile.top) * (tile.right - tile.left))
        return tile.crop(image, outer=whole)

    found = inference.map_tiles(crop, tf.constant(image), tile=64, halo=halo)
    np.testing.assert_array_equal(found, image)
    assert len(sizes) == 2 * 3
    assert max(sizes) <= inference.largest_tile(104, 200, tile=64, halo=halo)


def test_blend_weights_add_up_to_one():
    assert inference.blend_weights(4, None) == [0.25] * 4
    assert inference.blend_weights(2, [3.0, 1.0]) == [0.75, 0.25]
    np.testing.assert_allclose(inference.weighted_mean([tf.ones([2]), tf.zeros([2])], [0.75, 0.25]), [0.75, 0.75])


@pytest.mark.parametrize("blend", [[1.0], [0.0, 0.0], [-1.0, 2.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_a_blend_without_one_weight_for_each_style_is_refused(blend):
    with pytest.raises(UsageError, match="one weight of 0 or more for each of 2 styles"):
        inference.blend_weights(2, blend)


def test_a_tile_or_image_too_small_is_refused():
    with pytest.raises(UsageError, match="`tile` should be at least 64 pixels, not 63"):
        inference.check_tile(63)
    with pytest.raises(InputError, match="the painting is 9x5; at least 8 pixels are needed on each side"):
        inference.check_sides(tf.zeros([1, 5, 9, 3]), 8, "the painting")
    inference.check_sides(tf.zeros([1, 8, 9, 3]), 8, "the painting")


def test_a_weakened_result_is_mixed_with_the_content_image(rng):
    result, content = rng.random((2, 1, 4, 5, 3)).astype("float32")
    np.testing.assert_array_equal(inference.weaken(result, content, 1.0), result)
    np.testing.assert_array_equal(inference.weaken(result, content, 0.0), content)
    np.testing.assert_allclose(inference.weaken(result, content, 0.25), 0.75 * content + 0.25 * result, atol=1e-6)
