"""A small GAN on tiny data: each loss, pre-training, a step by a plain computation, resuming, and what is written."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_resumes_exactly, image, miniature, small_generator

from tfstyle import images, losses, total_variation
from tfstyle.environment import keras
from tfstyle.errors import DivergedError
from tfstyle.feedforward import serialization
from tfstyle.feedforward.generator import Generator
from tfstyle.training import checkpoint, gan, gan_losses, run_folder
from tfstyle.training.discriminator import Discriminator
from tfstyle.training.options import GAN_LOSSES, GANOptions
from tfstyle.training.run import Run
from tfstyle.training.trainer import fit as fit_in_folder
from tfstyle.training.trainer import initialize

OPTIONS = GANOptions(
    steps=50,
    size=32,
    batch=4,
    pretraining_steps=0,
    image_pool=6,
    learning_rate=2e-3,
    discriminator_learning_rate=5e-3,
    penalty_weight=1.0,
    precision="float32",
)


ADAM = partial(keras.optimizers.Adam, beta_1=0.5)


def make_trainer(seed=3, graph=False, optimizer=ADAM, **options):
    numbers = dataclasses.replace(OPTIONS, **options)
    generator, discriminator = small_generator(seed=seed, blocks=0), Discriminator((8, 9))
    discriminator.build((None, None, None, 3))
    initialize(discriminator, seed)
    losses_of_generator = gan.make_perceptual_losses(miniature(), numbers)
    second = optimizer(numbers.discriminator_learning_rate)
    trainer = gan.GANTrainer(
        generator, discriminator, losses_of_generator, discriminator_optimizer=second, options=numbers
    )
    trainer.compile(optimizer(numbers.learning_rate), run_eagerly=not graph)
    return trainer


def batches_from(step):
    """Smooth content images, and style images with dark stripes; functions of the step."""

    def batch(number):
        seed = tf.stack([tf.cast(number, tf.int32), 1])
        coarse = tf.random.stateless_uniform([4, 4, 4, 3], seed)
        content_images = tf.image.resize(coarse, (32, 32))
        style_images = tf.image.resize(coarse[::-1], (32, 32)) * tf.constant([1.0, 0.2] * 16)[:, None, None]
        return content_images, style_images

    return tf.data.Dataset.range(step, 100000).map(batch)


def history(trainer, steps, every=10):
    """The means of the logs over each few steps."""
    epochs = trainer.fit(batches_from(0), epochs=steps // every, steps_per_epoch=every, verbose=0, shuffle=False)
    return {name: np.array(values) for name, values in epochs.history.items()}


def check_sensible(found):
    """Losses stay finite and small, the style is learned, and the discriminator is right more often than not."""
    for values in found.values():
        assert np.isfinite(values).all()
        assert np.abs(values).max() < 100
    assert found["style"].min() < 0.8 * found["style"][0]
    assert found["accuracy"][-3:].mean() > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("name", GAN_LOSSES)
def test_fifty_steps_of_each_gan_loss_are_sensible(name):
    check_sensible(history(make_trainer(gan_loss=name, graph=True), 50))


def test_a_fake_loss_of_the_wrong_sign_is_noticed(monkeypatch):
    right = gan_losses.LOSSES["hinge"]
    wrong = right._replace(fake=lambda answers: -right.fake(answers))
    monkeypatch.setattr(gan_losses, "LOSSES", {"hinge": wrong})
    found = history(make_trainer(gan_loss="hinge", graph=True), 50)
    with pytest.raises(AssertionError):
        check_sensible(found)


def test_the_perceptual_losses_are_a_plain_computation(rng):
    options = dataclasses.replace(OPTIONS, content_weight=0.5, style_weight=2.0, tv_weight=3.0, color_weight=4.0)
    model = miniature()
    generated, content_images = (np.concatenate([image(rng, 32, 36), image(rng, 32, 36)]) for _ in range(2))
    style_image = image(rng, 32, 36)
    terms = gan.make_perceptual_losses(model, options)(
        tf.constant(generated), tf.constant(content_images), tf.constant(style_image)
    )
    seen, wanted, style = model(generated), model(content_images)["content"], model(style_image)["style"]
    content = np.mean((seen["content"]["block2_conv2"] - wanted["block2_conv2"]) ** 2)
    assert float(terms["content"]) == pytest.approx(0.5 * content / np.mean(wanted["block2_conv2"] ** 2), rel=1e-3)
    expected = sum(
        np.mean((seen["style"][layer][:1] - target) ** 2) / (np.mean(target**2) + 1e-6) / 2
        for layer, target in style.items()
    )
    assert float(terms["style"]) == pytest.approx(2.0 * expected, rel=1e-3)
    smooth, color = total_variation.squared(generated), losses.color_difference(generated, content_images)
    assert float(terms["total_variation"]) == pytest.approx(3.0 * float(smooth), rel=1e-4)
    assert float(terms["color"]) == pytest.approx(4.0 * float(color), rel=1e-4)
    alone = gan.make_perceptual_losses(model, options)(generated, content_images)
    assert set(alone) == {"content", "color"}
    assert float(alone["color"]) == pytest.approx(float(color), rel=1e-4)


def test_pre_training_lowers_the_content_loss_and_leaves_the_discriminator():
    trainer = make_trainer(pretraining_steps=20)
    discriminator, start = trainer.discriminator.get_weights(), trainer.generator.get_weights()
    found = history(trainer, 20)
    assert found["content"][-1] < found["content"][0]
    assert not found["style"].any()
    assert not found["accuracy"].any()
    assert not trainer.image_pool.numpy().any()
    assert int(trainer.discriminator_optimizer.iterations) == 0
    for before, after in zip(discriminator, trainer.discriminator.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert max(np.abs(a - b).max() for a, b in zip(start, trainer.generator.get_weights(), strict=True)) > 1e-3


def test_a_step_of_both_networks_changes_everything_that_is_trained():
    trainer = make_trainer()
    before = {name: [v.numpy() for v in variables.values()] for name, variables in trainer.state().items()}
    (batch,) = batches_from(0).take(1)
    trainer.train_step(batch)
    for name in ("generator", "discriminator", "network", "discriminator_optimizer", "pool"):
        after = [v.numpy() for v in trainer.state()[name].values()]
        moved = [np.any(one != other) for one, other in zip(before[name], after, strict=True)]
        assert np.mean(moved) > 0.8, name


def test_a_step_of_both_networks_is_a_plain_computation():
    """Plain gradient descent, so that each weight moves by the gradient of the sum of its network's losses."""
    rates = {"learning_rate": 0.01, "discriminator_learning_rate": 0.1}
    weights = {"entropy_weight": 0.5, "penalty_weight": 2.0, "adversarial_weight": 0.7, "kl_weight": 0.3}
    trainer = make_trainer(optimizer=keras.optimizers.SGD, gan_loss="lsgan", image_pool=0, **rates, **weights)
    generator, discriminator, seed = trainer.generator, trainer.discriminator, trainer.options.seed
    (batch,) = batches_from(0).take(1)
    content_images, style_images = batch
    numbers = tf.random.stateless_normal([4, 8], [seed, 0])
    before = [weight.numpy() for weight in generator.trainable_variables]
    with tf.GradientTape() as of_generator:
        mean, log_variance = generator.encode_style(style_images[:3])  # The fourth has a random code.
        drawn = mean + tf.exp(log_variance) ** 0.5 * numbers[:3]
        generated = generator(content_images, tf.concat([drawn, numbers[3:]], 0))
        terms = trainer.perceptual_losses(generated, content_images, style_images[:3])
        divergence = 0.5 * tf.reduce_mean(mean**2 + tf.exp(log_variance) - 1 - log_variance)
        with of_generator.stop_recording(), tf.GradientTape() as of_discriminator:
            shown = gan_losses.augment(tf.concat([style_images, generated], 0), tf.constant([seed, 2]))
            discriminator.update_singular_vectors()
            scores = discriminator(shown)
            p = tf.sigmoid(scores)
            entropy = tf.reduce_mean(-p * tf.math.log(p) - (1 - p) * tf.math.log(1 - p))
            penalty = gan_losses.gradient_penalty(discriminator, shown[:4], shown[4:], tf.constant([seed, 3]))
            found = tf.reduce_mean((scores[:4] - 1) ** 2) + tf.reduce_mean(scores[4:] ** 2)
            found += 0.5 * entropy + 2.0 * penalty
        gradients = of_discriminator.gradient(found, discriminator.trainable_variables)
        for weight, gradient in zip(discriminator.trainable_variables, gradients, strict=True):
            weight.assign_sub(0.1 * gradient)
        adversarial = tf.reduce_mean((discriminator(gan_losses.augment(generated, tf.constant([seed, 4]))) - 1) ** 2)
        loss = terms["content"] + terms["style"] + terms["total_variation"] + terms["color"]
        loss += 0.7 * adversarial + 0.3 * divergence
    variables = generator.trainable_variables
    gradients = of_generator.gradient(loss, variables, unconnected_gradients="zero")
    expected = [weight - 0.01 * gradient for weight, gradient in zip(variables, gradients, strict=True)]
    moved = [weight.numpy() for weight in discriminator.trainable_variables]
    discriminator.set_weights(make_trainer().discriminator.get_weights())
    trainer.train_step(batch)
    for network, wanted in ((discriminator, moved), (generator, expected)):
        for weight, value in zip(network.trainable_variables, wanted, strict=True):
            np.testing.assert_allclose(weight, value, rtol=1e-4, atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(expected, before, strict=True)) > 1e-3


