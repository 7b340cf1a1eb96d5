"""Runs the methods that the benchmark compares, each as an iterator over evaluations."""

from __future__ import annotations

METHODS = ("plain", "johnson", "johnson-content", "crowson", "wasserstein", "draft", "balanced", "best", "nnst", "fast")


def recipe_of(method, size):
    """Returns the recipe that a method runs."""
    from tfstyle.recipes import get_recipe

    if method == "johnson":
        return get_recipe("johnson", steps=500, size=size)
    if method == "johnson-content":
        return get_recipe("johnson", steps=350, size=size, init="content")
    return get_recipe(method, size=size)


def plain_loop(content, style):
    """Runs the tutorial's loop in plain Keras; yields the image and the loss after each step.

    https://www.tensorflow.org/tutorials/generative/style_transfer: mean squared differences of five Gram matrices and
    of block5_conv2, `tf.image.total_variation`, Adam 0.02 with beta_1 0.99 and epsilon 0.1, clipped to [0, 1].
    """
    import keras
    import tensorflow as tf

    from tfstyle import weights as files
    from tfstyle.magnitudes import RAW_SCALES

    layers = [f"block{block}_conv1" for block in range(1, 6)] + ["block5_conv2"]
    network = keras.applications.VGG19(include_top=False, weights=None)
    for layer, arrays in files.read("embedded").layers.items():
        network.get_layer(layer).set_weights(arrays)
    network = keras.Model(network.inputs, [network.get_layer(name).output for name in layers])
    network.trainable = False
    raw = [RAW_SCALES[layer] for layer in layers]  # The loss weights are meant for the raw network.

    def describe(image):
        features = network([keras.applications.vgg19.preprocess_input(255.0 * image)])
        *features, content_features = [scale * f for scale, f in zip(raw, features, strict=True)]
        sizes = [tf.cast(f.shape[1] * f.shape[2], tf.float32) for f in features]
        grams = [tf.linalg.einsum("bijc,bijd->bcd", f, f) / n for f, n in zip(features, sizes, strict=True)]
        return grams, content_features

    image = tf.Variable(content)
    style_targets, content_target = describe(style)[0], describe(content)[1]
    optimizer = keras.optimizers.Adam(learning_rate=0.02, beta_1=0.99, epsilon=1e-1)

    @tf.function
    def train_step():
        with tf.GradientTape() as tape:
            grams, features = describe(image)
            differences = [tf.reduce_mean((a - b) ** 2) for a, b in zip(grams, style_targets, strict=True)]
            loss = 1e-2 * tf.add_n(differences) / 5.0 + 1e4 * tf.reduce_mean((features - content_target) ** 2)
            loss += 30.0 * tf.reduce_sum(tf.image.total_variation(image))
        optimizer.apply_gradients([(tape.gradient(loss, image), image)])
        image.assign(tf.clip_by_value(image, 0.0, 1.0))
        return loss

    while True:
        loss = float(train_step())
        yield tf.identity(image), loss


def our_steps(recipe, content, style):
    """Runs tfstyle; yields evaluations (in images of the full size), image, and the total loss at the full size."""
    from tfstyle.transfer import Transfer

    pixels = content.shape[1] * content.shape[2]
    for step in Transfer(recipe).steps(content, style):
        share = step.image.shape[1] * step.image.shape[2] / pixels
        yield share, step.image, step.losses["total"] if step.level == step.levels else None


def one_pass(content, style):
    """Stylizes with the embedded AdaIN network."""
    from tfstyle.feedforward.adain import load_adain

    yield 1.0, load_adain().stylize(content, [style]), None


def run(method, content, style, size):
    """Returns the iterator of a method."""
    if method == "fast":
        return one_pass(content, style)
    if method == "plain":
        loop = plain_loop(content, style)
        return ((1.0, *next(loop)) for _ in range(100))
    return our_steps(recipe_of(method, size), content, style)


def read_pair(pair, size):
    """Reads a content image and a style image, resized to the long side of the result."""
    from tfstyle import images

    return [images.fit(images.read(path).image, size) for path in pair]
