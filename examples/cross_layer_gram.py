"""Adds a custom style term: compares which channels of two different layers are active together.

    python examples/cross_layer_gram.py photo.jpg painting.jpg result.png

The Gram matrix of a layer shows which of its own channels are active together, but not which fine strokes belong to
which coarse patterns. The products of a layer's channels with those of a deeper layer show that (Yeh, Tang: Improved
Style Transfer by Respecting Inter-layer Correlations, 2018).
"""

import argparse

import tensorflow as tf

import tfstyle
from tfstyle.recipes import Term

FINE, COARSE = "block3_conv1", "block4_conv1"


def cross_products(features, target=None):
    """Computes sums over positions, so that those of the tiles of a large image add up."""
    coarse = features[COARSE]
    fine = tf.nn.avg_pool2d(features[FINE], 2, 2, "SAME")  # On the deeper layer's grid.
    fine = fine[:, : tf.shape(coarse)[1], : tf.shape(coarse)[2]]
    positions = tf.cast(tf.size(coarse[0, :, :, 0]), coarse.dtype)
    return {"products": tf.einsum("bhwi,bhwj->bij", fine, coarse), "positions": positions}


def cross_gram(sums):
    """Computes the mean of the products over positions."""
    return sums["products"] / sums["positions"]


def style_target(content, style):
    """Computes the cross-layer Gram matrix of the style image."""
    return cross_gram(cross_products(style.features))


def squared_error(sums, target):
    """Computes the mean squared difference over all entries."""
    return tf.reduce_mean(tf.math.squared_difference(cross_gram(sums), target))


def cross_layer_recipe(weight=1.0):
    """Returns the default recipe with the term."""
    term = Term(
        name="cross_layer", layers=(FINE, COARSE), weight=weight,
        target=style_target, sums=cross_products, loss=squared_error,
    )  # fmt: skip
    return tfstyle.get_recipe("balanced", name="cross-layer", terms=[term])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("output")
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=512)
    options = parser.parse_args()
    recipe = cross_layer_recipe(options.weight)
    tfstyle.stylize(options.content, options.style, recipe=recipe, size=options.size, output=options.output)
