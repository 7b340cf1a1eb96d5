"""Pictures in one pass: sizes, tiles, blends, and the range of every option."""

import gc
import itertools
import logging
import math
import threading
import weakref

import numpy as np
import pytest
import tensorflow as tf
from conftest import SAMPLES, image, small_generator, small_transformer

from tfstyle import images, metrics, statistics, vgg
from tfstyle.errors import InputError
from tfstyle.feedforward import adain, inference, serialization
from tfstyle.feedforward.generator import Generator
from tfstyle.feedforward.transformer_net import Transformer
from tfstyle.statistics import sufficient_statistics


@pytest.fixture(scope="module")
def adain():
    return AdaIN()


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (50, 121), (16, 16)])
def test_any_size_comes_back_at_its_own(size, adain, rng):
    found = inference.paint(adain, image(rng, *size), [image(rng, 40, 57)]).numpy()
    assert found.shape == (1, *size, 3)
    assert found.min() >= 0.0
    assert found.max() <= 1.0


@pytest.mark.parametrize("size", [(150, 210), (300, 70), (131, 97)])
def test_tiles_give_the_picture_of_a_single_piece(size, adain, rng):
    content, style = image(rng, *size), image(rng, 90, 140)
    whole, tiled = (inference.paint(adain, content, [style], tile=tile) for tile in (4096, 64))
    np.testing.assert_allclose(tiled, whole, atol=2e-4)


class Counted:
    """AdaIN's network, with the sizes of what it encodes."""

    def __init__(self, network):
        self.decode, self._encode, self.sizes = network.decode, network.encode, []

    def encode(self, image):
        self.sizes.append(tuple(image.shape[1:3]))
        return self._encode(image)


def test_a_photograph_of_one_piece_is_encoded_once_and_a_piece_of_a_larger_one_twice(adain, rng):
    network, content, style = Counted(adain), image(rng, 50, 121), image(rng, 40, 57)
    painted = inference.paint(network, content, [style])
    assert network.sizes == [(40, 64), (56, 128)]
    own, target = (
        statistics.mean_std(sufficient_statistics(adain.encode(adain.in_whole_cells(picture, 8))))
        for picture in (content, style)
    )
    features = adain.encode(adain.in_whole_cells(content, 8))
    plain = adain.decode(adain.adaptive_instance_normalisation(features, own, target))[:, :50, :121]
    np.testing.assert_array_equal(painted, tf.clip_by_value(plain, 0.0, 1.0))
    network.sizes.clear()
    inference.paint(network, content, [style], tile=64)
    assert len(network.sizes) == 1 + 2 * 2  # One style; two pieces, for their statistics and with their surroundings.


@pytest.mark.parametrize("length", [8, 64, 72, 95 * 8, 1024, 1032])
def test_spans_cover_a_length_without_gap_or_overlap(length):
    spans = inference._spans(length, 64)
    assert (spans[0][0], spans[-1][1]) == (0, length)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    assert all(32 <= end - start <= 96 or length < 64 for start, end in spans)


def test_it_brings_the_style_and_keeps_the_content(adain):
    content, style = (images.fit(images.read(SAMPLES / f"{n}.jpg").image, 160) for n in ("chelsea", "starry_night"))
    network = vgg.load_vgg(metrics.LAYERS)
    painted = inference.paint(adain, content, [style])
    before, after = (metrics.compare(network, content, style, picture) for picture in (content, painted))
    assert after.sliced_wasserstein < 0.7 * before.sliced_wasserstein
    assert after.colors < 0.7 * before.colors
    assert after.content < metrics.compare(network, content, style, images.resize(style, 106, 160)).content


