"""AdaIN against a forward pass in NumPy and its own definition; sizes, tiles, blends, and the range of every option."""

import math

import numpy as np
import pytest
import tensorflow as tf
from conftest import SAMPLES, embedded_decoder, image

from tfstyle import environment, images, metrics, statistics, vgg, weights
from tfstyle.errors import InputError, UsageError
from tfstyle.feedforward import adain, layers
from tfstyle.feedforward.options import TRANSFORMS, Options
from tfstyle.statistics import sufficient_statistics


@pytest.fixture(scope="module")
def network():
    return adain.AdaIN()


def convolve(x, kernel, bias):
    """[h, w, in] by its definition, reflected at the edge."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), "reflect")
    rows, columns = x.shape[:2]
    patches = [padded[i : i + rows, j : j + columns] @ kernel[i, j] for i in range(3) for j in range(3)]
    return sum(patches) + bias


def decode_by_numpy(features, arrays):
    x = features[0].astype("float64")
    for number in range(1, 10):
        if number in (2, 6, 8):
            x = np.kron(x, np.ones((2, 2, 1)))
        x = convolve(x, *(arrays[f"decoder_conv{number}.{part}"].astype("float64") for part in ("kernel", "bias")))
        x = x if number == 9 else np.maximum(x, 0)
    return x


def test_the_decoder_is_its_plain_forward_pass(rng):
    arrays = weights.read_embedded("adain-decoder")
    features = rng.uniform(0, 2, size=(1, 3, 5, 512)).astype("float32")
    found = adain.decode(tf.constant(features), arrays)
    assert found.shape == (1, 24, 40, 3)
    np.testing.assert_allclose(found[0], decode_by_numpy(features, arrays), rtol=1e-3, atol=1e-4)


def test_a_network_is_made_once_for_each_decoder():
    decoder = embedded_decoder()
    assert adain.load_adain() is adain.load_adain()
    assert adain.load_adain(decoder) is adain.load_adain(decoder) is not adain.load_adain()


def encode_by_numpy(pixels):
    """VGG-19 up to `ADAIN_LAYER` by its definition: Caffe's pixels, reflection padding, 2x2 maxima between blocks."""
    layers = weights.read("embedded").layers
    x = pixels[0, ..., ::-1].astype("float64") * 255.0 - np.array([103.939, 116.779, 123.68])
    for block, convolutions in enumerate((2, 2, 4, 1), 1):
        if block > 1:
            rows, columns, channels = x.shape
            x = x.reshape(rows // 2, 2, columns // 2, 2, channels).max((1, 3))
        for number in range(1, convolutions + 1):
            x = np.maximum(convolve(x, *layers[f"block{block}_conv{number}"]), 0)
    return x


def test_the_encoder_is_its_plain_forward_pass(network, rng):
    pixels = image(rng, 16, 24)
    found = network.coder().encode(pixels)
    assert found.shape == (1, 2, 3, 512)
    np.testing.assert_allclose(found[0], encode_by_numpy(pixels), rtol=1e-3, atol=1e-3)


def test_a_decoder_as_a_model_is_the_function(rng):
    features = rng.uniform(0, 2, size=(1, 3, 5, 512)).astype("float32")
    expected = adain.decode(tf.constant(features), weights.read_embedded("adain-decoder"))
    np.testing.assert_allclose(embedded_decoder()(features), expected, atol=1e-5)


def test_a_decoder_stylizes_as_its_network(network, rng):
    content, style = image(rng, 33, 47), image(rng, 40, 26)
    found = embedded_decoder().stylize(content, [style], strength=0.5)
    np.testing.assert_allclose(found, network.stylize(content, [style], strength=0.5), atol=1e-5)
    options = Options(tile=64)
    assert embedded_decoder().memory_needed((33, 47), options=options) == network.memory_needed(
        (33, 47), options=options
    )
    with pytest.raises(UsageError, match="`seed` is for a generator"):
        embedded_decoder().check_options(1, Options(seed=2))


def test_any_style_as_one_model_is_adain(network, rng):
    pictures = image(rng, 33, 47), image(rng, 40, 26)
    found = adain.ArbitraryStyle(embedded_decoder())(pictures)
    expected = network.stylize(pictures[0], [pictures[1]], precision="float32")
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (50, 121), (16, 16)])
def test_any_size_comes_back_at_its_own(size, network, rng):
    found = network.stylize(image(rng, *size), [image(rng, 40, 57)]).numpy()
    assert found.shape == (1, *size, 3)
    assert found.min() >= 0.0
    assert found.max() <= 1.0


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(
    "size", [(131, 97), *(pytest.param(size, marks=pytest.mark.slow) for size in ((150, 210), (300, 70)))]
)
def test_tiles_give_the_image_of_a_single_tile(size, transform, network, rng):
    content, style = image(rng, *size), image(rng, 90, 140)
    options = {"transform": transform, "precision": "float32", "strength": 0.9}
    whole, tiled = (network.stylize(content, [style], tile=tile, **options) for tile in (4096, 64))
    # Fewer positions than channels make `monge` sensitive to rounding, and a low temperature `attention`.
    np.testing.assert_allclose(tiled, whole, atol=1e-3 if transform in ("monge", "attention") else 2e-4)


