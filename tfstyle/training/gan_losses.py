"""Answers of a discriminator → losses of both networks; penalties, spectral norm, augmentation and replay as functions.

Nothing here remembers anything: what persists is handed in and returned, and what is random is a function of a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from tfstyle.environment import tf
from tfstyle.errors import lookup

Judge = Callable[[tf.Tensor], tf.Tensor]
"""Images [batch, height, width, 3] → answers [batch]: the higher, the more like a real painting."""


def mixture_penalty(judge: Judge, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """How far the slope of a judge is from 1 between real and fake images.

    Args:
        judge: differentiable twice.
        real, fake: float32 [batch, height, width, 3].
        seed: two integers; each pair is mixed in its own share, uniform in [0, 1].

    Returns:
        A scalar ≥ 0, the mean of (‖∇ judge(x)‖ − 1)² over the mixed images x; finite, and so is its gradient, even
        where the slope is 0 or fake equals real.

    References:
        Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville: Improved Training of Wasserstein GANs (2017), equation 3.
    """
    share = tf.random.stateless_uniform([tf.shape(real)[0], 1, 1, 1], seed)
    norm = tf.sqrt(_squared_slope(judge, share * real + (1.0 - share) * fake) + 1e-12)
    return tf.reduce_mean((norm - 1.0) ** 2)


def real_penalty(judge: Judge, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """How steep a judge is at real images: half the mean of ‖∇ judge(x)‖², a scalar ≥ 0.

    Args:
        judge: differentiable twice.
        real: float32 [batch, height, width, 3].
        fake, seed: not used; so that both penalties are called alike.

    References:
        Mescheder, Geiger, Nowozin: Which Training Methods for GANs do actually Converge? (ICML 2018), equation 9.
    """
    del fake, seed
    return 0.5 * tf.reduce_mean(_squared_slope(judge, real))


def _squared_slope(judge: Judge, images: tf.Tensor) -> tf.Tensor:
    """‖∇ judge‖² at each image, [batch]."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        answers = judge(images)
    return tf.reduce_sum(tape.gradient(answers, images) ** 2, axis=(1, 2, 3))


