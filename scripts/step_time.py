"""Two loops side by side → the ratio of their step times: tfstyle's train step and a plain Keras loop of the same loss.

    python scripts/step_time.py --size 512 --repeats 10

Both run the TensorFlow tutorial's objective (five Gram matrices, block5_conv2, total variation, Adam) on the same
picture and the embedded weights, in turn, in one process. Also prints what `import tfstyle` adds to TensorFlow's own
import.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def import_times(repeats):
    """Median seconds, in fresh processes, of importing TensorFlow alone and of using `tfstyle` after it."""
    code = (
        "import time, tensorflow, keras; began = time.perf_counter(); import tfstyle; tfstyle.stylize; "
        "print(time.perf_counter() - began)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(repeats)
    ]
    return statistics.median(float(run) for run in runs)


def plain_step(content, style):
    """The tutorial's loop as one would write it with Keras alone."""
    import keras
    import tensorflow as tf

    from tfstyle import weights
    from tfstyle.recipe import STYLE_LAYERS

    layers = (*STYLE_LAYERS, "block5_conv2")
    network = keras.applications.VGG19(include_top=False, weights=None)
    for layer, arrays in weights.read("embedded").layers.items():
        network.get_layer(layer).set_weights(arrays)
    network = keras.Model(network.inputs, [network.get_layer(name).output for name in layers])
    network.trainable = False

    def describe(image):
        *features, content_features = network([keras.applications.vgg19.preprocess_input(255.0 * image)])
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
            loss = 2e-3 * tf.add_n([tf.reduce_mean((a - b) ** 2) for a, b in zip(grams, style_targets, strict=True)])
            loss += 1e4 * tf.reduce_mean((features - content_target) ** 2)
            right, down = image[:, :, 1:] - image[:, :, :-1], image[:, 1:] - image[:, :-1]
            loss += 1e8 * (tf.reduce_mean(right**2) + tf.reduce_mean(down**2))
        optimizer.apply_gradients([(tape.gradient(loss, image), image)])
        image.assign(tf.clip_by_value(image, 0.0, 1.0))
        return loss

    return lambda: float(train_step())


def our_step(content, style):
    """The same step of tfstyle, one step of a run at a time."""
    from tfstyle.recipes import get_recipe
    from tfstyle.transfer import Transfer

    recipe = get_recipe("tensorflow-tutorial", steps=100000)
    steps = Transfer(recipe).steps(content, style, recipe)
    return lambda: next(steps)


def main():
    """Runs the two in turn and prints their medians and the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="long side in pixels [512]")
    parser.add_argument("--repeats", type=int, default=10, help="counted steps of each [10]")
    options = parser.parse_args()

    from tfstyle import images

    pictures = []
    for name in ("neuschwanstein.jpg", "starry_night.jpg"):
        pictures.append(images.fit(images.read(images.SAMPLES / name).image, options.size))
    loops = {"plain Keras loop": plain_step(*pictures), "tfstyle": our_step(*pictures)}
    seconds = {name: [] for name in loops}
    for repeat in range(options.repeats + 2):
        for name, step in loops.items():
            began = time.perf_counter()
            step()
            if repeat >= 2:  # The first steps compile.
                seconds[name].append(time.perf_counter() - began)
    for name, values in seconds.items():
        print(f"{name:<18}{statistics.median(values):8.3f} s a step")
    ratios = [ours / plain for plain, ours in zip(*seconds.values(), strict=True)]
    print(f"{'ratio':<18}{statistics.median(ratios):8.3f}   ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"{'import adds':<18}{import_times(3):8.3f} s to TensorFlow's and Keras' own")


if __name__ == "__main__":
    main()
