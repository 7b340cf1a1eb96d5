"""Hypercolumns for tests, and plain computations of their cosines and losses."""

import numpy as np
import tensorflow as tf

from tfstyle import neighbors

LAYERS = {"block1_conv2": 1.0, "block2_conv1": 0.5, "block3_conv1": 2.0, "block4_conv1": 1.0}


def columns(rng, *size):
    return {layer: tf.constant(rng.gamma(1.0, size=(1, *size, 5 + i)), tf.float32) for i, layer in enumerate(LAYERS)}


def hypercolumns(features, weights):
    """The parts of the hypercolumns of a whole image, in float32."""
    size = tf.shape(features[neighbors.reference_layer(weights)])[1:3]
    return {layer: neighbors.to_grid(features[layer], layer, weights=weights, size=size) for layer in weights}


def loss_of(parts, targets):
    """The loss of an image's hypercolumns."""
    matches = [neighbors.match(parts[layer], neighbors.target_at(targets, layer)) for layer in parts]
    return neighbors.neighbor_loss(neighbors.Matches(*map(tf.add_n, zip(*matches, strict=True))))


def flat(parts):
    """Whole hypercolumns [positions, channels] in float64."""
    return np.concatenate([np.reshape(part, (-1, part.shape[-1])).astype("float64") for part in parts.values()], 1)


def cosines(queries, keys):
    """All centered cosines, the slow and obvious way."""
    centered = [flat(side) - flat(side).mean(0) for side in (queries, keys)]
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in centered)
    return left @ right.T
