"""Trains the decoder of adaptive instance normalization (AdaIN), which stylizes with any style image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfstyle import images, losses, total_variation, vgg, weights
from tfstyle.environment import dtype_policy, keras, tf
from tfstyle.feedforward import adain, layers
from tfstyle.training import dataset
from tfstyle.training.options import AdaINOptions
from tfstyle.training.run import Run, list_names
from tfstyle.training.trainer import Objective, ObjectiveTrainer, adam, initialize

STYLE_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", adain.ADAIN_LAYER)
"""Layers whose means and standard deviations are compared with the style image's."""


def adain_objective(encoder: vgg.VGG, options: AdaINOptions) -> Objective:
    """Makes the losses of the AdaIN decoder, those of each layer relative to the size of its target.

    Args:
        encoder: returns the features of `STYLE_LAYERS`, with reflection padding.
        options: gives the weights of the losses.

    Returns:
        A function of the decoder and a pair of content and style images, both [batch, height, width, 3], that returns
        three scalars: "content", the distance between the features of the decoded image and those it was decoded from;
        "style", the distance between its channel means and standard deviations and the style image's; and
        "total_variation".

    References:
        Huang, Belongie: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (ICCV 2017),
        equations 12 and 13.
    """
    last = adain.ADAIN_LAYER

    def layer_statistics(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {layer: layers.mean_std(values) for layer, values in features.items()}

    def terms(decoder: keras.Model, pair: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        content_images, style_images = pair
        content, target = encoder(content_images)[last], layer_statistics(encoder(style_images))
        wanted = layers.adaptive_instance_normalization(content, layers.mean_std(content), target[last])
        stylized = decoder(wanted, training=True)
        found = encoder(stylized)
        share = {layer: options.style_weight / len(target) for layer in target}
        kept = losses.layer_losses(found, {last: wanted}, {last: options.content_weight}, relative=True)
        style = losses.layer_losses(layer_statistics(found), target, share, relative=True)
        smooth = options.tv_weight * total_variation.squared(stylized)
        return {"content": kept[last], "style": tf.add_n(list(style.values())), "total_variation": smooth}

    return terms


def train_adain(
    style_images: Sequence[str | Path], content_images: Sequence[str | Path], run: Run, *, options: AdaINOptions
) -> Path:
    """Trains the AdaIN decoder to stylize any content image with any style image.

    Args:
        style_images, content_images: picture files, as from `dataset.list_pictures`.
        run: the folder and settings of the training; the sample sheets show the first style image.
        options: hyperparameters.

    Returns:
        The file of the decoder, in `run.folder`.

    Raises:
        TfstyleError, Interrupted: as `perceptual.train_fast`.
    """
    content_crops = dataset.RandomCrops(content_images, size=options.size, seed=options.seed)
    style_crops = dataset.RandomCrops(style_images, size=options.size, seed=options.seed + 1)
    shown = images.fit(images.read(style_images[0], long_side=2 * options.size).image, 2 * options.size)
    with run.share(options.batch).scope():
        network_policy = dtype_policy(options.network_precision)
        encoder = vgg.load_vgg(STYLE_LAYERS, padding_mode="reflect", dtype=network_policy)
        decoder = adain.AdaINDecoder(dtype=network_policy)
        decoder.build((None, None, None, 512))
        if options.initial_weights == "embedded":
            decoder.assign(weights.read_embedded("adain-decoder"))
        else:
            initialize(decoder, options.seed)
        trainer = ObjectiveTrainer(decoder, adain_objective(encoder, options))
        trainer.compile(adam(options))

        def batches_from(step: int) -> tf.data.Dataset:
            return dataset.make_pairs(content_crops, style_crops, size=options.size, batch=options.batch, start=step)

        fixed = {
            "kind": "adain",
            "style images": list_names(style_images),
            "content images": list_names(content_images),
        }
        network = adain.AdaIN(decoder)
        return run.fit(
            trainer, batches_from, options, fixed=fixed, stylize=lambda image: network.stylize(image, [shown])
        )
