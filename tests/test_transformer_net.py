"""The image transformation network against a forward pass in NumPy, at every size, in tiles, and compiled once."""

import gc
import logging
import threading
import weakref

import numpy as np
import pytest
from conftest import image, small_generator, small_transformer

from tfstyle import images
from tfstyle.errors import UsageError
from tfstyle.feedforward import serialization, transformer_net
from tfstyle.feedforward.options import Options
from tfstyle.feedforward.transformer_net import TransformerNet


def convolve(x, layer):
    """[h, w, in] by its definition, reflected at the edge."""
    kernel, bias = (array.astype("float64") for array in layer.get_weights())
    side, stride = kernel.shape[0], layer.strides[0]
    padded = np.pad(x, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)), "reflect")
    rows, columns = x.shape[:2]
    patches = [padded[i : i + rows, j : j + columns] @ kernel[i, j] for i in range(side) for j in range(side)]
    return (sum(patches) + bias)[::stride, ::stride]


def normalize(x, layer):
    return (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5) * layer.scale.numpy() + layer.shift.numpy()


def upsample(x):
    """Between positions three quarters of the nearer and one of the farther, along each axis; the edge repeated."""
    for axis in (0, 1):
        before, after = (np.take(x, np.clip(np.arange(x.shape[axis]) + s, 0, x.shape[axis] - 1), axis) for s in (-1, 1))
        halves = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = halves.reshape([n * (2 if k == axis else 1) for k, n in enumerate(x.shape)])
    return x


def forward_by_numpy(network, pixels):
    layers = iter(zip(network.convolutions, network.normalizations, strict=False))

    def normalized(x):
        convolution, normalization = next(layers)
        return normalize(convolve(x, convolution), normalization)

    x = pixels[0].astype("float64")
    for _ in range(3):
        x = np.maximum(normalized(x), 0)
    for _ in range(network.blocks):
        x = x + normalized(np.maximum(normalized(x), 0))
    for _ in range(2):
        x = np.maximum(normalized(upsample(x)), 0)
    return 1 / (1 + np.exp(-convolve(x, network.convolutions[-1])))


def test_it_is_its_plain_forward_pass(rng):
    network, pixels = small_transformer(), rng.uniform(size=(1, 20, 28, 3)).astype("float32")
    np.testing.assert_allclose(network(pixels)[0], forward_by_numpy(network, pixels), rtol=1e-3, atol=1e-4)


def test_an_odd_size_is_the_padded_larger_one_cropped(rng):
    network, pixels = small_transformer(), rng.uniform(size=(1, 21, 30, 3)).astype("float32")
    padded = np.pad(pixels, ((0, 0), (0, 3), (0, 2), (0, 0)), "symmetric")
    np.testing.assert_allclose(network(pixels), network(padded)[:, :21, :30], atol=1e-6)


def test_its_own_statistics_given_change_nothing(rng):
    network, pixels = small_transformer(), image(rng, 24, 36)
    stylized, statistics = network.forward(pixels)
    assert [found.shape[-1] for found in statistics] == [layer.filters for layer in network.convolutions[:-1]]
    np.testing.assert_allclose(network.forward(pixels, statistics)[0], stylized, atol=1e-6)
    other = network.forward(image(rng, 24, 36))[1]
    assert np.abs(network.forward(pixels, other)[0] - stylized).max() > 0.01


def test_widths_are_johnsons_and_half_of_them():
    full, slim = (TransformerNet(transformer_net.FILTERS[width]) for width in ("full", "slim"))
    for network in (full, slim):
        network.build((None, None, None, 3))
    assert full.filters == (32, 64, 128)
    # Ten 3x3 convolutions at quarter resolution hold most of it; biases and normalizations included.
    assert 3.9 < full.count_params() / slim.count_params() < 4.0


@pytest.mark.parametrize("size", [(150, 210), (300, 70), (131, 97)])
def test_tiles_leave_no_seam(size, rng):
    """Tiles of 64 pixels by given statistics are the image of one tile by the same."""
    network, content = small_transformer(blocks=5), image(rng, *size)
    reduced = images.fit(content, round(max(size) * 64 / np.sqrt(np.prod(size))))
    whole = network.forward(content, network.forward(reduced)[1])[0]
    np.testing.assert_allclose(network.stylize(content, tile=64), whole, atol=1e-4)


