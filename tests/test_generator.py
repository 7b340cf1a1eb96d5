"""Generator and discriminator: codes change the style, kernels have norm 1, and a call changes nothing."""

import io
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf
from conftest import image, small_generator

from tfstyle import images
from tfstyle.errors import InputError, UsageError
from tfstyle.feedforward import serialization
from tfstyle.feedforward.generator import ENCODER_LAYERS, STYLE_SIDE, Generator


def change(one, other):
    return float(np.abs(np.asarray(one) - np.asarray(other)).mean())


def test_an_image_gives_several_results_of_its_own_size(rng):
    network, picture = small_generator(), tf.constant(image(rng, 33, 47))
    results = [network(picture, network.random_code(seed)).numpy() for seed in range(3)]
    for result in results:
        assert result.shape == (1, 33, 47, 3)
        assert 0.0 <= result.min() < result.max() <= 1.0
    assert min(change(results[0], results[1]), change(results[1], results[2])) > 0.01
    np.testing.assert_array_equal(network.random_code(2), network.random_code(2))


def test_without_a_code_it_is_the_middle_of_all(rng):
    network, picture = small_generator(), tf.constant(image(rng, 33, 47))
    np.testing.assert_allclose(network(picture), network(picture, tf.zeros([1, network.code_size])), atol=1e-6)


def test_the_encoder_knows_no_code(rng):
    """Content features and style are those of the image, whatever the code is."""
    network, picture = small_generator(), tf.constant(image(rng, 24, 32))
    with_codes = [
        network.forward(picture, modulation=network.code_to_modulation(network.random_code(seed)))[1] for seed in (1, 2)
    ]
    for index, (one, other) in enumerate(zip(*with_codes, strict=True)):
        assert np.allclose(one, other, atol=1e-5) == (index <= ENCODER_LAYERS)


def test_the_code_of_a_style_image_follows_its_colors(rng):
    network, style = small_generator(), image(rng, 40, 56)
    mean, log_variance = network.encode_style(tf.constant(style))
    assert mean.shape == log_variance.shape == (1, network.code_size)
    assert change(mean, network.encode_style(tf.constant(1.0 - style))[0]) > 1e-3
    assert np.abs(log_variance).max() <= 8.0


def test_the_style_of_an_image_needs_the_encoder_alone(rng, monkeypatch):
    network, style = small_generator(), tf.constant(image(rng, 41, 56))
    whole = network.forward(style)[1][:ENCODER_LAYERS]
    for convolution in network.convolutions[ENCODER_LAYERS:]:
        monkeypatch.setattr(convolution, "call", None)
    style = network.style_statistics(style)
    np.testing.assert_array_equal(style, tf.concat([tf.reshape(one, [1, -1]) for one in whole], axis=1))


def test_style_statistics_are_learned_and_a_code_follows_from_the_rest(rng):
    """All at once with nothing kept: the mean and the mean distance from the mean before."""
    network = small_generator()
    styles = tf.constant(np.concatenate([image(rng, 40, 56) for _ in range(3)]))
    style = network.style_statistics(styles).numpy()
    assert style.shape == (3, 2 * (4 + 5 + 6))
    network.update_style_statistics(styles, tf.constant(0.0))
    np.testing.assert_allclose(network.style_mean, style.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(network.style_scale, np.abs(style).mean(0) + 1e-3, rtol=1e-4, atol=1e-5)
    network.update_style_statistics(styles, tf.constant(0.75))
    expected = 0.75 * (np.abs(style).mean(0) + 1e-3) + 0.25 * (np.abs(style - style.mean(0)).mean(0) + 1e-3)
    np.testing.assert_allclose(network.style_scale, expected, rtol=1e-3, atol=1e-4)
    network.update_style_statistics(styles, tf.constant(0.0))
    mean, _ = network.encode_style(styles)
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


def test_a_generators_tiles_leave_no_seam_in_any_style(rng):
    network, content = small_generator(blocks=5), image(rng, 150, 210)
    code = network.random_code(4)
    modulation = network.code_to_modulation(code)
    reduced = images.fit(content, round(210 * 64 / np.sqrt(150 * 210)))
    whole = network.forward(content, network.forward(reduced, modulation=modulation)[1], modulation)[0]
    np.testing.assert_allclose(network.stylize(content, seed=4, tile=64), whole, atol=1e-4)
    small = content[:, :33, :47]
    np.testing.assert_allclose(network.stylize(small, seed=4, tile=64), network(small, code), atol=1e-6)


def test_a_code_is_that_of_a_seed_of_a_style_image_or_between_several(rng):
    network = small_generator()
    styles = [image(rng, 40, 300), 1.0 - image(rng, 60, 50)]
    np.testing.assert_array_equal(network.choose_code([], seed=4), network.random_code(4))
    reduced = [images.fit(styles[0], STYLE_SIDE), styles[1]]
    one, other = (network.encode_style(style)[0] for style in reduced)
    found = network.choose_code(styles, blend=[3.0, 1.0])
    np.testing.assert_allclose(found, 0.75 * one + 0.25 * other, atol=1e-5)
    with pytest.raises(ValueError, match="one weight of 0 or more for each of 2 styles"):
        network.choose_code(styles, blend=[1.0])
    with pytest.raises(InputError, match="the style image is 9x5; at least 8 pixels"):
        network.choose_code([image(rng, 5, 9)])


def test_it_stylizes_by_the_code_of_the_style_images(rng):
    network, content, styles = small_generator(), image(rng, 33, 47), [image(rng, 40, 50), image(rng, 60, 50)]
    code = network.choose_code(styles, blend=[3.0, 1.0])
    np.testing.assert_allclose(network.stylize(content, styles, blend=[3.0, 1.0]), network(content, code), atol=1e-5)


@pytest.mark.parametrize(
    ("styles", "options", "message"),
    [
        (1, {"seed": 1}, "`seed` is for a generator without style images"),
        (1, {"transform": "monge"}, "`transform` and `precision` are for AdaIN's network"),
        (0, {"blend": [1.0]}, "a `blend` of style images only"),
        (2, {"blend": [1.0]}, "for each of 2 styles"),
    ],
)
def test_an_option_it_does_not_take_is_refused(styles, options, message, rng):
    with pytest.raises(UsageError, match=message):
        small_generator().stylize(image(rng), [image(rng)] * styles, **options)
