"""The network against a plain loop, Keras' own VGG-19, and worked numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import MINI_BLOCKS, image

from tfstyle import vgg, weights
from tfstyle.errors import InputError, TfstyleError
from tfstyle.pixel_range import scale_pixels
from tfstyle.vgg19 import VGG19_BLOCKS, layer_names

ALL = layer_names(MINI_BLOCKS)


def random_network(layers, rng, **options):
    network = vgg.VGG(layers, **({"blocks": MINI_BLOCKS} | options))
    network.build((None, None, None, 3))
    for variable in network.variables:
        variable.assign(rng.normal(scale=0.3, size=variable.shape))
    return network


def pooled(x, reduce, ceil_mode):
    """Each window of 2x2, an odd last row or column left out or alone in its window."""
    count = np.ceil if ceil_mode else np.floor
    found = np.zeros((*(int(count(side / 2)) for side in x.shape[:2]), x.shape[2]))
    for row, column in np.ndindex(found.shape[:2]):
        found[row, column] = reduce(x[2 * row : 2 * row + 2, 2 * column : 2 * column + 2], axis=(0, 1))
    return found


def features_by_loops(network, pixels, pooling, edge="zero", ceil_mode=False):
    """Before and after each ReLU, one position at a time, from the definition of a convolution with its padding."""
    x, found = pixels[0].astype("float64"), {}
    for convolution in network.convolutions:
        if convolution.name.endswith("conv1") and found:
            reduce = np.max if pooling == "max" else np.mean
            x = pooled(x, reduce, ceil_mode)
        kernel, bias = (value.astype("float64") for value in convolution.get_weights())
        mode = {"zero": "constant", "reflect": "reflect", "replicate": "edge" if not found else "constant"}[edge]
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode)
        before = np.zeros((*x.shape[:2], len(bias)))
        for row, column in np.ndindex(x.shape[:2]):
            before[row, column] = np.tensordot(padded[row : row + 3, column : column + 3], kernel, 3) + bias
        x = np.maximum(before, 0)
        found[convolution.name] = {"pre": before, "post": x}
    return found


@pytest.mark.parametrize("pooling", vgg.POOLINGS)
@pytest.mark.parametrize("tap", vgg.ACTIVATIONS)
@pytest.mark.parametrize("edge", vgg.PADDING_MODES)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_every_layer_matches_its_definition(ceil_mode, edge, tap, pooling, rng):
    network = random_network(
        ALL, rng, pooling=pooling, ceil_mode=ceil_mode, activation=tap, padding_mode=edge, input_scale="none"
    )
    pixels = image(rng, 35, 50)
    expected = features_by_loops(network, pixels, pooling, edge, ceil_mode)
    found = network(pixels)
    assert list(found) == list(ALL)
    for name, features in found.items():
        np.testing.assert_allclose(features[0], expected[name][tap], rtol=1e-4, atol=1e-5)


def test_layers_can_be_tapped_each_in_its_own_way(rng):
    network = random_network(ALL[:3], rng, activation={ALL[1]: "pre"})
    features = network(image(rng))
    assert float(tf.reduce_min(features[ALL[1]])) < 0
    assert float(tf.reduce_min(features[ALL[0]])) == 0


@pytest.mark.parametrize("mode", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("edge", vgg.PADDING_MODES)
@pytest.mark.parametrize("pooling", vgg.POOLINGS)
@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("tap", vgg.ACTIVATIONS)
def test_the_pullback_is_tensorflows_gradient(tap, flips, pooling, edge, mode, rng):
    network = random_network(ALL, rng, activation=tap, pooling=pooling, padding_mode=edge, input_scale="none")
    picture = tf.constant(image(rng, 35, 50))
    with tf.GradientTape() as tape:
        tape.watch(picture)
        features = network(picture)
        value = tf.add_n([tf.reduce_sum(f**3) for f in features.values()])
    expected = tape.gradient(value, picture)

    @mode
    def gradient(picture):
        features, pullback = network.features_and_pullback(picture, network.flipped_kernels() if flips else None)
        return pullback({layer: lambda f=f: 3.0 * f**2 for layer, f in features.items()})

    np.testing.assert_allclose(gradient(picture), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_gradient_of_a_layer_is_asked_for_when_the_deeper_ones_have_arrived(rng):
    network, asked = random_network(ALL[:3], rng), []

    @tf.function(input_signature=[tf.TensorSpec([1, 9, 14, 3])])
    def gradient(picture):
        features, pullback = network.features_and_pullback(picture)

        def at(layer):
            asked.append(layer)
            return tf.square(features[layer], name=f"own_{layer}")

        return pullback({layer: (lambda layer=layer: at(layer)) for layer in network.feature_layers})

    graph = gradient.get_concrete_function().graph
    assert asked == [ALL[2], ALL[1], ALL[0]]
    # In the graph, the gradient at block1_conv1 waits for one computed from the gradient at block1_conv2.
    (waits_for,) = graph.get_operation_by_name("own_block1_conv1").control_inputs
    before, ancestors = [waits_for], set()
    while before:
        operation = before.pop()
        ancestors.add(operation.name)
        before += [given.op for given in operation.inputs if given.op.name not in ancestors]
    assert {"own_block1_conv2", "own_block2_conv1"} <= ancestors


def test_layers_without_a_gradient_take_no_part_in_the_pullback(rng):
    network, picture = random_network(ALL[:3], rng), tf.constant(image(rng, 9, 14))
    features, pullback = network.features_and_pullback(picture)
    found = pullback({ALL[0]: lambda: tf.ones_like(features[ALL[0]])})
    shallow = random_network(ALL[:1], rng)
    shallow.convolutions[0].set_weights(network.convolutions[0].get_weights())
    with tf.GradientTape() as tape:
        tape.watch(picture)
        value = tf.reduce_sum(shallow(picture)[ALL[0]])
    np.testing.assert_allclose(found, tape.gradient(value, picture), rtol=1e-4)


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
        scale_pixels(pixel, "keras")[0, 0, 0], [0 - 103.939, 127.5 - 116.779, 255 - 123.68], rtol=1e-5
    )
    np.testing.assert_allclose(
        scale_pixels(pixel, "torch")[0, 0, 0],
        [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, -0.406 / 0.225],
        rtol=1e-5,
    )
    np.testing.assert_array_equal(scale_pixels(pixel, "none"), pixel)


def test_keras_scaling_is_keras_own(rng):
    pixels = image(rng, 5, 8)
    expected = keras.applications.vgg19.preprocess_input(255.0 * pixels)
    np.testing.assert_allclose(scale_pixels(pixels, "keras"), expected, rtol=1e-5, atol=1e-4)


def test_every_layer_has_the_features_of_keras_vgg19(either_weights, rng):
    layers = layer_names(VGG19_BLOCKS)
    ours = vgg.load_vgg(layers, weights=either_weights)
    by_keras = None if either_weights == "embedded" else either_weights
    plain = keras.applications.VGG19(include_top=False, weights=by_keras)
    for layer, arrays in weights.read("embedded").layers.items() if by_keras is None else ():
        plain.get_layer(layer).set_weights(arrays)
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
        ({"padding_mode": "up"}, "unknown padding mode 'up'"),
        ({"activation": "before"}, "unknown activation 'before'"),
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


def test_flipped_kernels_give_the_hand_worked_gradient():
    """Of one output, the gradient is the kernel itself around that place."""
    network = vgg.VGG(["block1_conv2"], activation="pre", blocks=((1, 1),), input_scale="none")
    network.build((None, None, None, 3))
    kernel = np.arange(1.0, 10.0).reshape(3, 3, 1, 1)
    network.convolutions[1].kernel.assign(kernel)
    upstream = np.zeros((1, 4, 6, 1), "float32")
    upstream[0, 1, 3, 0] = 1.0
    expected = np.zeros((4, 6))
    expected[0:3, 2:5] = kernel[..., 0, 0]
    (flipped,) = network.flipped_kernels().values()
    np.testing.assert_allclose(tf.nn.conv2d(upstream, flipped, 1, "SAME")[0, ..., 0], expected, atol=1e-6)


def test_new_weights_have_new_flipped_kernels(rng):
    network = random_network(ALL[:2], rng)
    before = network.flipped_kernels()[ALL[1]].numpy()
    network.set_weights([2.0 * weight for weight in network.get_weights()])
    np.testing.assert_allclose(network.flipped_kernels()[ALL[1]], 2.0 * before, rtol=1e-6)


def test_only_convolutions_padded_with_zeros_have_flipped_kernels(rng):
    assert list(random_network(ALL, rng).flipped_kernels()) == list(ALL[1:])
    assert not random_network(ALL, rng, padding_mode="reflect").flipped_kernels()


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((1, 20, 30, 3), "uint8"), r"floating .* received uint8 \(1, 20, 30, 3\)"),
        (np.zeros((20, 30, 3), "float32"), r"received float32 \(20, 30, 3\)"),
        (np.zeros((1, 20, 30, 1), "float32"), r"received float32 \(1, 20, 30, 1\)"),
        (np.zeros((1, 2, 2, 3), "float32"), "is 2x2 where the network needs 16 pixels"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(picture, message, rng):
    with pytest.raises(TfstyleError, match=message) as caught:
        random_network(ALL, rng)(picture)
    assert "\n" not in str(caught.value)


def test_a_plain_call_keeps_no_activations(rng, monkeypatch):
    """In eager mode the tapes of the pullback would hold every layer's."""
    monkeypatch.setattr(vgg, "with_pullback", None)
    random_network(ALL, rng)(image(rng, 35, 50))


def test_reflection_needs_two_positions_at_the_deepest_layer(rng):
    network = random_network(ALL, rng, padding_mode="reflect")
    assert network.smallest_side == 2 * random_network(ALL, rng).smallest_side
    network(image(rng, network.smallest_side, 70))
    with pytest.raises(InputError, match=f"needs {network.smallest_side} pixels on each side"):
        network(image(rng, network.smallest_side - 1, 70))