class Family(NamedTuple):
    """A GAN loss: what generator and discriminator minimize.

    Attributes:
        real, fake: what the discriminator makes small at its answers to real and painted images.
        fool: what the generator makes small at the answers to its own.
        boundary: answers above it mean "real"; None: above the mean of all answers.
        penalty: of the discriminator's slope.
    """

    real: Callable[[tf.Tensor], tf.Tensor]
    fake: Callable[[tf.Tensor], tf.Tensor]
    fool: Callable[[tf.Tensor], tf.Tensor]
    boundary: float | None
    penalty: Callable[[Judge, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def _surprise(answers: tf.Tensor) -> tf.Tensor:
    """−ln σ(answer)."""
    return tf.nn.softplus(-answers)


def _below_one(answers: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(1.0 - answers)


def _squared_from_one(answers: tf.Tensor) -> tf.Tensor:
    return (answers - 1.0) ** 2


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "bce": Family(_surprise, tf.nn.softplus, _surprise, 0.0, mixture_penalty),
        "lsgan": Family(_squared_from_one, tf.square, _squared_from_one, 0.5, mixture_penalty),
        "hinge": Family(_below_one, lambda answers: _below_one(-answers), tf.negative, 0.0, mixture_penalty),
        "wgan-gp": Family(tf.negative, tf.identity, tf.negative, None, mixture_penalty),
        "r1": Family(_surprise, tf.nn.softplus, _surprise, 0.0, real_penalty),
    }
)
"""The GAN losses, under the names of `GANOptions.gan_loss`.

References:
    bce: Goodfellow et al. (2014), with its non-saturating generator; lsgan: Mao et al. (2017), equation 9; hinge:
    Lim, Ye: Geometric GAN (2017); wgan-gp: Gulrajani et al. (2017); r1: Mescheder et al. (2018).
"""


def family(name: str) -> Family:
    """The GAN loss of that name.

    Raises:
        UsageError: if there is none.
    """
    return lookup("GAN loss", name, FAMILIES)


def discriminator_losses(kind: Family, real: tf.Tensor, fake: tf.Tensor) -> dict[str, tf.Tensor]:
    """What the discriminator makes small.

    Args:
        kind: the GAN loss.
        real, fake: answers [batch] to paintings and to painted photographs.

    Returns:
        Scalars: "real", "fake", and "entropy" in [0, ln 2], the mean of `entropy` over all answers.
    """
    return {
        "real": tf.reduce_mean(kind.real(real)),
        "fake": tf.reduce_mean(kind.fake(fake)),
        "entropy": tf.reduce_mean(entropy(tf.concat([real, fake], axis=0))),
    }


def generator_loss(kind: Family, fake: tf.Tensor) -> tf.Tensor:
    """What the generator makes small at the answers [batch] to what it painted; a scalar."""
    return tf.reduce_mean(kind.fool(fake))


def entropy(answers: tf.Tensor) -> tf.Tensor:
    """How undecided an answer is: H = −p ln p − (1 − p) ln(1 − p) with p = σ(answer); in [0, ln 2], finite anywhere."""
    p = tf.sigmoid(answers)
    return p * tf.nn.softplus(-answers) + (1.0 - p) * tf.nn.softplus(answers)


def accuracy(kind: Family, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """The share of answers, to as many real images as fake ones, that are right; in [0, 1], 0.5 for guessing."""
    boundary = tf.reduce_mean(tf.concat([real, fake], axis=0)) if kind.boundary is None else kind.boundary
    right = tf.concat([real > boundary, fake <= boundary], axis=0)
    return tf.reduce_mean(tf.cast(right, tf.float32))


def spectral_norm(kernel: tf.Tensor, vector: tf.Tensor, *, iterations: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
    """Estimates a kernel's largest singular value by power iteration.

    Args:
        kernel: [..., outputs], taken as a matrix of `outputs` columns.
        vector: [outputs], the right singular vector as known so far; any length but 0.
        iterations: rounds of power iteration that improve it first.

    Returns:
        σ, a scalar whose gradient towards the kernel is that of the singular value, and the vector, of length 1.

    Differs from Keras' layer: the kernel itself is never replaced, and the gradient passes through σ.

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


def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Differentiable augmentation against overfitting of the discriminator to a small set of paintings.

    Each image is made lighter or darker, its contrast changed, shifted by up to an eighth (mirrored at the edge), and
    a quarter of it made grey, all by random numbers of its own.

    Args:
        images: float32 [batch, height, width, 3] in [0, 1], sides at least 8.
        seed: two integers; the same seed changes the same places alike.

    Returns:
        A tensor of the same shape, a differentiable function of the images; may leave [0, 1] slightly.

    References:
        Zhao, Liu, Lin, Zhu, Han: Differentiable Augmentation for Data-Efficient GAN Training (NeurIPS 2020), section 3.
    """
    batch = tf.shape(images)[0]
    numbers = tf.random.stateless_uniform([6, batch, 1, 1, 1], seed, -1.0, 1.0)
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    images = (images - mean) * (1.0 + 0.3 * numbers[0]) + mean + 0.1 * numbers[1]
    for axis in (1, 2):
        images = _shifted(images, numbers[1 + axis, :, 0, 0], axis)
    inside = [_near(tf.shape(images)[axis], numbers[3 + axis, :, 0, 0]) for axis in (1, 2)]
    hidden = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return tf.where(hidden, 0.5, images)


def _shifted(images: tf.Tensor, share: tf.Tensor, axis: int) -> tf.Tensor:
    """Each image moved along an axis by a share [batch, 1] in [-1, 1] of an eighth of its length."""
    length = tf.shape(images)[axis]
    offset = tf.cast(tf.round(share * tf.cast(length // 8, tf.float32)), tf.int32)
    positions = tf.abs(tf.range(length)[None] + offset)
    positions = tf.minimum(positions, 2 * (length - 1) - positions)
    return tf.gather(images, positions, axis=axis, batch_dims=1)


def _near(length: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Positions [batch, length] less than a quarter of the length from a centre, its share [batch, 1] in [-1, 1]."""
    whole = tf.cast(length, tf.float32)
    centre = 0.5 * (share + 1.0) * whole
    return tf.abs(tf.range(whole)[None] - centre) < 0.25 * whole


def replay(pool: tf.Tensor, images: tf.Tensor, step: tf.Tensor, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes what is painted now with what was painted before.

    Until the pool is full each image is shown and kept. From then on each has an even chance of being exchanged with
    one of the pool: the old one is shown, the new one kept.

    Args:
        pool: float32 [slots, height, width, 3], `slots` a multiple of the batch.
        images: float32 [batch, height, width, 3], no two of which meet the same slot.
        step: integer, from 0 at the empty pool.
        seed: with `step` decides which are exchanged.

    Returns:
        The images to show, and the pool afterwards.

    References:
        Shrivastava et al.: Learning from Simulated and Unsupervised Images through Adversarial Training (CVPR 2017),
        section 2.3; in the form of Zhu, Park, Isola, Efros: CycleGAN (ICCV 2017), section 4.
    """
    slots, batch = tf.shape(pool)[0], tf.shape(images)[0]
    step = tf.cast(step, tf.int32)
    chances = tf.random.stateless_uniform([slots + batch], [seed, -1 - step])  # Others count from 0 upwards.
    filling = (step + 1) * batch <= slots
    chosen = tf.where(filling, step * batch + tf.range(batch), tf.argsort(chances[:slots])[:batch])
    exchanged = (filling | (chances[slots:] < 0.5))[:, None, None, None]
    before = tf.gather(pool, chosen)
    shown = tf.where(exchanged & ~filling, before, images)
    return shown, tf.tensor_scatter_nd_update(pool, chosen[:, None], tf.where(exchanged, images, before))