@pytest.mark.parametrize(("batch", "noise"), [(1, 0), (2, 1), (3, 1), (4, 1), (8, 2)])
def test_a_quarter_of_a_batch_gets_random_codes_and_of_two_images_one(batch, noise, monkeypatch):
    trainer = make_trainer(batch=batch, image_pool=0)
    asked = []
    sample_codes = trainer._sample_codes
    monkeypatch.setattr(
        trainer, "_sample_codes", lambda images, n, step: asked.append(n) or sample_codes(images, n, step)
    )
    pictures = tf.random.stateless_uniform([batch, 32, 32, 3], [1, 2])
    assert math.isfinite(float(trainer.train_step((pictures, 1.0 - pictures))["loss"]))
    assert asked == [noise]


def test_the_network_is_the_average_of_the_generators_weights():
    trainer = make_trainer()
    mean = trainer.network.weights[0].numpy()
    for step, (batch) in enumerate(batches_from(0).take(3)):
        trainer.train_step(batch)
        keep = (1 + step) / (10 + step)
        mean = keep * mean + (1 - keep) * trainer.generator.weights[0].numpy()
    np.testing.assert_allclose(trainer.network.weights[0], mean, rtol=1e-5, atol=1e-6)


def test_without_an_image_pool_a_step_is_made_as_well():
    trainer = make_trainer(image_pool=0)
    assert trainer.image_pool.shape[0] == 0
    (batch,) = batches_from(0).take(1)
    assert math.isfinite(float(trainer.train_step(batch)["loss"]))