def test_alpha_goes_from_the_photograph_to_the_style(adain, rng):
    content, style = image(rng, 48, 64), image(rng, 40, 57)
    none, half, whole = (inference.paint(adain, content, [style], alpha=alpha).numpy() for alpha in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(none, inference.paint(adain, content, [content], alpha=1.0), atol=1e-3)
    assert np.abs(half - none).mean() < np.abs(whole - none).mean()
    assert np.abs(half - whole).mean() < np.abs(none - whole).mean()


def test_a_blend_of_one_is_that_one_and_of_twins_the_twin(adain, rng):
    content, first, second = image(rng, 40, 56), image(rng, 40, 57), 1.0 - image(rng, 33, 60)
    alone = inference.paint(adain, content, [first])
    for styles, blend in (([first, second], [2.0, 0.0]), ([first, first], None)):
        np.testing.assert_allclose(inference.paint(adain, content, styles, blend=blend), alone, atol=1e-4)
    assert np.abs(inference.paint(adain, content, [first, second]) - alone).mean() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "`alpha` should be from 0 to 1"),
        ({"tile": 10}, "`tile` should be at least 64"),
        ({"blend": [1.0, 1.0]}, "one weight of 0 or more for each of 1 styles"),
        ({"blend": [0.0]}, "one weight of 0 or more"),
        ({"blend": [-1.0]}, "one weight of 0 or more"),
        ({"blend": [math.nan]}, "one weight of 0 or more"),
        ({"blend": [math.inf]}, "one weight of 0 or more"),
    ],
)
def test_an_option_out_of_range_is_one_line(options, message, adain, rng):
    with pytest.raises(ValueError, match=message):
        inference.paint(adain, image(rng), [image(rng)], **options)


@pytest.mark.parametrize("size", [(150, 210), (300, 70), (131, 97)])
def test_a_transformers_tiles_leave_no_seam(size, rng):
    """Painted in pieces of 64 pixels by given statistics, as in one piece by the same."""
    network, content = small_transformer(blocks=5), image(rng, *size)
    reduced = images.fit(content, round(max(size) * 64 / np.sqrt(np.prod(size))))
    whole = network.paint(content, network.paint(reduced)[1])[0]
    np.testing.assert_allclose(inference.transform(network, content, tile=64), whole, atol=1e-4)


def test_a_picture_within_one_tile_is_the_networks_own(rng):
    network, content = small_transformer(), image(rng, 33, 47)
    np.testing.assert_array_equal(inference.transform(network, content, tile=64), network(content))


def test_a_generators_tiles_leave_no_seam_in_any_manner(rng):
    network, content = small_generator(blocks=5), image(rng, 150, 210)
    code = inference.choose_code(network, [], seed=4)
    changes = network.changes(code)
    reduced = images.fit(content, round(210 * 64 / np.sqrt(150 * 210)))
    whole = network.paint(content, network.paint(reduced, changes=changes)[1], changes)[0]
    np.testing.assert_allclose(inference.transform(network, content, code=code, tile=64), whole, atol=1e-4)
    small = content[:, :33, :47]
    np.testing.assert_allclose(inference.transform(network, small, code=code, tile=64), network(small, code), atol=1e-6)


@pytest.fixture
def traced(monkeypatch):
    """How often a transformer was computed in Python: eagerly, or to be compiled."""
    calls, paint = [], Transformer.paint
    monkeypatch.setattr(Transformer, "paint", lambda *args, **given: calls.append(1) or paint(*args, **given))
    return calls


def test_a_network_is_compiled_once_for_thirty_sizes_and_ways_and_says_nothing(traced, rng, caplog):
    one, many = small_transformer(), small_generator()
    code = many.random_code(1)
    with caplog.at_level(logging.WARNING):
        for number in range(30):
            picture = image(rng, 20 + number, 70 - number)
            inference.transform(one, picture)
            inference.transform(many, picture, code=code)
        for width in (70, 81, 96):
            inference.transform(one, image(rng, 66, width), tile=64)
    assert len(traced) == 3  # Each network whole, and one by given statistics.
    assert not caplog.records


def test_many_networks_are_compiled_without_a_word(rng, caplog):
    """TensorFlow warns where one function is traced again and again."""
    with caplog.at_level(logging.WARNING):
        for seed in range(7):
            inference.transform(small_transformer(seed=seed, blocks=0), image(rng, 16, 20))
    assert not caplog.records


def test_what_is_compiled_dies_with_its_network(rng):
    for make in (small_transformer, small_generator):
        network = make()
        code = {"code": network.random_code(1)} if isinstance(network, Generator) else {}
        inference.transform(network, image(rng, 66, 70), tile=64, **code)
        alive = weakref.ref(network)
        del network
        gc.collect()
        assert alive() is None


