"""Every published recipe against a plain computation, in its own space, from facts written down here once more.

Nothing of tfstyle's network, losses or optimisers is used on the plain side: convolutions one after the other, sums as
the sources print them, L-BFGS in NumPy, Adam and SGD from Keras.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SAMPLES
from test_optimizers import plain_lbfgs

import tfstyle
from tfstyle import images, weights
from tfstyle.magnitudes import RAW_SCALES

FIRST = ("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "block3_conv1")
FIVE = tuple(f"block{i}_conv1" for i in range(1, 6))
MEAN = np.array([103.939, 116.779, 123.68], "float32")
TORCH = np.array([0.485, 0.456, 0.406], "float32"), np.array([0.229, 0.224, 0.225], "float32")

# Where the variable lives: (to it from RGB in 0-1, back).
SPACES = {
    "unit": (lambda x: x, lambda v: v),
    "torch": (lambda x: (x - TORCH[0]) / TORCH[1], lambda v: v * TORCH[1] + TORCH[0]),
    "caffe": (lambda x: 255.0 * x[..., ::-1] - MEAN, lambda v: ((v + MEAN) / 255.0)[..., ::-1]),
}


def flat(f):
    return tf.reshape(f, [-1, f.shape[-1]])


def gram_hw(f):
    return tf.matmul(flat(f), flat(f), transpose_a=True) / (f.shape[1] * f.shape[2])


def gram_chw(f):
    return gram_hw(f) / f.shape[-1]


def gram_sum(f):
    return tf.matmul(flat(f), flat(f), transpose_a=True)


def mse(a, b):
    return tf.reduce_mean((a - b) ** 2)


def differences(x):
    return x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]


def tv_squares(x):
    return sum(tf.reduce_mean(d**2) for d in differences(x))


def tv_book(x):
    return 0.5 * sum(tf.reduce_mean(tf.abs(d)) for d in differences(x))


def tv_sum(x):
    return sum(tf.reduce_sum(tf.abs(d)) for d in differences(x))


def tv_keras(x):
    a = (x[:, :-1, :-1] - x[:, 1:, :-1]) ** 2
    b = (x[:, :-1, :-1] - x[:, :-1, 1:]) ** 2
    return tf.reduce_sum((a + b) ** 1.25)


def tv_nine(x):
    x = tf.concat([x[:, :1], x, x[:, -1:]], 1)
    x = tf.concat([x[:, :, :1], x, x[:, :, -1:]], 2)
    middle = x[:, 1:-1, 1:-1]
    straight = (x[:, 1:-1, 2:] - middle) ** 2 + (x[:, 2:, 1:-1] - middle) ** 2
    diagonal = (x[:, 2:, 2:] - middle) ** 2 + (x[:, 2:, :-2] - middle) ** 2
    return 2 * tf.reduce_mean(straight / 3 + diagonal / 12)


@tf.custom_gradient
def newton_schulz(a):
    """Root of a symmetric matrix by twelve coupled Newton-Schulz steps, and its gradient by twelve on the Lyapunov
    equation, as published for any gradient that arrives (Lin & Maji 2017)."""
    norm = tf.sqrt(tf.reduce_sum(a * a))
    eye = tf.eye(a.shape[0])
    y, z = a / norm, eye
    for _ in range(12):
        t = (3 * eye - z @ y) / 2
        y, z = y @ t, t @ z
    root = y * tf.sqrt(norm)

    def gradient(upstream):
        size = tf.sqrt(tf.reduce_sum(root * root))
        s, q = root / size, upstream / size
        for _ in range(12):
            q = (q @ (3 * eye - s @ s) - s @ (s @ q - q @ s)) / 2
            s = s @ (3 * eye - s @ s) / 2
        return q / 2

    return root, gradient


def mean_and_covariance(f):
    mean = tf.reduce_mean(flat(f), 0)
    centred = flat(f) - mean
    return mean, tf.matmul(centred, centred, transpose_a=True) / centred.shape[0] + 1e-4 * tf.eye(f.shape[-1])


def w2(f, g):
    (m, c), (m2, c2) = mean_and_covariance(f), mean_and_covariance(g)
    root = newton_schulz(c2)
    return mse(m, m2) + tf.reduce_mean(tf.linalg.diag_part(c + c2 - 2 * newton_schulz(root @ c @ root)))


def gram_style(gram, layer_weights):
    return lambda fs, gs: sum(w * mse(gram(f), gram(g)) for w, f, g in zip(layer_weights, fs, gs, strict=True))


def keras_style(fs, gs, size=96 * 64):
    """sum((S - C)²) / (4 · 3² · size²) for each layer, over five."""
    return (
        sum(tf.reduce_sum((gram_sum(f) - gram_sum(g)) ** 2) / (36.0 * size**2) for f, g in zip(fs, gs, strict=True)) / 5
    )


def w2_style(fs, gs):
    return sum(w / 341 * w2(f, g) for w, f, g in zip((256, 64, 16, 4, 1), fs, gs, strict=True))


ONES = (1.0,) * 5
RECIPES = {
    "pytorch-lbfgs": {
        "network": "torchvision", "tap": "conv", "style_layers": FIRST, "content_layer": "block2_conv2",
        "style": gram_style(gram_chw, ONES), "weights": (1.0, 1e6, 0.0), "space": "unit", "clamp": True,
        "optimizer": "lbfgs", "fit": "content",
    },
    "avgpool-noise": {
        "network": "torchvision", "tap": "conv", "style_layers": FIRST, "content_layer": "block2_conv2", "pool": "avg",
        "style": gram_style(gram_chw, ONES), "weights": (1.0, 1e6, 0.0), "space": "unit", "clamp": True, "noise": 1.0,
        "optimizer": lambda: keras.optimizers.Adam(0.1), "fit": "content",
    },
    "tensorflow-tutorial": {
        "network": "caffe", "content_layer": "block5_conv2", "style": gram_style(gram_hw, (0.2,) * 5),
        "weights": (1e4, 1e-2, 1e8), "tv": tv_squares, "space": "unit", "clamp": True,
        "optimizer": lambda: keras.optimizers.Adam(0.02, beta_1=0.99, epsilon=0.1),
    },
    "d2l": {
        "network": "torchvision", "tap": "conv", "content_layer": "block4_conv4", "style": gram_style(gram_chw, ONES),
        "weights": (1.0, 1e4, 10.0), "tv": tv_book, "space": "torch", "fit": "content",
        "optimizer": lambda: keras.optimizers.Adam(0.3),
    },
    "johnson": {
        "network": "caffe", "content_layer": "block4_conv2", "style": gram_style(gram_chw, ONES),
        "weights": (5.0, 100.0, 1e-3), "tv": tv_sum, "space": "caffe", "optimizer": "lbfgs",
        # In pixels of 0-255 the first, tiny step of L-BFGS changes the gradient by little more than rounding, so two
        # computations part soon: the losses are compared along tfstyle's own path.
        "along": True, "noise": 0.001,
    },
    "gatys": {
        "network": "caffe", "content_layer": "block4_conv2", "space": "caffe", "optimizer": "lbfgs", "along": True,
        "style": gram_style(gram_hw, [1e3 / n**2 for n in (64, 128, 256, 512, 512)]), "weights": (1.0, 1.0, 0.0),
    },
    "anish": {
        "network": "caffe", "content_layer": "block4_conv2", "style": gram_style(gram_chw, (0.2,) * 5),
        "weights": (5.0, 500.0, 100.0), "tv": tv_squares, "space": "caffe", "noise": 0.256, "fit": "width",
        "optimizer": lambda: keras.optimizers.Adam(10.0, epsilon=1e-8),
    },
    "keras-io": {
        "network": "caffe", "content_layer": "block5_conv2", "style": keras_style, "content": "sum",
        "weights": (2.5e-8, 1e-6, 1e-6), "tv": tv_keras, "space": "caffe", "fit": "content",
        # At 96 pixels a fortieth of the rate is as stable as the whole one at 600.
        "optimizer": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(2.5, 100, 0.96)),
        "options": {"learning_rate": 2.5},
    },
    "crowson": {
        "network": "torchvision", "content_layer": "block4_conv2", "style": w2_style, "weights": (0.015, 1.0, 2.0),
        "tv": tv_nine, "space": "unit", "clamp": True, "edge": "replicate",
        "optimizer": lambda: keras.optimizers.Adam(0.02, beta_2=0.99, epsilon=1e-8),
    },
}  # fmt: skip


def features(network, x, facts, wanted):
    """The wanted layers of an RGB picture in 0-1, by convolution after convolution."""
    x = 255.0 * x[..., ::-1] - MEAN
    found = {}
    for layer, (kernel, bias) in network.items():
        if layer.endswith("conv1") and found:
            x = (tf.nn.avg_pool2d if facts.get("pool") == "avg" else tf.nn.max_pool2d)(x, 2, 2, "VALID")
        if layer == "block1_conv1" and facts.get("edge") == "replicate":
            x = tf.concat([x[:, :1], x, x[:, -1:]], 1)
            x = tf.nn.conv2d(tf.concat([x[:, :, :1], x, x[:, :, -1:]], 2), kernel, 1, "VALID") + bias
        else:
            x = tf.nn.conv2d(x, kernel, 1, "SAME") + bias
        before, x = x, tf.nn.relu(x)
        found[layer] = before if facts.get("tap") == "conv" else x
        if set(wanted) <= set(found):
            return [found[layer] for layer in wanted]
    raise AssertionError(wanted)


def plain_run(facts, network, scales, content, style, steps, path=()):
    """(content, style, total variation) before each of the steps, or at the images of a path."""
    wanted = (*facts.get("style_layers", FIVE), facts["content_layer"])
    to_space, from_space = SPACES[facts["space"]]

    def describe(picture):
        found = features(network, picture, facts, wanted)
        return [scales.get(name, 1.0) * f for name, f in zip(wanted, found, strict=True)]

    style_targets, content_target = describe(style)[:-1], describe(content)[-1]
    tv = facts.get("tv", lambda x: tf.constant(0.0))

    @tf.function
    def terms(variable):
        with tf.GradientTape() as tape:
            tape.watch(variable)
            found = describe(from_space(variable))
            compare = tf.reduce_sum((found[-1] - content_target) ** 2) if facts.get("content") == "sum" else None
            content_loss = mse(found[-1], content_target) if compare is None else compare
            losses = (content_loss, facts["style"](found[:-1], style_targets), tv(variable))
            losses = [w * loss for w, loss in zip(facts["weights"], losses, strict=True)]
            total = tf.add_n(losses)
        return losses, tape.gradient(total, variable)

    start = to_space(tf.constant(content))
    if "noise" in facts:
        start = facts["noise"] * tf.random.stateless_normal(content.shape, seed=(0, 0))
    clamp = (0.0, 1.0) if facts.get("clamp") else None
    start = start if clamp is None else tf.clip_by_value(start, *clamp)
    seen = []
    if facts.get("along"):
        return np.array([[float(loss) for loss in terms(v)[0]] for v in [start, *map(to_space, path[:-1])]])
    if facts["optimizer"] == "lbfgs":

        def function(x):
            losses, gradient = terms(tf.constant(x, tf.float32))
            seen.append([float(loss) for loss in losses])
            return None, gradient.numpy().astype("float64")

        options = {"history": 100, "learning_rate": 1.0, "clip": clamp, "true_steps": False}
        plain_lbfgs(function, start.numpy().astype("float64"), steps, **options)
        return np.array(seen)
    variable, optimizer = tf.Variable(start), facts["optimizer"]()
    for _ in range(steps):
        losses, gradient = terms(variable.read_value())
        seen.append([float(loss) for loss in losses])
        optimizer.apply([gradient], [variable])
        if clamp:
            variable.assign(tf.clip_by_value(variable, *clamp))
    return np.array(seen)


def our_run(name, content, style, steps, source, options):
    """The same from tfstyle, and the images after each step."""
    seen, path = [], []
    names = ("content", "style", "total_variation")

    def record(step):
        seen.append([step.losses.get(term, 0.0) for term in names])
        path.append(step.image)

    tfstyle.stylize(
        content,
        style,
        recipe=name,
        weights=str(source),
        size=96,
        steps=steps,
        **options,
        callbacks=[record],
    )
    return np.array(seen), path


def pictures(fit):
    """A photograph 96x64 and a painting at the size the recipe gives it."""
    content = images.resize(images.read(SAMPLES / "neuschwanstein.jpg").image, 64, 96).numpy()
    painting = images.read(SAMPLES / "starry_night.jpg").image
    height, width = painting.shape[1:3]
    sizes = {
        "content": (64, 96),
        "width": (round(height * 96 / width), 96),
        "long_side": (round(height * 96 / width), 96),
    }
    return content, painting, images.resize(painting, *sizes[fit]).numpy()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_on_the_embedded_network_is_its_plain_computation(name):
    facts = RECIPES[name]
    content, painting, style = pictures(facts.get("fit", "long_side"))
    scales = RAW_SCALES if facts["network"] == "caffe" else {}
    found, path = our_run(name, content, painting, 6, "embedded", facts.get("options", {}))
    expected = plain_run(facts, weights.read("embedded").layers, scales, content, style, 6, path)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.sum(1).min())


@pytest.mark.parametrize("name", [name for name, facts in RECIPES.items() if facts["network"] == "caffe"])
def test_a_recipe_of_the_raw_network_is_exact_on_it(name, raw_weights):
    facts = RECIPES[name]
    content, painting, style = pictures(facts.get("fit", "long_side"))
    found, path = our_run(name, content, painting, 6, raw_weights, facts.get("options", {}))
    expected = plain_run(facts, weights.read(raw_weights).layers, {}, content, style, 6, path)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.sum(1).min())


def test_every_published_recipe_is_here():
    assert set(RECIPES) == set(tfstyle.RECIPES) - {"draft", "balanced", "best"}