def assert_same_state(found, expected):
    for group, variables in expected.state().items():
        assert list(found.state()[group]) == list(variables)
        for name, variable in variables.items():
            given = found.state()[group][name]
            np.testing.assert_allclose(given.numpy(), variable.numpy(), rtol=1e-6, atol=1e-6, err_msg=name)


def fit(trainer, folder, steps):
    folder.mkdir(exist_ok=True)
    fixed = trainer.options.fixed()
    fit_in_folder(trainer, batches_from, folder, steps=steps, every=3, fixed=fixed)


@pytest.mark.parametrize("stop", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_resumed_equals_uninterrupted(stop, tmp_path):
    """In pre-training and after it; both networks, both optimizers, the average, the pool, the singular vectors."""
    whole, first, second = (make_trainer(seed=seed, pretraining_steps=3) for seed in (3, 3, 9))
    fit(whole, tmp_path / "whole", 7)
    fit(first, tmp_path / "split", stop)
    checkpoint.restore_state(second, tmp_path / "split" / run_folder.STATE, fixed=second.options.fixed())
    fit(second, tmp_path / "split", 7)
    assert second.step == whole.step == 7
    assert_same_state(second, whole)


def test_a_diverging_training_keeps_the_state_before(tmp_path):
    trainer = make_trainer()
    perceptual_losses = trainer.perceptual_losses

    def blown(*pictures):
        found = perceptual_losses(*pictures)
        return {name: t / tf.cast(trainer.optimizer.iterations < 4, t.dtype) for name, t in found.items()}

    trainer.perceptual_losses = blown
    with pytest.raises(DivergedError, match="not finite at step 5"):
        fit(trainer, tmp_path / "a", 9)
    assert np.isfinite(serialization.load(tmp_path / "a" / run_folder.NETWORK).get_weights()[0]).all()


def test_keras_callbacks_work_unchanged(tmp_path):
    trainer = make_trainer()
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss", save_best_only=True),
        keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.TensorBoard(tmp_path / "board"),
        keras.callbacks.TerminateOnNaN(),
    ]
    trainer.fit(batches_from(0), epochs=2, steps_per_epoch=2, callbacks=callbacks, verbose=0, shuffle=False)
    assert list((tmp_path / "board").rglob("events*"))
    again, backup = make_trainer(seed=8), keras.callbacks.BackupAndRestore(tmp_path / "backup")
    third = again.fit(batches_from(4), epochs=3, steps_per_epoch=2, callbacks=[backup], verbose=0, shuffle=False)
    assert third.epoch == [2]
    trainer.fit(batches_from(4), epochs=1, steps_per_epoch=2, verbose=0, shuffle=False)
    assert_same_state(again, trainer)
    assert isinstance(serialization.load(tmp_path / "best.keras"), Generator)
    header = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert {"epoch", "loss", "step", *gan.TERMS} <= set(header)


