"""Keeps a face recognizable with a custom content term that counts only inside an ellipse.

    python examples/face_weighted_content.py photo.jpg painting.jpg result.png --face 0.2 0.05 0.8 0.9

The four numbers are the left, top, right and bottom edge of the face, as parts of the photograph's width and height.
"""

import argparse
from dataclasses import dataclass

import tensorflow as tf

import tfstyle
from tfstyle.recipes import Term

LAYER = "block3_conv2"  # Keeps finer detail than the recipe's own content layer, block4_conv2.


@dataclass(frozen=True)
class FaceTarget:
    """Computes the content image's features and a weight for each of their positions: 1 in the face, falling to 0."""

    face: tuple[float, float, float, float]

    def __call__(self, content, style):
        features = content.features[LAYER]
        height, width = tf.unstack(tf.cast(tf.shape(features)[1:3], tf.float32))
        left, top, right, bottom = self.face
        x = ((tf.range(width) + 0.5) / width * 2 - left - right) / (right - left)
        y = ((tf.range(height) + 0.5) / height * 2 - top - bottom) / (bottom - top)
        mask = tf.clip_by_value(3.0 * (1.0 - x[None, :] ** 2 - y[:, None] ** 2), 0.0, 1.0)
        return {"features": features, "mask": mask[None, :, :, None]}


def weighted_error(features, target):
    """Computes sums over positions, so that those of the tiles of a large image add up."""
    difference = tf.math.squared_difference(features[LAYER], target["features"])
    return {"error": tf.reduce_sum(target["mask"] * difference), "weight": tf.reduce_sum(target["mask"])}


def mean_error(sums, target):
    """Computes the mean over the face."""
    return sums["error"] / (sums["weight"] * target["features"].shape[-1] + 1e-6)


def face_recipe(face, weight=0.05):
    """Returns the default recipe with a term for the face."""
    return tfstyle.get_recipe(
        "balanced",
        name="face-weighted",
        terms=[
            Term(
                name="face", layers=(LAYER,), weight=weight,
                target=FaceTarget(tuple(face)), sums=weighted_error, loss=mean_error,
            )
        ],
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("output")
    parser.add_argument("--face", type=float, nargs=4, default=(0.2, 0.05, 0.8, 0.9), metavar="X")
    parser.add_argument("--weight", type=float, default=0.05)
    parser.add_argument("--size", type=int, default=512)
    options = parser.parse_args()
    recipe = face_recipe(options.face, options.weight)
    tfstyle.stylize(options.content, options.style, recipe=recipe, size=options.size, output=options.output)
