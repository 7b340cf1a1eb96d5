"""The transforms of `tfstyle fast`: hand-worked numbers, plain second implementations, and what each must keep."""

import numpy as np
import pytest
import tensorflow as tf

from tfstyle.feedforward import options, transforms
from tfstyle.feedforward.transforms import Encoded
from tfstyle.statistics import sufficient_statistics


def encoded(features):
    features = np.asarray(features, "float32")
    return Encoded(features, sufficient_statistics(tf.constant(features)))


def correlated(rng, height, width, channels=5):
    """Features whose channels are correlated, with means and deviations of their own."""
    mixed = rng.normal(size=(1, height, width, channels)) @ rng.normal(size=(channels, channels))
    return encoded(mixed + rng.normal(size=channels))


def flat(features):
    return np.asarray(features, "float64").reshape(-1, features.shape[-1])


def matrix_power(matrix, exponent):
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**exponent) @ vectors.T


def test_every_name_is_a_function():
    assert tuple(transforms.TRANSFORMS) == options.TRANSFORMS


def test_monge_between_independent_channels_is_adain_worked_by_hand():
    """Deviations 1 and 2 become 3 and 1, means (0, 1) become (5, 0)."""
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32").reshape(1, 2, 2, 2)
    content, style = encoded(signs * [1, 2] + [0, 1]), encoded(signs * [3, 1] + [5, 0])
    for name in ("adain", "monge"):
        found = transforms.TRANSFORMS[name](content, style)(tf.constant([[[[1.0, 3.0], [-2.0, 1.0]]]]))
        np.testing.assert_allclose(found, [[[[8.0, 1.0], [-1.0, 0.0]]]], atol=1e-4)


def test_monge_gives_mean_and_covariance_of_the_style(rng):
    content, style = correlated(rng, 17, 23), correlated(rng, 14, 31)
    found = flat(transforms.monge(content, style)(content.features))
    target = flat(style.features)
    np.testing.assert_allclose(found.mean(0), target.mean(0), atol=1e-4)
    difference = np.cov(found.T, bias=True) - np.cov(target.T, bias=True)
    assert np.linalg.norm(difference) < 1e-3 * np.linalg.norm(np.cov(target.T, bias=True))


def test_monge_moves_features_less_than_whitening_and_coloring(rng):
    content, style = correlated(rng, 17, 23), correlated(rng, 14, 31)
    own, target = flat(content.features), flat(style.features)
    whitened = (own - own.mean(0)) @ matrix_power(np.cov(own.T, bias=True), -0.5)
    colored = whitened @ matrix_power(np.cov(target.T, bias=True), 0.5) + target.mean(0)
    moved = np.mean((flat(transforms.monge(content, style)(content.features)) - own) ** 2)
    assert moved < 0.99 * np.mean((colored - own) ** 2)


def attend_by_numpy(content, style, temperature):
    own, target = flat(content.features), flat(style.features)
    queries, keys = ((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) for x in (own, target))
    result = []
    for query in queries:
        weights = np.exp(keys @ query / temperature)
        weights /= weights.sum()
        mean = weights @ target
        result.append(np.sqrt(weights @ (target - mean) ** 2) * query + mean)
    return np.reshape(result, content.features.shape)


@pytest.mark.parametrize("band", [7, 4096])
def test_attention_is_its_plain_computation(band, rng, monkeypatch):
    monkeypatch.setattr(transforms, "BAND", band)
    content, style = correlated(rng, 5, 7), correlated(rng, 6, 4)
    found = transforms.attention(content, style, temperature=2.0)(content.features)
    np.testing.assert_allclose(found, attend_by_numpy(content, style, 2.0), atol=1e-4)


def test_attention_to_everything_alike_is_adain(rng):
    content, style = correlated(rng, 5, 7), correlated(rng, 6, 4)
    found = transforms.attention(content, style, temperature=1e6)(content.features)
    np.testing.assert_allclose(found, transforms.adain(content, style)(content.features), atol=1e-3)


