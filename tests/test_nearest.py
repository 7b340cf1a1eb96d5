"""The search for nearest neighbors, against plain computations."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import SAMPLES
from hypercolumns import LAYERS, columns, cosines, flat, hypercolumns, loss_of

from tfstyle import images, nearest, neighbors
from tfstyle.recipes import get_recipe
from tfstyle.vgg import load_vgg


def targets_of(queries, style):
    """What each place is to look like."""
    keys = nearest.make_keys(nearest.thin(style, nearest.MAX_KEYS))
    return nearest.neighbor_targets([nearest.search(queries, keys)], [keys])


@pytest.mark.parametrize("sizes", [((9, 13), (11, 6)), ((3, 2), (1, 5)), ((40, 30), (2, 2))])
def test_a_search_without_projection_is_exhaustive(sizes, rng):
    queries, keys = (columns(rng, *size) for size in sizes)
    found = nearest.search(queries, nearest.make_keys(keys)).places.numpy().ravel()
    expected = cosines(queries, keys)
    np.testing.assert_allclose(
        expected[np.arange(len(found)), found], expected.max(1), atol=2e-4
    )  # Directions are in float16.


def test_the_projected_search_finds_nearly_all_of_the_nearest():
    layers = get_recipe("nnst").loss.neighbor_layers
    network = load_vgg(tuple(layers))
    pictures = (images.fit(images.read(SAMPLES / name).image, 224) for name in ("colosseum.jpg", "harvest.jpg"))
    queries, keys = (hypercolumns(network(picture), layers) for picture in pictures)
    found = nearest.search(queries, nearest.make_keys(keys)).places.numpy().ravel()
    expected = cosines(queries, keys)
    assert (found == expected.argmax(1)).mean() > 0.95
    lost = expected.max(1) - expected[np.arange(len(found)), found]
    assert lost[found != expected.argmax(1)].mean() < 0.01


def test_the_nearest_places_of_an_image_in_itself_are_its_own(rng):
    parts = columns(rng, 7, 11)
    np.testing.assert_array_equal(np.ravel(nearest.search(parts, nearest.make_keys(parts)).places), np.arange(77))
    targets = targets_of(nearest.mix_queries(parts, parts), parts)
    assert float(loss_of(parts, targets)) == pytest.approx(0.0, abs=1e-4)


def test_targets_are_the_chosen_places_of_the_style_image(rng):
    content, so_far, style = columns(rng, 5, 8), columns(rng, 5, 8), columns(rng, 6, 4)
    mixed = {layer: 0.75 * content[layer] + 0.25 * so_far[layer] for layer in LAYERS}
    chosen = flat(style)[cosines(mixed, style).argmax(1)]
    found = targets_of(nearest.mix_queries(content, so_far), style)
    expected = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    parts = {layer: neighbors.target_at(found, layer) for layer in LAYERS}
    assert {part.dtype for part in parts.values()} == {tf.float16}
    np.testing.assert_allclose(flat(parts), expected, atol=1e-3)
    of_image = flat(so_far)
    cosine = (of_image * expected).sum(1) / np.linalg.norm(of_image, axis=1)
    assert float(loss_of(so_far, found)) == pytest.approx(1.0 - cosine.mean(), abs=1e-3)


def test_of_a_large_style_image_places_at_even_distances_are_searched(rng, monkeypatch):
    monkeypatch.setattr(nearest, "MAX_KEYS", 12)
    queries, style = columns(rng, 3, 4), columns(rng, 9, 11)
    found = targets_of(queries, style)
    thinned = {layer: part[:, 1::3, 1::3] for layer, part in style.items()}  # 99 places; 3 x 4 of them.
    np.testing.assert_array_equal(
        np.ravel(found[neighbors.PLACES]), cosines(nearest.mix_queries(queries), thinned).argmax(1)
    )
    assert found["block1_conv2"].shape == (1, 12, 1, 5)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.5), (0.0, 1.0, 0.0), (0.7, 0.0, 0.3)])
def test_places_are_divided_by_shares(shares, rng):
    likeness = (
        rng.normal(size=(1, 40, 55, len(shares))) * (1.0, 3.0, 0.1)[: len(shares)] + (0.0, 5.0, 1.0)[: len(shares)]
    )
    owners = nearest.divide(tf.constant(likeness, tf.float32), tf.constant(shares)[:, None]).numpy()
    counts = np.bincount(owners.ravel(), minlength=len(shares)) / owners.size
    np.testing.assert_allclose(counts, shares, atol=0.02)
    assert not counts[np.array(shares) == 0.0].any()


def test_each_place_goes_to_the_image_that_it_resembles_most(rng):
    """With two images, optimal transport orders the places by the difference of their likeness."""
    likeness = rng.normal(size=(1, 30, 41, 2)).astype("float32")
    owners = nearest.divide(tf.constant(likeness), tf.constant([[0.3], [0.7]])).numpy()
    difference = likeness[..., 0] - likeness[..., 1]
    assert difference[owners == 0].min() >= difference[owners == 1].max()


def test_the_keys_of_several_images_are_joined(rng):
    queries, first, second = (columns(rng, *size) for size in ((9, 13), (4, 6), (5, 3)))
    keys = [nearest.make_keys(part) for part in (first, second)]
    found = [nearest.search(queries, each) for each in keys]
    for number, offset in ((0, 0), (1, 24)):
        shares = tf.constant([[1.0 - number], [float(number)]])
        joined = nearest.neighbor_targets(found, keys, shares)
        np.testing.assert_array_equal(joined[neighbors.PLACES], found[number].places + offset)
        own = nearest.neighbor_targets([found[number]], [keys[number]])
        for layer, part in own.items():
            if layer != neighbors.PLACES:
                np.testing.assert_array_equal(joined[layer][:, offset : offset + part.shape[1]], part)
                assert joined[layer].shape[1] == 24 + 15


def test_places_are_divided_region_by_region(rng):
    likeness = rng.normal(size=(1, 40, 60, 3)).astype("float32")
    left = np.zeros((1, 40, 60, 1), "float32")
    left[:, :, :20] = 0.6
    shares = tf.constant([[0.0, 0.25], [1.0, 0.0], [0.0, 0.75]])
    owners = nearest.divide(tf.constant(likeness), shares, masks=tf.constant(np.concatenate([left, 0.6 - left], -1)))
    assert np.all(owners[:, :, :20] == 1)
    assert np.mean(owners[:, :, 20:] == 0) == pytest.approx(0.25, abs=0.02)
    assert np.mean(owners[:, :, 20:] == 2) == pytest.approx(0.75, abs=0.02)
