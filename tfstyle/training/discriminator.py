"""The discriminator of a generative adversarial network (GAN), with spectral normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfstyle.environment import keras, tf
from tfstyle.feedforward.layers import mean_std, reflect_pad


def spectral_norm(kernel: tf.Tensor, vector: tf.Tensor, *, iterations: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
    """Estimates a kernel's largest singular value by power iteration.

    Args:
        kernel: [..., outputs], reshaped to a matrix of `outputs` columns.
        vector: [outputs], the current estimate of the right singular vector; of any nonzero norm.
        iterations: number of power iterations that improve the estimate first.

    Returns:
        σ, a scalar whose gradient with respect to the kernel is that of the singular value, and the vector, of
        norm 1.

    Differs from `keras.layers.SpectralNormalization`: the kernel itself is never replaced, and the gradient passes
    through σ.

    References:
        Miyato, Kataoka, Koyama, Yoshida: Spectral Normalization for Generative Adversarial Networks (ICLR 2018),
        algorithm 1.
    """
    matrix = tf.reshape(kernel, [-1, tf.shape(kernel)[-1]])
    constant, right = tf.stop_gradient(matrix), tf.math.l2_normalize(vector)
    for _ in range(iterations):
        left = tf.math.l2_normalize(tf.linalg.matvec(constant, right))
        right = tf.math.l2_normalize(tf.linalg.matvec(constant, left, transpose_a=True))
    left = tf.math.l2_normalize(tf.linalg.matvec(constant, right))
    return tf.tensordot(left, tf.linalg.matvec(matrix, right), 1), right


class Discriminator(keras.Model):
    """Scores how real an image looks, by strided convolutions and a dense layer over channel statistics.

    The inputs of the dense layer are each channel's mean and standard deviation, so images may be of any size. Every
    kernel is divided by its spectral norm. Features are not normalized, because a gradient penalty allows no statistics
    across a batch. Everything is computed in float32.

    Args:
        filters: number of filters of each convolution; every convolution halves the sides.
        **kwargs: arguments of `keras.Model`.

    Call it on float32 [batch, height, width, 3] in [0, 1], sides at least 2^len(filters). It returns scores [batch];
    the higher, the more likely real. A call changes no weight; `update_singular_vectors` runs the power iteration
    of a training step.

    References:
        Miyato et al.: Spectral Normalization for Generative Adversarial Networks (ICLR 2018), table 3.
    """

    def __init__(self, filters: Sequence[int] = (32, 64, 128, 128), **kwargs: Any) -> None:
        super().__init__(**(kwargs | {"dtype": "float32", "autocast": False}))
        self.filters = tuple(filters)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates kernels, biases, and estimates of the kernels' right singular vectors."""
        sides = zip((input_shape[-1], *self.filters), self.filters, strict=False)
        shapes = [*((4, 4, inputs, outputs) for inputs, outputs in sides), (2 * self.filters[-1], 1)]
        self.kernels, self.biases, self.vectors = [], [], []
        for number, shape in enumerate(shapes, 1):
            self.kernels.append(self.add_weight(name=f"kernel{number}", shape=shape, initializer="he_normal"))
            self.biases.append(self.add_weight(name=f"bias{number}", shape=shape[-1:], initializer="zeros"))
            first = keras.initializers.RandomNormal(seed=number)
            vector = self.add_weight(name=f"vector{number}", shape=shape[-1:], initializer=first, trainable=False)
            self.vectors.append(vector)
        self.built = True

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Computes the scores; see the class."""
        x = 2.0 * image - 1.0
        for kernel, bias in zip(self._normalize_kernels(), self.biases, strict=True):
            if len(kernel.shape) == 4:
                x = tf.nn.conv2d(reflect_pad(x, 1), kernel, 2, "VALID") + bias
                x = tf.maximum(x, 0.2 * x)  # Grappler mishandles fused leaky ReLUs where a penalty is differentiated.
            else:
                x = tf.reshape(mean_std(x), [-1, kernel.shape[0]]) @ kernel + bias
        return x[:, 0]

    def _normalize_kernels(self) -> list[tf.Tensor]:
        kernels = [tf.convert_to_tensor(kernel) for kernel in self.kernels]
        return [k / spectral_norm(k, v)[0] for k, v in zip(kernels, self.vectors, strict=True)]

    def update_singular_vectors(self, *, iterations: int = 1) -> None:
        """Improves the estimates of the kernels' right singular vectors by power iteration."""
        for kernel, vector in zip(self.kernels, self.vectors, strict=True):
            vector.assign(spectral_norm(tf.convert_to_tensor(kernel), vector, iterations=iterations)[1])