def test_every_tile_is_encoded_once(network, rng, monkeypatch):
    coder, sizes = network.coder(), []
    content, style = image(rng, 50, 121), image(rng, 40, 57)

    def encode(part):
        sizes.append(tuple(part.shape[1:3]))
        return coder.encode(part)

    monkeypatch.setitem(network._coders, "float32", coder._replace(encode=encode))
    stylized = network.stylize(content, [style], precision="float32")
    assert sizes == [(56, 128), (40, 64)]
    own, target = (
        statistics.mean_std(sufficient_statistics(coder.encode(layers.pad_to_multiple(whole, 8))))
        for whole in (content, style)
    )
    features = coder.encode(layers.pad_to_multiple(content, 8))
    plain = coder.decode(layers.adaptive_instance_normalization(features, own, target))[:, :50, :121]
    np.testing.assert_array_equal(stylized, tf.clip_by_value(plain, 0.0, 1.0))
    sizes.clear()
    network.stylize(content, [style], precision="float32", strength=0.5, tile=64)
    assert sizes == [(56, 96), (56, 96), (40, 64)]  # Two tiles with their surroundings, and the style.


@pytest.mark.parametrize(("transform", "most"), [("adain", 0.005), ("monge", 0.005), ("attention", 0.01)])
def test_bfloat16_moves_pixels_a_little(transform, most, network):
    """On these samples by 0.003, 0.003 and 0.006; `decorate` may choose other patches."""
    content, style = (images.fit(images.read(SAMPLES / f"{n}.jpg").image, 200) for n in ("chelsea", "starry_night"))
    exact, half = (
        network.stylize(content, [style], transform=transform, precision=name).numpy()
        for name in ("float32", "bfloat16")
    )
    assert 0 < np.sqrt(np.mean((half - exact) ** 2)) < most
    assert len(np.unique(half[half > 0.5])) > 1000  # The image itself is not rounded.


@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_what_is_fast_on_the_machine(fast, network, rng, monkeypatch):
    monkeypatch.setattr(environment, "bfloat16_is_fast", lambda: fast)
    assert network.coder("auto") is network.coder("bfloat16" if fast else "float32")
    assert network.coder("auto").dtype == (tf.bfloat16 if fast else tf.float32)
    assert network.coder("auto").encode(image(rng, 16, 24)).dtype == network.coder("auto").dtype