def decorate_by_numpy(content, style):
    """Position by position: the best patch of the style, then the mean of all that cover a position."""
    normalized = []
    for features in (content.features, style.features):
        x = features[0].astype("float64")
        x = (x - x.mean((0, 1))) / x.std((0, 1))
        normalized.append(np.pad(x, ((1, 1), (1, 1), (0, 0)), "reflect"))
    own, keys = normalized
    values = np.pad(style.features[0], ((1, 1), (1, 1), (0, 0)), "reflect")
    height, width, channels = content.features.shape[1:]
    places = list(np.ndindex(*style.features.shape[1:3]))
    patches = [keys[i : i + 3, j : j + 3] for i, j in places]
    total, count = np.zeros((height + 2, width + 2, channels)), np.zeros((height + 2, width + 2, 1))
    for i, j in np.ndindex(height, width):
        k, m = places[np.argmax([np.sum(p * own[i : i + 3, j : j + 3]) / np.linalg.norm(p) for p in patches])]
        total[i : i + 3, j : j + 3] += values[k : k + 3, m : m + 3]
        count[i : i + 3, j : j + 3] += 1
    return (total / count)[None, 1:-1, 1:-1]


@pytest.mark.parametrize("band", [7, 4096])
def test_decorate_is_its_plain_computation(band, rng, monkeypatch):
    monkeypatch.setattr(transforms, "BAND", band)
    content, style = correlated(rng, 5, 7), correlated(rng, 6, 4)
    found = transforms.decorate(content, style)(content.features)
    np.testing.assert_allclose(found, decorate_by_numpy(content, style), atol=1e-3)


@pytest.mark.parametrize("name", ["adain", "monge", "decorate"])
def test_its_own_style_changes_nothing(name, rng):
    content = correlated(rng, 9, 12)
    found = transforms.TRANSFORMS[name](content, content)(content.features)
    np.testing.assert_allclose(found, content.features, atol=1e-3)


def test_attention_to_its_own_style_at_a_low_temperature_changes_nothing(rng):
    """With this many channels the scalar product with itself is the largest."""
    content = encoded(3.0 + 2.0 * rng.normal(size=(1, 9, 12, 200)))
    found = transforms.attention(content, content, temperature=0.1)(content.features)
    np.testing.assert_allclose(found, content.features, atol=0.03)  # Others have a weight of 1e-3.


@pytest.mark.parametrize("name", options.TRANSFORMS)
def test_a_part_is_transformed_as_in_the_whole(name, rng):
    content, style = correlated(rng, 12, 15), correlated(rng, 6, 9)
    transform = transforms.TRANSFORMS[name](content, style)
    whole, part = transform(content.features), transform(content.features[:, 3:, :9])
    halo = transforms.HALO
    np.testing.assert_allclose(part[:, halo:, :-halo], whole[:, 3 + halo :, : 9 - halo], atol=1e-4)


@pytest.mark.parametrize("name", options.TRANSFORMS)
def test_flat_and_rank_deficient_images_stay_finite(name, rng):
    few = encoded(rng.normal(size=(1, 2, 3, 16)) * 30.0)  # Fewer positions than channels.
    gray = encoded(np.full((1, 4, 6, 16), 7.0))
    for content, style in ((few, gray), (gray, few), (gray, gray), (few, few)):
        found = transforms.TRANSFORMS[name](content, style)(content.features).numpy()
        assert np.abs(found).max() < 1000.0


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [((4, 6), 24, (4, 6)), ((4, 6), 23, (2, 3)), ((7, 50), 40, (2, 13)), ((1, 9), 2, (1, 2))],
)
def test_positions_are_sampled_on_a_regular_grid(size, most, expected, rng, monkeypatch):
    monkeypatch.setattr(transforms, "STYLE_POSITIONS", most)
    features = rng.normal(size=(1, *size, 3))
    found = transforms._sample(features)
    assert found.shape[1:3] == expected
    step = -(-size[1] // expected[1])
    np.testing.assert_array_equal(found, features[:, ::step, ::step])


def test_decorate_with_few_of_the_positions_takes_only_their_patches(rng, monkeypatch):
    """With a single position, at the corner, every patch is the one around it."""
    monkeypatch.setattr(transforms, "STYLE_POSITIONS", 1)
    content, style = correlated(rng, 5, 7), correlated(rng, 3, 4)
    found = transforms.decorate(content, style)(content.features)
    corner = np.pad(style.features[0], ((1, 1), (1, 1), (0, 0)), "reflect")[:3, :3].mean((0, 1))
    np.testing.assert_allclose(found[0, 1:-1, 1:-1], np.broadcast_to(corner, (3, 5, 5)), atol=1e-3)
