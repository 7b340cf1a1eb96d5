"""Functions to be minimized, and runs of an optimizer on them."""

import numpy as np
import tensorflow as tf

SHAPE = (1, 2, 3, 1)
"""That of small images."""


def rosenbrock(x):
    """(value, gradient) of the extended Rosenbrock function, a curved valley with its floor at (1, 1, …)."""
    a, b = x[:-1], x[1:]
    gradient = np.zeros_like(x)
    gradient[:-1] += -400 * a * (b - a**2) - 2 * (1 - a)
    gradient[1:] += 200 * (b - a**2)
    return np.sum(100 * (b - a**2) ** 2 + (1 - a) ** 2), gradient


def quadratic(x):
    """(value, gradient) of a bowl whose axes differ a hundredfold."""
    scales = np.linspace(1.0, 100.0, x.size).reshape(x.shape)
    return 0.5 * np.sum(scales * (x - 0.5) ** 2), scales * (x - 0.5)


def tilted(x):
    """(value, gradient) of a bowl with another curvature in each row."""
    slope = np.linspace(0.5, 1.5, x.shape[1])[None, :, None, None] * np.ones(x.shape)
    return 0.0, slope * (x - 0.5)


class Run:
    """A run of an optimizer on a NumPy objective, compiled as `transfer` does; each call is a step."""

    def __init__(self, optimizer, start, function):
        self.image = tf.constant(start, tf.float32)
        self.state = optimizer.init(self.image)

        @tf.function
        def step(state, image):
            _, gradient = tf.numpy_function(lambda x: function(x.astype("float64")), [image], [tf.float64, tf.float64])
            return optimizer.update(state, image, tf.ensure_shape(tf.cast(gradient, tf.float32), image.shape))

        self.step = step

    def __call__(self):
        self.state, self.image = self.step(self.state, self.image)
        return self.image.numpy()