def test_it_brings_the_style_and_keeps_the_content(network):
    content, style = (images.fit(images.read(SAMPLES / f"{n}.jpg").image, 160) for n in ("chelsea", "starry_night"))
    judge = vgg.load_vgg(metrics.LAYERS)
    stylized = network.stylize(content, [style])
    before, after = (metrics.compare(judge, content, style, picture) for picture in (content, stylized))
    assert after.sliced_wasserstein < 0.7 * before.sliced_wasserstein
    assert after.colors < 0.7 * before.colors
    assert after.content < metrics.compare(judge, content, style, images.resize(style, 106, 160)).content


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_strength_goes_from_exactly_the_content_to_the_style(transform, network, rng):
    content, style = image(rng, 49, 62), image(rng, 40, 57)
    none, little, half, whole = (
        network.stylize(content, [style], strength=strength, transform=transform).numpy()
        for strength in (0.0, 0.01, 0.5, 1.0)
    )
    np.testing.assert_array_equal(none, content)
    assert np.abs(little - none).mean() < 0.1 * np.abs(whole - none).mean()
    assert np.abs(half - none).mean() < np.abs(whole - none).mean()
    assert np.abs(half - whole).mean() < np.abs(none - whole).mean()


def test_what_the_decoder_loses_is_added_as_strength_decreases(network, rng):
    content, style = image(rng, 48, 64), image(rng, 40, 56)
    coder = network.coder()
    own, target = (coder.encode(picture) for picture in (content, style))
    own_statistics, target_statistics = (layers.mean_std(features) for features in (own, target))
    mixed = 0.25 * layers.adaptive_instance_normalization(own, own_statistics, target_statistics) + 0.75 * own
    expected = coder.decode(mixed) + 0.75 * (content - coder.decode(own))
    found = network.stylize(content, [style], strength=0.25, precision="float32")
    np.testing.assert_allclose(found, np.clip(expected, 0.0, 1.0), atol=1e-4)


def test_a_blend_of_one_is_that_one_and_of_twins_the_twin(network, rng):
    content, first, second = image(rng, 40, 56), image(rng, 40, 57), 1.0 - image(rng, 33, 60)
    alone = network.stylize(content, [first])
    for styles, blend in (([first, second], [2.0, 0.0]), ([first, first], None)):
        np.testing.assert_allclose(network.stylize(content, styles, blend=blend), alone, atol=1e-4)
    assert np.abs(network.stylize(content, [first, second]) - alone).mean() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 1.5}, "`strength` should be at most 1, not 1.5"),
        ({"transform": "mongo"}, "unknown transform 'mongo'; did you mean 'monge'"),
        ({"precision": "half"}, "unknown precision 'half'"),
        ({"tile": 10}, "`tile` should be at least 64"),
        ({"blend": [1.0, 1.0]}, "one weight of 0 or more for each of 1 styles"),
        ({"blend": [0.0]}, "one weight of 0 or more"),
        ({"blend": [-1.0]}, "one weight of 0 or more"),
        ({"blend": [math.nan]}, "one weight of 0 or more"),
        ({"blend": [math.inf]}, "one weight of 0 or more"),
        ({"seed": 1}, "`seed` is for a generator"),
    ],
)
def test_an_option_out_of_range_is_one_line(options, message, network, rng):
    with pytest.raises(ValueError, match=message):
        network.stylize(image(rng), [image(rng)], **options)


def test_without_a_style_it_is_refused(network, rng):
    with pytest.raises(UsageError, match="give at least one style image"):
        network.stylize(image(rng))


def test_an_image_too_small_is_refused(network, rng):
    with pytest.raises(InputError, match="the style image is 9x5; at least 9 pixels are needed on each side"):
        network.stylize(image(rng), [image(rng, 5, 9)])


@pytest.mark.parametrize(
    ("sizes", "tile", "tile_pixels"),
    [
        ([(300, 400), (200, 100)], 1024, 300 * 400),
        ([(300, 400), (700, 900)], 1024, 700 * 900),
        ([(2000, 3000), (200, 100)], 512, 576 * 576),
        ([(100, 3000), (90, 100)], 500, 100 * (520 + 64)),  # In tiles of 496, the last of 520.
    ],
)
def test_memory_of_adain_grows_with_the_largest_tile_and_the_pixels(sizes, tile, tile_pixels, network):
    whole = sum(height * width for height, width in sizes)
    found = [network.memory_needed(*sizes, options=Options(tile=tile, transform=name)) for name in TRANSFORMS]
    expected = 230_000_000 + 1000 * tile_pixels + (60 + 32) * whole
    assert found == [expected, expected, expected + 200_000_000, expected + 400_000_000]
