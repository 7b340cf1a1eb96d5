"""The training of the AdaIN decoder: its objective by a plain computation, and whole trainings on tiny data."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import MINI_BLOCKS, assert_resumes_exactly, image, make_run

from tfstyle import vgg, weights
from tfstyle.feedforward import adain, serialization
from tfstyle.training import adain as adain_training
from tfstyle.training.options import AdaINOptions


def test_the_objective_is_a_plain_computation(rng):
    layers = ("block1_conv1", adain.ADAIN_LAYER)
    encoder = vgg.VGG(layers, padding_mode="reflect", input_scale="torch", blocks=MINI_BLOCKS)
    encoder.build((None, None, None, 3))
    content_images, style_images = image(rng, 32, 48), 1.0 - image(rng, 32, 48)
    stylized = tf.constant(image(rng, 32, 48))
    given = []

    def decoder(features, training):
        given.append(features.numpy())
        return stylized

    terms = adain_training.adain_objective(encoder, AdaINOptions(style_weight=2.0, content_weight=0.5))(
        decoder, (content_images, style_images)
    )
    last = adain.ADAIN_LAYER
    style, found = encoder(style_images), encoder(stylized)
    assert np.allclose(given[0].mean((1, 2)), style[last].numpy().mean((1, 2)), rtol=1e-3, atol=1e-3)
    content = np.mean((found[last] - given[0]) ** 2) / (np.mean(given[0] ** 2) + 1e-6)
    assert float(terms["content"]) == pytest.approx(0.5 * content, rel=1e-3)
    total = 0.0
    for layer in layers:
        own, target = (
            np.stack([x.mean((1, 2)), np.sqrt(x.var((1, 2)) + 1e-5)], 1)
            for x in (found[layer].numpy(), style[layer].numpy())
        )
        total += np.mean((own - target) ** 2) / (np.mean(target**2) + 1e-6) / 2
    assert float(terms["style"]) == pytest.approx(2.0 * total, rel=1e-3)


def test_a_training_is_resumed_exactly(pictures, rng, tmp_path):
    content_images, style_image = pictures
    options = AdaINOptions(steps=5, size=32, batch=1, save_every=2, precision="float32")

    def train(folder, **place):
        adain_training.train_adain(
            [style_image], content_images, make_run(tmp_path / folder, rng, **place), options=options
        )

    assert_resumes_exactly(train, tmp_path)


def test_a_training_changes_the_embedded_weights_a_little(pictures, rng, tmp_path):
    content_images, style_image = pictures
    options = AdaINOptions(steps=2, size=32, batch=1, save_every=2)
    path = adain_training.train_adain([style_image], content_images, make_run(tmp_path / "out", rng), options=options)
    trained = serialization.load(path)
    start = weights.read_embedded("adain-decoder")["decoder_conv9.kernel"]
    change = np.abs(trained.get_weights()[-2] - start).max()
    assert 0 < change < 0.01
