"""Losses of a generative adversarial network (GAN), gradient penalties, augmentation, and the image pool.

These are pure functions: state is passed in and returned, and random numbers are a function of a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, cast

from tfstyle.environment import tf
from tfstyle.errors import lookup

DiscriminatorFunction = Callable[[tf.Tensor], tf.Tensor]
"""A function of images [batch, height, width, 3] that returns scores [batch]; the higher, the more likely real."""


def gradient_penalty(
    discriminator: DiscriminatorFunction, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Computes the gradient penalty of WGAN-GP: how far the gradient norm is from 1 between real and fake images.

    Args:
        discriminator: a twice differentiable function.
        real, fake: float32 [batch, height, width, 3].
        seed: two integers; they decide how each pair is interpolated, uniformly in [0, 1].

    Returns:
        A scalar ≥ 0, the mean of (‖∇ discriminator(x)‖ − 1)² over the interpolated images x. It is finite, and so is
        its gradient, even where the gradient of the discriminator is 0 or fake equals real.

    References:
        Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville: Improved Training of Wasserstein GANs (2017), equation 3.
    """
    share = tf.random.stateless_uniform(tf.stack([tf.shape(real)[0], 1, 1, 1]), seed)
    norm = tf.sqrt(_squared_gradient_norm(discriminator, share * real + (1.0 - share) * fake) + 1e-12)
    return tf.reduce_mean((norm - 1.0) ** 2)