@pytest.fixture
def mini(monkeypatch):
    """Trainings on the miniature VGG and small networks."""
    monkeypatch.setattr(gan, "StyleContentModel", lambda style, content, dtype: miniature())
    monkeypatch.setattr(gan, "FILTERS", {"slim": (4, 5, 6)})


@pytest.fixture
def pictures(rng, tmp_path):
    """Three content images and two style images."""
    for name, count in (("photo", 3), ("painting", 2)):
        for number in range(count):
            images.write(image(rng, 40, 60), tmp_path / f"{name}{number}.png")
    return [sorted(tmp_path.glob(f"{name}*.png")) for name in ("photo", "painting")]


@pytest.mark.slow
def test_a_training_from_two_folders_is_resumed_exactly(mini, pictures, rng, tmp_path):
    content_images, style_images = pictures
    options = dataclasses.replace(OPTIONS, steps=5, pretraining_steps=2, save_every=2, batch=2)

    def train(folder, **place):
        run = Run(tmp_path / folder, [image(rng, 33, 47)], **place)
        gan.train_gan(style_images, content_images, run, options=options)

    assert_resumes_exactly(train, tmp_path)


@pytest.mark.slow
def test_a_training_leaves_network_state_losses_curves_and_sheets(mini, pictures, rng, tmp_path):
    content_images, style_images = pictures
    options = dataclasses.replace(OPTIONS, steps=4, pretraining_steps=2, save_every=2, batch=2)

    def run(folder, **kwargs):
        place = Run(folder, [image(rng, 33, 47)], **kwargs)
        return gan.train_gan(style_images, content_images, place, options=options)

    path = run(tmp_path / "out")
    assert isinstance(serialization.load(path), Generator)
    rows = run_folder.read_losses(tmp_path / "out")
    assert [row["step"] for row in rows] == [2, 4]
    assert set(gan.TERMS) < set(rows[0])
    assert (tmp_path / "out" / run_folder.CURVES).is_file()
    sheets = sorted(file.name for file in (tmp_path / "out" / run_folder.SHEETS).iterdir())
    assert sheets == [f"{step:06d}.jpg" for step in (0, 2, 4)]
    options = dataclasses.replace(options, gan_loss="hinge")
    with pytest.raises(ValueError, match="was made with gan_loss 'r1', not 'hinge'"):
        run(tmp_path / "out", resume=True)