def test_an_image_within_one_tile_is_the_networks_own(rng):
    network, content = small_transformer(), image(rng, 33, 47)
    np.testing.assert_array_equal(network.stylize(content, tile=64), network(content))


@pytest.fixture
def traced(monkeypatch):
    """Counts how often a network was computed in Python: eagerly, or to be compiled."""
    calls, forward = [], TransformerNet.forward
    monkeypatch.setattr(TransformerNet, "forward", lambda *args, **given: calls.append(1) or forward(*args, **given))
    return calls


def test_a_network_is_compiled_once_for_thirty_sizes_and_ways_and_says_nothing(traced, rng, caplog):
    one, many = small_transformer(), small_generator()
    with caplog.at_level(logging.WARNING):
        for number in range(30):
            picture = image(rng, 20 + number, 70 - number)
            one.stylize(picture)
            many.stylize(picture, seed=number)
        for width in (70, 81, 96):
            one.stylize(image(rng, 66, width), tile=64)
    assert len(traced) == 3  # Each network whole, and one by given statistics.
    assert not caplog.records


def test_many_networks_are_compiled_without_a_word(rng, caplog):
    """TensorFlow warns where one function is traced again and again."""
    with caplog.at_level(logging.WARNING):
        for seed in range(7):
            small_transformer(seed=seed, blocks=0).stylize(image(rng, 16, 20))
    assert not caplog.records


def test_what_is_compiled_dies_with_its_network(rng):
    for make in (small_transformer, small_generator):
        network = make()
        network.stylize(image(rng, 66, 70), tile=64)
        alive = weakref.ref(network)
        del network
        gc.collect()
        assert alive() is None


def test_a_network_that_has_stylized_sees_new_weights_and_is_saved_as_before(rng, tmp_path):
    network, other, picture = small_transformer(), small_transformer(seed=9), image(rng, 33, 47)
    network.stylize(picture)
    network.set_weights(other.get_weights())
    np.testing.assert_array_equal(network.stylize(picture), other(picture))
    serialization.save(network, tmp_path / "x.keras")
    serialization.save(other, tmp_path / "y.keras")
    assert len((tmp_path / "x.keras").read_bytes()) == pytest.approx(len((tmp_path / "y.keras").read_bytes()), abs=64)
    np.testing.assert_array_equal(serialization.load(tmp_path / "x.keras")(picture), other(picture))


def test_threads_may_use_one_network_at_the_same_time(rng):
    network = small_transformer()
    pictures = [image(rng, 30 + number, 70 - number) for number in range(8)]
    found = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: network.stylize(pictures[n])}))
        for n in range(len(pictures))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, picture in enumerate(pictures):
        np.testing.assert_array_equal(found[number], network(picture))


@pytest.mark.parametrize(
    ("size", "tile", "message"), [((40, 40), 63, "`tile` should be"), ((7, 40), 64, "40x7; at least 8")]
)
def test_a_size_or_tile_too_small_is_refused_in_one_line(size, tile, message, rng):
    with pytest.raises(ValueError, match=message):
        small_transformer().stylize(image(rng, *size), tile=tile)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"styles": [0]}, "a network of one style takes no style image"),
        ({"blend": [1.0]}, "takes no style image"),
        ({"transform": "monge"}, "`transform` and `precision` are for AdaIN's network"),
        ({"precision": "bfloat16"}, "`transform` and `precision` are for AdaIN's network"),
        ({"seed": 0}, "`seed` is for a generator"),
    ],
)
def test_an_option_it_does_not_take_is_refused(options, message, rng):
    with pytest.raises(UsageError, match=message):
        small_transformer().stylize(image(rng), **options)


@pytest.mark.parametrize(
    ("size", "tile", "tile_pixels"),
    [((300, 400), 1024, 300 * 400), ((2000, 1000), 512, 640 * 640), ((80, 900), 256, 80 * 384)],
)
def test_memory_grows_with_the_largest_tile_and_the_pixels(size, tile, tile_pixels):
    """Style images count by their pixels alone: a generator encodes reduced ones."""
    needed = small_transformer().memory_needed(size, (3000, 3000), options=Options(tile=tile))
    assert needed == 20_000_000 + 650 * tile_pixels + 60 * (size[0] * size[1] + 9_000_000)