def test_a_network_that_has_painted_sees_new_weights_and_is_saved_as_before(rng, tmp_path):
    network, other, picture = small_transformer(), small_transformer(seed=9), image(rng, 33, 47)
    inference.transform(network, picture)
    network.set_weights(other.get_weights())
    np.testing.assert_array_equal(inference.transform(network, picture), other(picture))
    serialization.save(network, tmp_path / "x.keras")
    serialization.save(other, tmp_path / "y.keras")
    assert len((tmp_path / "x.keras").read_bytes()) == pytest.approx(len((tmp_path / "y.keras").read_bytes()), abs=64)
    np.testing.assert_array_equal(serialization.load(tmp_path / "x.keras")(picture), other(picture))


def test_threads_may_use_one_network_at_the_same_time(rng):
    network = small_transformer()
    pictures = [image(rng, 30 + number, 70 - number) for number in range(8)]
    found = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: inference.transform(network, pictures[n])}))
        for n in range(len(pictures))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, picture in enumerate(pictures):
        np.testing.assert_array_equal(found[number], network(picture))


def test_a_code_is_that_of_a_seed_of_a_painting_or_between_several(rng):
    network = small_generator()
    paintings = [image(rng, 40, 300), 1.0 - image(rng, 60, 50)]
    np.testing.assert_array_equal(inference.choose_code(network, [], seed=4), network.random_code(4))
    reduced = [images.fit(paintings[0], inference.STYLE_SIDE), paintings[1]]
    one, other = (network.code_of(painting)[0] for painting in reduced)
    found = inference.choose_code(network, paintings, blend=[3.0, 1.0])
    np.testing.assert_allclose(found, 0.75 * one + 0.25 * other, atol=1e-5)
    with pytest.raises(ValueError, match="one weight of 0 or more for each of 2 styles"):
        inference.choose_code(network, paintings, blend=[1.0])
    with pytest.raises(InputError, match="the painting is 9x5; at least 8 pixels"):
        inference.choose_code(network, [image(rng, 5, 9)])


@pytest.mark.parametrize(
    ("size", "tile", "message"), [((40, 40), 63, "`tile` should be"), ((7, 40), 64, "40x7; at least 8")]
)
def test_a_transformer_refuses_in_one_line(size, tile, message, rng):
    with pytest.raises(ValueError, match=message):
        inference.transform(small_transformer(), image(rng, *size), tile=tile)


def test_a_picture_too_small_is_refused(adain, rng):
    with pytest.raises(InputError, match="the painting is 9x5; at least 9 pixels are needed on each side"):
        inference.paint(adain, image(rng), [image(rng, 5, 9)])


@pytest.mark.parametrize(
    ("sizes", "tile", "piece"),
    [
        ([(300, 400), (200, 100)], 1024, 300 * 400),
        ([(300, 400), (700, 900)], 1024, 700 * 900),
        ([(2000, 3000), (200, 100)], 512, 576 * 576),
        ([(100, 3000), (90, 100)], 500, 100 * (520 + 64)),  # In pieces of 496, the last of 520.
    ],
)
def test_memory_of_adain_grows_with_the_largest_piece_and_the_pixels(sizes, tile, piece, adain):
    whole = sum(height * width for height, width in sizes)
    assert inference.memory_needed(adain, *sizes, tile=tile) == 230_000_000 + 1000 * piece + 60 * whole


@pytest.mark.parametrize(
    ("size", "tile", "piece"),
    [((300, 400), 1024, 300 * 400), ((2000, 1000), 512, 640 * 640), ((80, 900), 256, 80 * 384)],
)
def test_memory_of_a_transformer_grows_with_the_largest_piece_and_the_pixels(size, tile, piece):
    """Paintings count by their pixels alone: a generator looks at reduced ones."""
    needed = inference.memory_needed(small_transformer(), size, (3000, 3000), tile=tile)
    assert needed == 20_000_000 + 650 * piece + 60 * (size[0] * size[1] + 9_000_000)
