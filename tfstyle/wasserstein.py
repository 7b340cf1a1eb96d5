"""The Wasserstein distance between the normal distributions that two statistics describe."""

from __future__ import annotations

from typing import NamedTuple

from tfstyle.environment import tf
from tfstyle.tensors import static_shape


class Gaussian(NamedTuple):
    """A normal distribution of features, and a factor of its covariance.

    Attributes:
        mean: [batch, channels].
        covariance: [batch, channels, channels].
        factor: [batch, channels, rank], F with F Fᵀ = covariance.
    """

    mean: tf.Tensor
    covariance: tf.Tensor
    factor: tf.Tensor


def _gaussian_parts(statistic: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes mean and covariance from a "mean_gram" statistic, with 1e-4 added to the diagonal.

    Where features hardly vary, the covariance in float32 is a rounding error and would have negative eigenvalues: if
    no variance reaches 0.5 % of the largest mean square, 1e-4 of that mean square is added as well.
    """
    mean, gram = statistic[:, 0], statistic[:, 1:]
    covariance = gram - mean[:, :, None] * mean[:, None, :]
    rounding = 1e-4 * tf.reduce_max(tf.linalg.diag_part(gram), axis=-1)
    varying = tf.reduce_max(tf.linalg.diag_part(covariance), axis=-1)
    ridge = tf.where(varying < 50.0 * rounding, rounding + 1e-4, 1e-4 * tf.ones_like(rounding))
    return mean, covariance + tf.stop_gradient(ridge)[:, None, None] * tf.eye(tf.shape(mean)[-1], dtype=mean.dtype)


Polynomials = tuple[tuple[float, ...], ...]

NEWTON_SCHULZ: Polynomials = ((1.5, -0.5),) * 12
"""p(w) = 1.5 − 0.5 w, applied as often as in style-transfer-pytorch."""

FAST_ROOT: Polynomials = (
    (8.3767170, -24.7384416, 18.3352359),
    (4.0326169, -3.0038281, 0.5686484),
    (3.4747370, -2.6040656, 0.5231548),
    (2.4548364, -1.8041218, 0.4335264),
    (1.9116696, -1.2901673, 0.3790389),
    (1.8750163, -1.2500181, 0.3750018),
)
"""p(w) = a + b w + c w² with the smallest possible distance of √w p(w) from 1: the first for w from 1e-5 to 1, each
other for the range that the previous one leaves; after the last it is 4e-8. `scripts/fit_root.py` computes them."""


SMALLEST_VARIANCE = 4e-7
"""Smallest variance along a principal axis that `principal_gaussian` keeps, divided by the largest and by the number of
channels, as in `numpy.linalg.matrix_rank`. The other axes change the style loss of a VGG-19 by less than 2e-3."""


def principal_gaussian(statistic: tf.Tensor) -> Gaussian:
    """Returns the normal distribution described by a "mean_gram" statistic, with its principal axes as the factor.

    A small style image has fewer positions than the deep layers have channels. Axes without variance add nothing to the
    distance, and the matrix whose root is computed at every step has only as many rows as axes are kept.

    Args:
        statistic: [batch, channels + 1, channels].
    """
    mean, covariance = _gaussian_parts(statistic)
    finite = tf.reduce_all(tf.math.is_finite(covariance), axis=(1, 2), keepdims=True)  # Otherwise eigh would raise.
    variances, axes = tf.linalg.eigh(tf.where(finite, covariance, 0.0))  # In ascending order.
    smallest = SMALLEST_VARIANCE * static_shape(variances)[-1] * variances[:, -1:]
    kept = tf.reduce_any(variances > smallest, axis=0)
    factor = tf.boolean_mask(axes * tf.sqrt(tf.maximum(variances, 0.0))[:, None], kept, axis=2)
    return Gaussian(mean, covariance, factor)


def gaussian(statistic: tf.Tensor) -> Gaussian:
    """Returns the same normal distribution with the root of the covariance as the factor, as style-transfer-pytorch."""
    mean, covariance = _gaussian_parts(statistic)
    # Newton's own polynomials tolerate the negative eigenvalues from rounding in a flat style image's covariance.
    return Gaussian(mean, covariance, matrix_roots(covariance, polynomials=NEWTON_SCHULZ)[0])


def matrix_roots(matrix: tf.Tensor, *, polynomials: Polynomials) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the square root of a symmetric positive definite matrix, and the inverse of the root.

    This is the coupled Newton-Schulz iteration on the matrix divided by its Frobenius norm; it needs matrix products
    only. Eigenvalues below about 1e-4 of the norm have not converged after the twelve steps of `NEWTON_SCHULZ`: they
    are too small in the root, and at most 130 divided by the root of the norm in the inverse. `FAST_ROOT` reaches 1e-5
    (1010) with 60 % of the products, but diverges if rounding has made an eigenvalue less than about −1e-6 of the norm.

    Args:
        matrix: [batch, n, n].
        polynomials: coefficients of each step, from the constant term on.

    Returns:
        The root and its inverse, each [batch, n, n].

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
    """Computes the trace of the square root of symmetric positive definite matrices [batch, n, n].

    Its gradient is d tr √M = ½ tr(M^-½ dM), and the iteration has computed M^-½ already; tr √M = tr(M M^-½).
    """
    _, inverse = matrix_roots(tf.stop_gradient(matrix), polynomials=polynomials)
    trace: tf.Tensor = 0.5 * tf.reduce_sum(matrix * inverse, axis=(-2, -1))
    held: tf.Tensor = tf.stop_gradient(trace)
    return trace + held  # The gradient flows through one half of the value.


def distance(statistic: tf.Tensor, target: Gaussian, *, polynomials: Polynomials = FAST_ROOT) -> tf.Tensor:
    """Computes the squared 2-Wasserstein distance of two normal distributions, divided by the number of channels.

    Args:
        statistic: "mean_gram" of the image, [batch, channels + 1, channels].
        target: normal distribution of the style image.
        polynomials: polynomials for the matrix root.

    Returns:
        A scalar ≥ 0 up to rounding, in squared activation units: Σ(μ − μ')² + tr(Σ + Σ' − 2 √(√Σ' Σ √Σ')), over C.

    References:
        Dowson, Landau: The Fréchet distance between multivariate normal distributions (1982). As a style loss:
        K. Crowson, style-transfer-pytorch (2021).
    """
    mean, covariance = _gaussian_parts(statistic)
    channels = tf.cast(tf.shape(mean)[-1], mean.dtype)
    traces = tf.linalg.trace(covariance) + tf.linalg.trace(target.covariance)
    # The root of FᵀΣF has the trace of that of √Σ' Σ √Σ' for every factor F of Σ', since the eigenvalues are the same.
    inner = tf.linalg.matmul(target.factor, covariance, transpose_a=True) @ target.factor
    traces -= 2.0 * trace_of_root(inner, polynomials=polynomials)
    return tf.reduce_mean(tf.math.squared_difference(mean, target.mean)) + tf.reduce_mean(traces) / channels
