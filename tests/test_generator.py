"""The generator: codes change the style, and style statistics are learned."""

import io
import zipfile

import h5py
import numpy as np
import tensorflow as tf
from conftest import image, small_generator

from tfstyle.feedforward import serialization
from tfstyle.feedforward.generator import ENCODED, Generator


def change(one, other):
    return float(np.abs(np.asarray(one) - np.asarray(other)).mean())


def test_a_photograph_gives_several_paintings_of_its_own_size(rng):
    network, picture = small_generator(), tf.constant(image(rng, 33, 47))
    paintings = [network(picture, network.random_code(seed)).numpy() for seed in range(3)]
    for painting in paintings:
        assert painting.shape == (1, 33, 47, 3)
        assert 0.0 <= painting.min() < painting.max() <= 1.0
    assert min(change(paintings[0], paintings[1]), change(paintings[1], paintings[2])) > 0.01
    np.testing.assert_array_equal(network.random_code(2), network.random_code(2))


def test_without_a_code_it_is_the_middle_of_all(rng):
    network, picture = small_generator(), tf.constant(image(rng, 33, 47))
    np.testing.assert_allclose(network(picture), network(picture, tf.zeros([1, network.code_size])), atol=1e-6)


def test_each_of_a_batch_has_its_own_code(rng):
    network, picture = small_generator(), tf.constant(image(rng, 24, 32))
    codes = tf.concat([network.random_code(1), network.random_code(2)], axis=0)
    both = network(tf.repeat(picture, 2, axis=0), codes)
    for index in range(2):
        np.testing.assert_allclose(both[index : index + 1], network(picture, codes[index : index + 1]), atol=1e-5)


def test_the_encoder_knows_no_code(rng):
    """Content features and style are those of the image, whatever is to be painted of it."""
    network, picture = small_generator(), tf.constant(image(rng, 24, 32))
    with_codes = [network.paint(picture, changes=network.changes(network.random_code(seed)))[1] for seed in (1, 2)]
    for index, (one, other) in enumerate(zip(*with_codes, strict=True)):
        assert np.allclose(one, other, atol=1e-5) == (index <= ENCODED)


def test_the_code_of_a_painting_follows_its_colours(rng):
    network, painting = small_generator(), image(rng, 40, 56)
    mean, log_variance = network.code_of(tf.constant(painting))
    assert mean.shape == log_variance.shape == (1, network.code_size)
    assert change(mean, network.code_of(tf.constant(1.0 - painting))[0]) > 1e-3
    assert np.abs(log_variance).max() <= 8.0


def test_the_style_of_a_painting_needs_the_encoder_alone(rng, monkeypatch):
    network, painting = small_generator(), tf.constant(image(rng, 41, 56))
    whole = network.paint(painting)[1][:ENCODED]
    for convolution in network.convolutions[ENCODED:]:
        monkeypatch.setattr(convolution, "call", None)
    style = network.style_of(painting)
    np.testing.assert_array_equal(style, tf.concat([tf.reshape(one, [1, -1]) for one in whole], axis=1))


def test_style_statistics_are_learned_and_a_code_follows_from_the_rest(rng):
    """All at once with nothing kept: the mean and the mean distance from the mean before."""
    network = small_generator()
    paintings = tf.constant(np.concatenate([image(rng, 40, 56) for _ in range(3)]))
    style = network.style_of(paintings).numpy()
    assert style.shape == (3, 2 * (4 + 5 + 6))
    network.update_style_statistics(paintings, tf.constant(0.0))
    np.testing.assert_allclose(network.style_mean, style.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(network.style_scale, np.abs(style).mean(0) + 1e-3, rtol=1e-4, atol=1e-5)
    network.update_style_statistics(paintings, tf.constant(0.75))
    expected = 0.75 * (np.abs(style).mean(0) + 1e-3) + 0.25 * (np.abs(style - style.mean(0)).mean(0) + 1e-3)
    np.testing.assert_allclose(network.style_scale, expected, rtol=1e-3, atol=1e-4)
    network.update_style_statistics(paintings, tf.constant(0.0))
    mean, _ = network.code_of(paintings)
    assert np.abs(mean).std(axis=0).mean() > 0.1


def test_a_generator_is_saved_and_loaded_as_it_is(tmp_path, rng):
    network, picture = small_generator(code_size=5), tf.constant(image(rng, 33, 47))
    serialization.save(network, tmp_path / "network.keras")
    again = serialization.load(tmp_path / "network.keras")
    assert isinstance(again, Generator)
    assert again.code_size == 5
    np.testing.assert_array_equal(again(picture, network.random_code(4)), network(picture, network.random_code(4)))


def test_a_saved_generators_layout_is_that_of_earlier_files(tmp_path):
    serialization.save(small_generator(), tmp_path / "network.keras")
    with zipfile.ZipFile(tmp_path / "network.keras") as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights) as groups:
        assert set(groups) == {"convolutions", "describing", "layers", "vars"}


def test_mixed_precision_paints_nearly_the_same(rng):
    network, picture = small_generator(), tf.constant(image(rng, 32, 40))
    mixed = small_generator(dtype="mixed_bfloat16")
    code = network.random_code(0)
    np.testing.assert_allclose(mixed(picture, code), network(picture, code), atol=0.1)
    assert mixed(picture, code).dtype == tf.float32
