"""Statistics and targets → one number: content, style, total variation and their weighted sum.

The losses of our recipes are means, so that the same weights mean the same look at every picture size; some published
ones are sums.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tfstyle.environment import tf
from tfstyle.errors import UsageError, lookup, unknown_name

Tensors = Mapping[str, tf.Tensor]


def squared_error(values: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The mean, over all entries, of the squared difference; a scalar, 0 only where both are equal."""
    return tf.reduce_mean(tf.math.squared_difference(values, targets))


def layer_losses(
    values: Tensors,
    targets: Mapping[str, Any],
    weights: Mapping[str, float],
    *,
    compare: Callable[[tf.Tensor, Any], tf.Tensor] = squared_error,
    relative: bool = False,
) -> dict[str, tf.Tensor]:
    """Compares two sets of features or statistics, layer by layer.

    With features this is the content loss, with any statistic of `moments` the style loss.

    Args:
        values: layer → tensor, of the image.
        targets: layer → tensor of the same shape, of the photograph or the painting.
        weights: layer → factor; the layers compared are its keys.
        compare: (value, target) → scalar.
        relative: divide each layer's loss by the mean square of its target, so that a pale picture counts as much as
            a vivid one; 1 then means as wrong as an image without any features.

    Returns:
        Layer → scalar, the weighted difference.

    Raises:
        UsageError: if a layer to be compared is missing on either side.

    Differs from the paper: Gatys et al. sum the squared differences and divide by fixed numbers (equations 1 and 4).

    References:
        Gatys, Ecker, Bethge (CVPR 2016), sections 2.1 and 2.2.
    """
    for layer in weights:
        for side in (values, targets):
            if layer not in side:
                raise UsageError(unknown_name("layer", layer, side))
    return {
        layer: weight * compare(values[layer], targets[layer]) / (_size(targets[layer]) if relative else 1.0)
        for layer, weight in weights.items()
    }


def _size(target: tf.Tensor) -> tf.Tensor:
    """Mean square of a target; never 0, so that a flat picture's loss stays finite."""
    return tf.reduce_mean(target**2) + 1e-6


