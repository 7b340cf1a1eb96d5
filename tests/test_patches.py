"""Which places of a painting the pixels of a picture are paired with."""

import numpy as np
import pytest

from tfstyle import patches


def texture(rng, height, width):
    """Noise of several scales, in which every patch is different."""
    coarse = rng.uniform(size=(height // 4 + 1, width // 4 + 1, 3)).repeat(4, 0).repeat(4, 1)[:height, :width]
    return np.float32(0.7 * coarse + 0.3 * rng.uniform(size=(height, width, 3)))


def test_each_patch_of_a_crop_is_found_where_it_was_cut_out(rng):
    painting = texture(rng, 60, 83)
    places = patches.find_places(painting[11:45, 20:77], painting)
    expected = np.moveaxis(np.indices((34, 57)), 0, -1) + np.array([11, 20])
    inside = np.s_[2:-2, 2:-2]  # Beyond, the border of the crop is repeated.
    np.testing.assert_array_equal(places[inside], expected[inside])


def test_a_crop_is_found_among_a_few_keys(rng, monkeypatch):
    monkeypatch.setattr(patches, "MAX_KEYS", 200)
    painting = texture(rng, 60, 83)
    places = patches.find_places(painting[11:45, 20:77], painting)
    expected = np.moveaxis(np.indices((34, 57)), 0, -1) + np.array([11, 20])
    assert np.mean(np.all(places == expected, axis=-1)[2:-2, 2:-2]) > 0.95


def test_the_search_finds_the_nearest_of_all_keys(rng):
    queries, keys = rng.normal(size=(9, 14, 24)).astype("f"), rng.normal(size=(11, 8, 24)).astype("f")
    offsets = patches._search(queries, keys)
    distances = np.sum((queries[:, :, None, None] - keys) ** 2, axis=-1).reshape(9, 14, -1)
    nearest = np.stack(np.divmod(distances.argmin(axis=-1), 8), axis=-1)
    where = np.moveaxis(np.indices((9, 14)), 0, -1)
    np.testing.assert_array_equal((offsets + where)[::2, ::2], nearest[::2, ::2])
    np.testing.assert_array_equal(offsets[1::2, 1::2], offsets[:-1:2, ::2])


def test_projected_distances_are_those_of_patches_whose_means_count_less(rng, monkeypatch):
    monkeypatch.setattr(patches, "_DIMENSIONS", 75)  # All of them: a rotation.
    image, painting = texture(rng, 7, 9), texture(rng, 6, 12)
    queries, keys = patches._project(image, painting)

    def patch(of, row, column):
        found = of[row - 2 : row + 3, column - 2 : column + 3].reshape(25, 3).astype(float)
        mean = found.mean(axis=0)
        return found - mean + 0.4 * mean

    for here, there in (((2, 2), (3, 9)), ((4, 6), (2, 3))):
        expected = np.sum((patch(image, *here) - patch(painting, *there)) ** 2)
        np.testing.assert_allclose(np.sum((queries[here] - keys[there]) ** 2), expected, rtol=1e-4)


def test_neighbors_stay_neighbors_in_what_was_not_cut_out(rng):
    image, painting = texture(rng, 50, 61), texture(rng, 70, 64)
    queries, keys = patches._project(image, painting)
    where = np.moveaxis(np.indices((50, 61)), 0, -1)

    def coherence(offsets):
        return np.mean(np.all(offsets[:, 1:] == offsets[:, :-1], axis=-1))

    alone = np.sum((queries[:, :, None] - keys.reshape(-1, 24)) ** 2, axis=-1).argmin(axis=-1)
    separate = np.stack(np.divmod(alone, 64), axis=-1) - where
    assert coherence(patches.find_places(image, painting) - where) > coherence(separate) + 0.3


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (16, 16)])
@pytest.mark.parametrize("flat", [True, False])
def test_small_and_even_pictures_have_places_inside_the_painting(size, flat, rng):
    image = np.full((*size, 3), 0.5, np.float32) if flat else texture(rng, *size)
    for one, other in ((image, texture(rng, 9, 13)), (texture(rng, 9, 13), image)):
        places = patches.find_places(one, other)
        assert places.shape == (*one.shape[:2], 2)
        assert places.min() >= 0
        assert np.all(places < other.shape[:2])


def test_places_are_found_tile_by_tile(rng, monkeypatch):
    painting = texture(rng, 60, 83)
    image = painting[11:45, 20:77]
    whole = patches.find_places(image, painting)
    monkeypatch.setattr(patches, "TILE", 20)
    np.testing.assert_array_equal(patches.find_places(image, painting)[2:-2, 2:-2], whole[2:-2, 2:-2])


def test_places_that_are_not_allowed_are_avoided(rng):
    painting = texture(rng, 60, 83)
    allowed = np.zeros((60, 83), bool)
    allowed[:, 30:] = True
    places = patches.find_places(painting[11:45, 2:40], painting, allowed=allowed)
    assert places[..., 1].min() >= 30
    inside = places[2:-2, 30:-2]
    expected = np.moveaxis(np.indices((34, 38)), 0, -1)[2:-2, 30:-2] + np.array([11, 2])
    np.testing.assert_array_equal(inside, expected)
