"""The network against a plain loop, Keras' own VGG-19, and worked numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import MINI_BLOCKS, image

from tfstyle import vgg
from tfstyle.recipe import VGG19_BLOCKS, layer_names

ALL = layer_names(MINI_BLOCKS)


def random_network(layers, rng, **options):
    network = vgg.VGG(layers, **({"blocks": MINI_BLOCKS} | options))
    network.build((None, None, None, 3))
    for variable in network.variables:
        variable.assign(rng.normal(scale=0.3, size=variable.shape))
    return network


def pooled(x, reduce, rounding):
    """Each window of 2x2, an odd last row or column left out or alone in its window."""
    count = np.floor if rounding == "floor" else np.ceil
    found = np.zeros((*(int(count(side / 2)) for side in x.shape[:2]), x.shape[2]))
    for row, column in np.ndindex(found.shape[:2]):
        found[row, column] = reduce(x[2 * row : 2 * row + 2, 2 * column : 2 * column + 2], axis=(0, 1))
    return found


def features_by_loops(network, pixels, pooling, edge="zero", rounding="floor"):
    """Before and after each ReLU, one position at a time, from the definition of a convolution with its padding."""
    x, found = pixels[0].astype("float64"), {}
    for convolution in network.convolutions:
        if convolution.name.endswith("conv1") and found:
            reduce = np.max if pooling == "max" else np.mean
            x = pooled(x, reduce, rounding)
        kernel, bias = (value.astype("float64") for value in convolution.get_weights())
        mode = {"zero": "constant", "reflect": "reflect", "replicate": "edge" if not found else "constant"}[edge]
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode)
        before = np.zeros((*x.shape[:2], len(bias)))
        for row, column in np.ndindex(x.shape[:2]):
            before[row, column] = np.tensordot(padded[row : row + 3, column : column + 3], kernel, 3) + bias
        x = np.maximum(before, 0)
        found[convolution.name] = {"conv": before, "relu": x}
    return found


@pytest.mark.parametrize("pooling", vgg.POOLINGS)
@pytest.mark.parametrize("tap", vgg.TAPS)
@pytest.mark.parametrize("edge", vgg.EDGES)
@pytest.mark.parametrize("rounding", vgg.ROUNDINGS)
def test_every_layer_matches_its_definition(rounding, edge, tap, pooling, rng):
    network = random_network(ALL, rng, pooling=pooling, rounding=rounding, taps=tap, edge=edge, input_scale="none")
    pixels = image(rng, 35, 50)
    expected = features_by_loops(network, pixels, pooling, edge, rounding)
    found = network(pixels)
    assert list(found) == list(ALL)
    for name, features in found.items():
        np.testing.assert_allclose(features[0], expected[name][tap], rtol=1e-4, atol=1e-5)


def test_layers_can_be_tapped_each_in_its_own_way(rng):
    network = random_network(ALL[:3], rng, taps={ALL[1]: "conv"})
    features = network(image(rng))
    assert float(tf.reduce_min(features[ALL[1]])) < 0
    assert float(tf.reduce_min(features[ALL[0]])) == 0


@pytest.mark.parametrize("mode", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("tap", vgg.TAPS)
def test_statistics_on_the_way_and_their_gradient_are_those_taken_afterwards(tap, mode, rng):
    layers = ("block1_conv2", "block2_conv1", "block3_conv1")
    network, picture = random_network(layers, rng, taps=tap), tf.constant(image(rng, 21, 13))
    statistics = {layer: lambda f: tf.reduce_mean(f**3, axis=(1, 2)) for layer in layers[:2]}

    def gradient(on_the_way):
        with tf.GradientTape() as tape:
            tape.watch(picture)
            features, found = network.describe(picture, statistics if on_the_way else {})
            if not on_the_way:
                found = {layer: statistics[layer](features[layer]) for layer in statistics}
            value = tf.add_n([tf.reduce_sum(v) for v in found.values()]) + tf.reduce_sum(features["block3_conv1"] ** 2)
            value += tf.reduce_sum(features["block2_conv1"] ** 2)  # A layer may be looked at both ways.
        return value, tape.gradient(value, picture)

    for found, expected in zip(mode(gradient)(True), gradient(False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_gradient_of_a_statistic_waits_for_the_deeper_layers(rng):
    network = random_network(("block1_conv1", "block2_conv1"), rng)

    @tf.function(input_signature=[tf.TensorSpec([1, 9, 14, 3])])
    def gradient(picture):
        described = network.describe(picture, dict.fromkeys(network.tapped, tf.reduce_mean))[1]
        return tf.gradients(tf.add_n(list(described.values())), picture)

    operations = gradient.get_concrete_function().graph.get_operations()
    assert sum(any("conv" in c.name.lower() or c.inputs for c in o.control_inputs) for o in operations) >= 2


def test_the_network_ends_at_the_deepest_layer(rng):
    network = random_network(("block2_conv1", "block1_conv2"), rng)
    assert [c.name for c in network.convolutions] == ["block1_conv1", "block1_conv2", "block2_conv1"]
    assert network.smallest_side == 2
    assert random_network(ALL, rng).smallest_side == 16


def test_it_is_frozen(rng):
    assert random_network(ALL, rng).trainable_variables == []


def test_pixels_worked_by_hand():
    pixel = np.array([[[[1.0, 0.5, 0.0]]]], "float32")
    np.testing.assert_allclose(
        vgg.scale_pixels(pixel, "keras")[0, 0, 0], [0 - 103.939, 127.5 - 116.779, 255 - 123.68], rtol=1e-5
    )
    np.testing.assert_allclose(
        vgg.scale_pixels(pixel, "torch")[0, 0, 0],
        [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, -0.406 / 0.225],
        rtol=1e-5,
    )
    np.testing.assert_array_equal(vgg.scale_pixels(pixel, "none"), pixel)


def test_keras_scaling_is_keras_own(rng):
    pixels = image(rng, 5, 8)
    expected = keras.applications.vgg19.preprocess_input(255.0 * pixels)
    np.testing.assert_allclose(vgg.scale_pixels(pixels, "keras"), expected, rtol=1e-5, atol=1e-4)


def test_a_saved_network_comes_back_the_same(tmp_path, rng):
    network = random_network(ALL, rng, pooling="average", taps={ALL[0]: "conv"}, input_scale="torch")
    pixels = image(rng)
    network.save(tmp_path / "vgg.keras")
    again = keras.saving.load_model(tmp_path / "vgg.keras", safe_mode=True)
    for name, features in network(pixels).items():
        np.testing.assert_array_equal(again(pixels)[name], features)


def test_every_layer_has_the_features_of_keras_vgg19(raw_weights, rng):
    layers = layer_names(VGG19_BLOCKS)
    ours = vgg.load_vgg(layers, weights=raw_weights)
    plain = keras.applications.VGG19(include_top=False, weights=raw_weights)
    plain = keras.Model(plain.inputs, [plain.get_layer(name).output for name in layers])
    pixels = image(rng, 50, 71)
    expected = plain(keras.applications.vgg19.preprocess_input(255.0 * pixels))
    for found, reference in zip(ours(pixels).values(), expected, strict=True):
        assert np.linalg.norm(found - reference) <= 1e-5 * np.linalg.norm(reference)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["blok1_conv1"]}, "unknown layer 'blok1_conv1'; did you mean 'block1_conv1'"),
        ({"layers": ["block3_conv2"]}, "unknown layer 'block3_conv2'"),
        ({"layers": []}, "layers is empty"),
        ({"pooling": "avg"}, "unknown pooling 'avg'"),
        ({"rounding": "up"}, "unknown rounding 'up'"),
        ({"taps": "before"}, "unknown tap 'before'"),
        ({"input_scale": "caffe"}, "unknown input scale 'caffe'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(options, message):
    with pytest.raises(ValueError, match=message):
        vgg.VGG(**({"layers": ["block1_conv1"], "blocks": MINI_BLOCKS} | options))


def test_a_channels_first_keras_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ImportError, match="configured for channels_first"):
            vgg.VGG(["block1_conv1"], blocks=MINI_BLOCKS)
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("edge", vgg.EDGES)
@pytest.mark.parametrize("pooling", vgg.POOLINGS)
def test_turned_kernels_give_the_same_features_and_gradients(pooling, edge, rng):
    network = random_network(ALL, rng, pooling=pooling, edge=edge, input_scale="none")
    pixels = tf.constant(image(rng, 35, 50))

    def found():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            features = network(pixels)
            value = tf.add_n([tf.reduce_mean(feature**2) for feature in features.values()])
        return *features.values(), tape.gradient(value, pixels)

    own = found()
    network.turn_kernels()
    for compute in (found, tf.function(found)):
        for before, after in zip(own, compute(), strict=True):
            np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())
    assert len(network._turned) == (0 if edge == "reflect" else len(ALL) - 1)


def test_turned_kernels_give_the_hand_worked_gradient():
    """Of one output, the gradient is the kernel itself around that place."""
    network = vgg.VGG(["block1_conv2"], taps="conv", blocks=((1, 1),), input_scale="none")
    network.build((None, None, None, 3))
    kernel = np.arange(1.0, 10.0).reshape(3, 3, 1, 1)
    network.convolutions[1].kernel.assign(kernel)
    network.turn_kernels()
    features = tf.ones((1, 4, 6, 1))
    with tf.GradientTape() as tape:
        tape.watch(features)
        value = network._convolved(features, network.convolutions[1])[0, 1, 3, 0]
    expected = np.zeros((4, 6))
    expected[0:3, 2:5] = kernel[..., 0, 0]
    np.testing.assert_allclose(tape.gradient(value, features)[0, ..., 0], expected, atol=1e-6)