def reduction(name: str, kind: str, pixels: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """What to multiply a mean over entries by, to reduce as a recipe's source does.

    Args:
        name: "mean" leaves it; "sum" makes it Keras' example's: content losses are sums over entries, style losses sums
            divided by 4 · 3² · pixels², over Gram matrices that are themselves sums over positions.
        kind: "content" or "style".
        pixels: number of pixels of the image.

    Returns:
        value → factor.

    References:
        F. Chollet: Neural style transfer, keras.io/examples/generative/neural_style_transfer.
    """
    if name == "mean":
        return lambda value: 1.0
    if kind == "content":
        return lambda value: tf.cast(tf.size(value), pixels.dtype)
    return lambda value: tf.cast(tf.size(value), pixels.dtype) / (36.0 * pixels**2)


class Gaussian(NamedTuple):
    """A normal distribution of features, and the root of its covariance.

    Attributes:
        mean: [batch, channels].
        covariance, root: [batch, channels, channels].
    """

    mean: tf.Tensor
    covariance: tf.Tensor
    root: tf.Tensor


def _gaussian_parts(statistic: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and covariance of a "mean_gram" statistic, with 1e-4 on its diagonal.

    In float32, where features hardly vary, the difference is rounding, and the matrix would have negative eigenvalues:
    where they vary by less than 0.5 % of the largest mean square, 1e-4 of it is there as well.
    """
    mean, gram = statistic[:, 0], statistic[:, 1:]
    covariance = gram - mean[:, :, None] * mean[:, None, :]
    rounding = 1e-4 * tf.reduce_max(tf.linalg.diag_part(gram), axis=-1)
    varying = tf.reduce_max(tf.linalg.diag_part(covariance), axis=-1)
    ridge = tf.where(varying < 50.0 * rounding, rounding + 1e-4, 1e-4 * tf.ones_like(rounding))
    return mean, covariance + tf.stop_gradient(ridge)[:, None, None] * tf.eye(tf.shape(mean)[-1], dtype=mean.dtype)


Polynomials = tuple[tuple[float, ...], ...]

NEWTON_SCHULZ: Polynomials = ((1.5, -0.5),) * 12
"""p(w) = 1.5 − 0.5 w, as often as style-transfer-pytorch takes it."""

FAST_ROOT: Polynomials = (
    (8.3767170, -24.7384416, 18.3352359),
    (4.0326169, -3.0038281, 0.5686484),
    (3.4747370, -2.6040656, 0.5231548),
    (2.4548364, -1.8041218, 0.4335264),
    (1.9116696, -1.2901673, 0.3790389),
    (1.8750163, -1.2500181, 0.3750018),
)
"""p(w) = a + b w + c w² with the least possible largest |1 − √w p(w)|: the first for w from 1e-5 to 1, each other for
the range that the one before leaves; after the last it is 4e-8. `scripts/fit_root.py` finds them."""


def gaussian(statistic: tf.Tensor) -> Gaussian:
    """The normal distribution a "mean_gram" statistic [batch, channels + 1, channels] describes."""
    mean, covariance = _gaussian_parts(statistic)
    # Newton's own polynomials bear the negative eigenvalues that rounding leaves in a flat painting's covariance.
    return Gaussian(mean, covariance, matrix_roots(covariance, polynomials=NEWTON_SCHULZ)[0])


def matrix_roots(matrix: tf.Tensor, *, polynomials: Polynomials) -> tuple[tf.Tensor, tf.Tensor]:
    """Square root of a symmetric positive definite matrix, and the root's inverse.

    Coupled Newton-Schulz iteration on the matrix over its Frobenius norm: only matrix products. Eigenvalues below about
    1e-4 of the norm have not converged after the twelve steps of `NEWTON_SCHULZ`: they count as smaller in the root,
    and their inverses as at most 130 over the root of the norm. `FAST_ROOT` reaches 1e-5 (1010) with 60 % of the
    products, but where rounding has made an eigenvalue less than about −1e-6 of the norm, it diverges.

    Args:
        matrix: [batch, n, n].
        polynomials: of each step, coefficients from the constant term on.

    Returns:
        The two, each [batch, n, n].

    References:
        Higham: Functions of Matrices (2008), section 6.3, equation 6.35. Amsel, Persson, Musco, Gower: The Polar
        Express (2025), section 3, for the choice of `FAST_ROOT`.
    """
    norm = tf.norm(matrix, axis=(-2, -1), keepdims=True)
    identity = tf.eye(tf.shape(matrix)[-1], batch_shape=tf.shape(matrix)[:1], dtype=matrix.dtype)
    root, inverse = matrix / norm, None
    for *lower, second, highest in polynomials:
        product = root if inverse is None else inverse @ root
        step = second * identity + highest * product
        for coefficient in reversed(lower):
            step = coefficient * identity + step @ product
        root, inverse = root @ step, step if inverse is None else step @ inverse
    return root * tf.sqrt(norm), inverse / tf.sqrt(norm)


def trace_of_root(matrix: tf.Tensor, *, polynomials: Polynomials = FAST_ROOT) -> tf.Tensor:
    """Trace of the square root of symmetric positive definite matrices [batch, n, n].

    Its gradient is d tr √M = ½ tr(M^-½ dM), and the iteration has found that inverse already; tr √M = tr(M M^-½).
    """
    _, inverse = matrix_roots(tf.stop_gradient(matrix), polynomials=polynomials)
    trace = 0.5 * tf.reduce_sum(matrix * inverse, axis=(-2, -1))
    return trace + tf.stop_gradient(trace)  # Half of the value carries the gradient.


def wasserstein(statistic: tf.Tensor, target: Gaussian, *, polynomials: Polynomials = FAST_ROOT) -> tf.Tensor:
    """The squared 2-Wasserstein distance between two normal distributions, divided by the number of channels.

    Args:
        statistic: "mean_gram" of the image, [batch, channels + 1, channels].
        target: of the painting.
        polynomials: for the root.

    Returns:
        A scalar ≥ 0 up to rounding, in squared activation units: Σ(μ − μ')² + tr(Σ + Σ' − 2 √(√Σ' Σ √Σ')), over C.

    References:
        Dowson, Landau: The Fréchet distance between multivariate normal distributions (1982). As a style loss:
        K. Crowson, style-transfer-pytorch (2021).
    """
    mean, covariance = _gaussian_parts(statistic)
    channels = tf.cast(tf.shape(mean)[-1], mean.dtype)
    traces = tf.linalg.trace(covariance) + tf.linalg.trace(target.covariance)
    traces -= 2.0 * trace_of_root(target.root @ covariance @ target.root, polynomials=polynomials)
    return squared_error(mean, target.mean) + tf.reduce_mean(traces) / channels


STYLE_LOSSES: Mapping[str, tuple[Callable, Callable]] = MappingProxyType(
    {
        "squared_error": (tf.identity, squared_error),
        "wasserstein": (gaussian, wasserstein),
        "wasserstein_newton_schulz": (gaussian, functools.partial(wasserstein, polynomials=NEWTON_SCHULZ)),
    }
)
"""How statistics are compared, under the names recipes use: (statistic → target, (statistic, target) → scalar)."""


def style_loss(name: str) -> tuple[Callable, Callable]:
    """The style loss of that name.

    Raises:
        UsageError: if there is none.
    """
    return lookup("style loss", name, STYLE_LOSSES)


def _differences(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Each pixel's lower neighbour less itself, and right neighbour less itself."""
    return image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]


def total_variation_squared(image: tf.Tensor) -> tf.Tensor:
    """How rough an image is: mean squared vertical plus mean squared horizontal difference.

    The form of TensorFlow's tutorial. A scalar ≥ 0, in squared units of the image, 0 for a constant one.
    """
    down, right = _differences(image)
    return tf.reduce_mean(down**2) + tf.reduce_mean(right**2)


def total_variation_absolute(image: tf.Tensor) -> tf.Tensor:
    """How rough an image is: half of mean absolute vertical plus mean absolute horizontal difference.

    The form of Dive into Deep Learning, section 14.12. A scalar ≥ 0, in units of the image.
    """
    down, right = _differences(image)
    return 0.5 * (tf.reduce_mean(tf.abs(down)) + tf.reduce_mean(tf.abs(right)))


def total_variation_power(image: tf.Tensor, *, power: float = 1.25) -> tf.Tensor:
    """How rough an image is: sum over positions of (vertical² + horizontal²)^power.

    The form of Keras' neural style transfer example; the last row and column count only as neighbours. A scalar ≥ 0
    that grows with the picture's size.
    """
    down, right = _differences(image)
    squares = down[:, :, :-1] ** 2 + right[:, :-1] ** 2
    return tf.reduce_sum(squares**power)


def total_variation_sum(image: tf.Tensor) -> tf.Tensor:
    """How rough an image is: sum of absolute vertical and horizontal differences.

    The form of neural-style-pt. A scalar ≥ 0 that grows with the picture's size, in units of the image.
    """
    down, right = _differences(image)
    return tf.reduce_sum(tf.abs(down)) + tf.reduce_sum(tf.abs(right))


def total_variation_nine_point(image: tf.Tensor) -> tf.Tensor:
    """How rough an image is: mean squared differences to the lower, right and two lower diagonal neighbours.

    The border is repeated; straight neighbours weigh 1/3, diagonal ones 1/12, and the mean is doubled. The form of
    style-transfer-pytorch (K. Crowson). A scalar ≥ 0, in squared units of the image.
    """
    around = tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    right, down = around[:, 1:-1, 2:] - image, around[:, 2:, 1:-1] - image
    diagonals = around[:, 2:, 2:] - image, around[:, 2:, :-2] - image
    straight = right**2 + down**2
    return 2.0 * tf.reduce_mean(straight / 3.0 + (diagonals[0] ** 2 + diagonals[1] ** 2) / 12.0)


TOTAL_VARIATIONS: Mapping[str, Callable] = MappingProxyType(
    {
        "squared": total_variation_squared,
        "absolute": total_variation_absolute,
        "power": total_variation_power,
        "sum": total_variation_sum,
        "nine_point": total_variation_nine_point,
    }
)
"""The published forms of total variation, under the names recipes use."""


def total_variation(name: str) -> Callable:
    """The form of total variation of that name.

    Raises:
        UsageError: if there is none.
    """
    return lookup("total variation", name, TOTAL_VARIATIONS)


def color_difference(image: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """How far an image's colours are from another's: mean absolute difference in Y, mean Huber loss (δ = 1) in U and V.

    Args:
        image, target: float32 [batch, height, width, 3], sRGB, in [0, 1].

    Returns:
        A scalar ≥ 0, 0 only where both are equal.

    References:
        Chen, Liu, Chen: AnimeGAN: A Novel Lightweight GAN for Photo Animation (ISICA 2019), equation 7.
    """
    difference = tf.image.rgb_to_yuv(image) - tf.image.rgb_to_yuv(target)
    size = tf.abs(difference)
    huber = tf.where(size < 1.0, 0.5 * size**2, size - 0.5)
    return tf.reduce_mean(size[..., 0]) + tf.reduce_mean(huber[..., 1]) + tf.reduce_mean(huber[..., 2])