def r1_penalty(discriminator: DiscriminatorFunction, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Computes the R1 penalty: half the mean of ‖∇ discriminator(x)‖² over the real images x, a scalar ≥ 0.

    Args:
        discriminator: a twice differentiable function.
        real: float32 [batch, height, width, 3].
        fake, seed: not used; accepted so that both penalties have the same signature.

    References:
        Mescheder, Geiger, Nowozin: Which Training Methods for GANs do actually Converge? (ICML 2018), equation 9.
    """
    del fake, seed
    return 0.5 * tf.reduce_mean(_squared_gradient_norm(discriminator, real))


def _squared_gradient_norm(discriminator: DiscriminatorFunction, images: tf.Tensor) -> tf.Tensor:
    """Computes ‖∇ discriminator‖² at each image, [batch]."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        scores = discriminator(images)
    gradient = cast(tf.Tensor, tape.gradient(scores, images))  # A dense tensor, because nothing is gathered.
    return tf.reduce_sum(gradient**2, axis=(1, 2, 3))


class GANLoss(NamedTuple):
    """An adversarial loss, as functions of the discriminator's scores [batch] that return losses [batch].

    Attributes:
        real, fake: the losses that the discriminator minimizes, from its scores of real and fake images.
        generator: the loss that the generator minimizes, from the scores of its images.
        threshold: scores above it mean "real"; if None, scores above the mean of all scores do.
        penalty: the gradient penalty that belongs to the loss.
    """

    real: Callable[[tf.Tensor], tf.Tensor]
    fake: Callable[[tf.Tensor], tf.Tensor]
    generator: Callable[[tf.Tensor], tf.Tensor]
    threshold: float | None
    penalty: Callable[[DiscriminatorFunction, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def _cross_entropy_real(scores: tf.Tensor) -> tf.Tensor:
    """Computes the binary cross-entropy with the label "real": −ln σ(score) = softplus(−score)."""
    loss: tf.Tensor = tf.nn.softplus(-scores)
    return loss


def _cross_entropy_fake(scores: tf.Tensor) -> tf.Tensor:
    """Computes the binary cross-entropy with the label "fake": −ln(1 − σ(score)) = softplus(score)."""
    loss: tf.Tensor = tf.nn.softplus(scores)
    return loss


def _hinge_real(scores: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(1.0 - scores)


def _hinge_fake(scores: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(1.0 + scores)


def _square_real(scores: tf.Tensor) -> tf.Tensor:
    return (scores - 1.0) ** 2


LOSSES: Mapping[str, GANLoss] = MappingProxyType(
    {
        "bce": GANLoss(_cross_entropy_real, _cross_entropy_fake, _cross_entropy_real, 0.0, gradient_penalty),
        "lsgan": GANLoss(_square_real, tf.square, _square_real, 0.5, gradient_penalty),
        "hinge": GANLoss(_hinge_real, _hinge_fake, tf.negative, 0.0, gradient_penalty),
        "wgan-gp": GANLoss(tf.negative, tf.identity, tf.negative, None, gradient_penalty),
        "r1": GANLoss(_cross_entropy_real, _cross_entropy_fake, _cross_entropy_real, 0.0, r1_penalty),
    }
)
"""The adversarial losses by the names of `GANOptions.gan_loss`.

References:
    bce: Goodfellow et al. (2014), with its non-saturating generator loss; lsgan: Mao et al. (2017), equation 9; hinge:
    Lim, Ye: Geometric GAN (2017); wgan-gp: Gulrajani et al. (2017); r1: Mescheder et al. (2018).
"""


def get_gan_loss(name: str) -> GANLoss:
    """Returns the adversarial loss of that name.

    Raises:
        UsageError: if there is none.
    """
    return lookup("GAN loss", name, LOSSES)


def discriminator_losses(loss: GANLoss, real: tf.Tensor, fake: tf.Tensor) -> dict[str, tf.Tensor]:
    """Computes the terms that the discriminator minimizes, without the gradient penalty.

    Args:
        loss: the adversarial loss.
        real, fake: scores [batch] of real and fake images.

    Returns:
        Scalars: "real", "fake", and "entropy" in [0, ln 2], the mean of `entropy` over all scores.
    """
    return {
        "real": tf.reduce_mean(loss.real(real)),
        "fake": tf.reduce_mean(loss.fake(fake)),
        "entropy": tf.reduce_mean(entropy(tf.concat([real, fake], axis=0))),
    }


def generator_loss(loss: GANLoss, fake: tf.Tensor) -> tf.Tensor:
    """Computes the adversarial term that the generator minimizes, from the scores [batch] of its images; a scalar."""
    return tf.reduce_mean(loss.generator(fake))


def entropy(scores: tf.Tensor) -> tf.Tensor:
    """Computes the binary entropy H = −p ln p − (1 − p) ln(1 − p) with p = σ(score), in [0, ln 2], always finite."""
    p = tf.sigmoid(scores)
    return p * _cross_entropy_real(scores) + (1.0 - p) * _cross_entropy_fake(scores)


def accuracy(loss: GANLoss, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """Computes the share of correct scores, for equally many real and fake images, in [0, 1]; guessing gives 0.5."""
    threshold = tf.reduce_mean(tf.concat([real, fake], axis=0)) if loss.threshold is None else loss.threshold
    correct = tf.concat([real > threshold, fake <= threshold], axis=0)
    return tf.reduce_mean(tf.cast(correct, tf.float32))


def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Augments images differentiably, so that the discriminator does not overfit to a small set of images.

    Brightness and contrast of each image are changed, it is translated by up to an eighth of its sides (with
    reflection padding), and a rectangle of up to half its sides is replaced by gray (cutout). The random numbers differ
    from image to image.

    Args:
        images: float32 [batch, height, width, 3] in [0, 1], sides at least 8.
        seed: two integers; with the same seed, equal batches are augmented equally.

    Returns:
        A tensor of the same shape, a differentiable function of the images; values may leave [0, 1] slightly.

    References:
        Zhao, Liu, Lin, Zhu, Han: Differentiable Augmentation for Data-Efficient GAN Training (NeurIPS 2020), section 3.
    """
    batch = tf.shape(images)[0]
    numbers = tf.random.stateless_uniform(tf.stack([6, batch, 1, 1, 1]), seed, -1.0, 1.0)
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    images = (images - mean) * (1.0 + 0.3 * numbers[0]) + mean + 0.1 * numbers[1]
    for axis in (1, 2):
        images = _translate(images, numbers[1 + axis, :, 0, 0], axis)
    inside = [_is_near_center(tf.shape(images)[axis], numbers[3 + axis, :, 0, 0]) for axis in (1, 2)]
    hidden = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return tf.where(hidden, 0.5, images)


def _translate(images: tf.Tensor, share: tf.Tensor, axis: int) -> tf.Tensor:
    """Translates each image along an axis by a share [batch, 1] in [-1, 1] of an eighth of its length."""
    length = tf.shape(images)[axis]
    offset = tf.cast(tf.round(share * tf.cast(length // 8, tf.float32)), tf.int32)
    positions = tf.abs(tf.range(length)[None] + offset)
    positions = tf.minimum(positions, 2 * (length - 1) - positions)
    translated: tf.Tensor = tf.gather(images, positions, axis=axis, batch_dims=1)
    return translated


def _is_near_center(length: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Marks the positions [batch, length] less than a quarter of the length from a center.

    Args:
        length: number of positions.
        share: [batch, 1], the place of each center, from -1 at the first position to 1 at the last.
    """
    whole = tf.cast(length, tf.float32)
    center = 0.5 * (share + 1.0) * whole
    return tf.abs(tf.range(whole)[None] - center) < 0.25 * whole


def query_image_pool(pool: tf.Tensor, images: tf.Tensor, *, step: tf.Tensor, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Replaces some generated images by earlier ones from a replay buffer, as CycleGAN's image pool does.

    Until the pool is full, each image is returned and stored. From then on each image is, with probability one half,
    exchanged with one of the pool: the stored image is returned, and the new one is stored.

    Args:
        pool: float32 [slots, height, width, 3], `slots` a multiple of the batch.
        images: float32 [batch, height, width, 3]; no two of them use the same slot.
        step: integer, 0 while the pool is empty.
        seed: decides, together with `step`, which images are exchanged.

    Returns:
        The images for the discriminator, and the updated pool.

    References:
        Shrivastava et al.: Learning from Simulated and Unsupervised Images through Adversarial Training (CVPR 2017),
        section 2.3; in the form of Zhu, Park, Isola, Efros: CycleGAN (ICCV 2017), section 4.
    """
    slots, batch = tf.shape(pool)[0], tf.shape(images)[0]
    step = tf.cast(step, tf.int32)
    step_seed = tf.stack([seed, -1 - step])  # Negative: other random numbers use steps from 0 upwards.
    chances = tf.random.stateless_uniform(tf.stack([slots + batch]), step_seed)
    filling = (step + 1) * batch <= slots
    chosen = tf.where(filling, step * batch + tf.range(batch), tf.argsort(chances[:slots])[:batch])
    exchanged = (filling | (chances[slots:] < 0.5))[:, None, None, None]
    before = tf.gather(pool, chosen)
    returned = tf.where(exchanged & tf.logical_not(filling), before, images)
    return returned, tf.tensor_scatter_nd_update(pool, chosen[:, None], tf.where(exchanged, images, before))
