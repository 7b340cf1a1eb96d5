"""Objectives by a plain computation, and whole trainings on tiny data: resumed, shared, of one photograph."""

import dataclasses
import functools
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from conftest import MINI_BLOCKS, ROOT, assert_resumes_exactly, image, miniature, small_transformer

from tfstyle import environment, images, objective, total_variation, vgg, weights
from tfstyle.errors import InputError, OutputError
from tfstyle.feedforward import adain, serialization
from tfstyle.feedforward.transformer_net import Transformer
from tfstyle.training import perceptual, run_folder
from tfstyle.training.options import AdaINOptions, FastOptions

LAYERS = {"style_layers": ("block1_conv1", "block2_conv1"), "content_layers": ("block2_conv2",)}


def mini_recipe(options):
    recipe = perceptual.fast_recipe(options)
    return dataclasses.replace(recipe, style_layer_weights=(0.7, 0.3), **LAYERS)


@pytest.fixture
def mini(monkeypatch):
    """Trainings on the miniature network and a small transformer."""
    make = perceptual.fast_recipe
    monkeypatch.setattr(
        perceptual, "fast_recipe", lambda o: dataclasses.replace(make(o), style_layer_weights=(0.7, 0.3), **LAYERS)
    )
    monkeypatch.setattr(perceptual, "model_for", lambda recipe: miniature(statistic="mean_gram"))
    monkeypatch.setattr(perceptual, "Transformer", lambda filters, dtype: Transformer((4, 5, 6), blocks=0, dtype=dtype))


@pytest.fixture
def pictures(rng, tmp_path):
    for number in range(3):
        images.write(image(rng, 40, 60), tmp_path / f"photo{number}.png")
    images.write(1.0 - image(rng, 50, 70), tmp_path / "painting.png")
    return sorted(tmp_path.glob("photo*.png")), tmp_path / "painting.png"


def run(folder, rng, **options):
    return perceptual.Run(folder, [image(rng, 33, 47)], **options)


def mean_and_covariance(statistic):
    mean, gram = np.asarray(statistic[0], "float64"), np.asarray(statistic[1:], "float64")
    return mean, gram - np.outer(mean, mean) + 1e-4 * np.eye(len(mean))


def test_the_objective_is_a_plain_computation(rng):
    options = FastOptions(content_weight=0.5, style_weight=2.0, tv_weight=3.0, precision="float32")
    recipe, model, painting = mini_recipe(options), miniature(statistic="mean_gram"), 1.0 - image(rng, 50, 70)
    photographs = np.concatenate([image(rng, 32, 36), image(rng, 32, 36)])
    network = small_transformer()
    terms = perceptual.fast_objective(model, recipe, painting)(network, tf.constant(photographs))
    painted = network(photographs)
    seen, wanted, style = model(painted), model(photographs)["content"], model(painting)["style"]
    content = np.mean((seen["content"]["block2_conv2"] - wanted["block2_conv2"]) ** 2)
    assert float(terms["content"]) == pytest.approx(0.5 * content, rel=1e-3)
    expected = 0.0
    for layer, share in zip(recipe.style_layers, (0.7, 0.3), strict=True):
        target, target_covariance = mean_and_covariance(style[layer][0])
        for one in seen["style"][layer]:  # The distance of one picture after the other, as the definition has it.
            mean, covariance = mean_and_covariance(one)
            shared = scipy.linalg.sqrtm(target_covariance @ covariance).real
            distance = np.sum((mean - target) ** 2) + np.trace(covariance + target_covariance - 2 * shared)
            expected += share * distance / len(mean) / len(photographs)
    assert float(terms["style"]) == pytest.approx(2.0 * expected, rel=1e-2)
    smooth = total_variation.squared(painted)
    assert float(terms["total_variation"]) == pytest.approx(3.0 * float(smooth), rel=1e-4)


@pytest.mark.parametrize(
    ("mode", "flips", "weights"),
    [
        (lambda f: f, False, {}),
        (tf.function, True, {}),
        (lambda f: f, False, {"style_weight": 0.0}),
        (lambda f: f, True, {"content_weight": 0.0}),
    ],
    ids=["eager", "graph", "content alone", "style alone"],
)
def test_the_objectives_gradient_is_that_of_the_plain_losses(mode, flips, weights, rng, monkeypatch):
    given, plain_features = [], vgg.VGG.features_and_pullback

    def features_and_pullback(network, picture, flipped=None):
        given.append(flipped)
        return plain_features(network, picture, flipped)

    monkeypatch.setattr(environment, "should_flip_kernels", lambda setting: flips)
    monkeypatch.setattr(vgg.VGG, "features_and_pullback", features_and_pullback)
    options = FastOptions(**({"content_weight": 0.5, "style_weight": 2.0, "tv_weight": 3.0} | weights))
    recipe, model, network = mini_recipe(options), miniature(statistic="mean_gram"), small_transformer()
    painting = 1.0 - image(rng, 50, 70)
    photographs = tf.constant(np.concatenate([image(rng, 32, 36), image(rng, 32, 36)]))

    def plain(network, photographs):
        painted = network(photographs)
        style = objective.make_targets(model, recipe, painting, painting)["style"]
        targets = {"content": model(photographs)["content"], "style": style}
        factors = {"content": 0.5, "style": 2.0, "total_variation": 3.0}
        return objective.loss_terms(recipe, model(painted), painted, targets, factors)

    def terms_and_gradients(terms_of):
        with tf.GradientTape() as tape:
            terms = terms_of(network, photographs)
            loss = objective.total(terms)
        return terms, tape.gradient(loss, network.trainable_variables)

    terms, gradients = mode(
        functools.partial(terms_and_gradients, perceptual.fast_objective(model, recipe, painting))
    )()
    expected, expected_gradients = terms_and_gradients(plain)
    assert any(given) == flips
    assert set(terms) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-4, err_msg=name)
    largest = max(np.abs(wanted).max() for wanted in expected_gradients)  # That of a bias in front of a mean is 0.
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * largest)


def test_adains_objective_is_a_plain_computation(rng):
    layers = ("block1_conv1", adain.ADAIN_LAYER)
    encoder = vgg.VGG(layers, edge="reflect", input_scale="torch", blocks=MINI_BLOCKS)
    encoder.build((None, None, None, 3))
    photographs, paintings = image(rng, 32, 48), 1.0 - image(rng, 32, 48)
    painted = tf.constant(image(rng, 32, 48))
    given = []

    def decoder(features, training):
        given.append(features.numpy())
        return painted

    terms = perceptual.adain_objective(encoder, AdaINOptions(style_weight=2.0, content_weight=0.5))(
        decoder, (photographs, paintings)
    )
    last = adain.ADAIN_LAYER
    style, found = encoder(paintings), encoder(painted)
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


def test_a_training_lowers_its_loss_and_leaves_everything(mini, pictures, rng, tmp_path):
    photographs, painting = pictures
    options = FastOptions(steps=12, precision="float32", size=32, save_every=4, learning_rate=0.01, style_size=64)
    path = perceptual.train_fast(painting, photographs, run(tmp_path / "out", rng), options=options)
    assert path == tmp_path / "out" / run_folder.NETWORK
    rows = run_folder.read_losses(tmp_path / "out")
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert rows[-1]["loss"] < 0.95 * rows[0]["loss"]
    sheets = [file.name for file in sorted((tmp_path / "out" / run_folder.SHEETS).iterdir())]
    assert sheets == ["000000.jpg", "000004.jpg", "000008.jpg", "000012.jpg"]
    assert serialization.load(path)(image(rng, 33, 47)).shape == (1, 33, 47, 3)


@pytest.mark.parametrize("without", ["content", "style"])
def test_a_loss_without_weight_is_logged_as_0(without, mini, pictures, rng, tmp_path):
    photographs, painting = pictures
    weights = {f"{without}_weight": 0.0}
    options = FastOptions(steps=1, precision="float32", size=32, batch=1, style_size=64, **weights)
    perceptual.train_fast(painting, photographs, run(tmp_path / "out", rng), options=options)
    (row,) = run_folder.read_losses(tmp_path / "out")
    assert [row[name] == 0.0 for name in ("content", "style")] == [name == without for name in ("content", "style")]


def test_a_training_of_one_photograph_is_resumed_exactly_and_with_no_others(mini, pictures, rng, tmp_path):
    photographs, painting = pictures
    options = FastOptions(steps=5, size=40, batch=1, save_every=2, style_size=64, precision="float32")

    def train(photographs, folder, **place):
        perceptual.train_fast(painting, photographs, run(tmp_path / folder, rng, **place), options=options)

    assert_resumes_exactly(lambda *args, **place: train(photographs[:1], *args, **place), tmp_path)
    with pytest.raises(ValueError, match="was made with photographs"):
        train(photographs, "whole", resume=True)


def test_a_decoders_training_is_resumed_exactly(pictures, rng, tmp_path):
    photographs, painting = pictures
    options = AdaINOptions(steps=5, size=32, batch=1, save_every=2, precision="float32")

    def train(folder, **place):
        perceptual.train_adain([painting], photographs, run(tmp_path / folder, rng, **place), options=options)

    assert_resumes_exactly(train, tmp_path)


def test_a_decoder_is_trained_and_paints(pictures, rng, tmp_path):
    photographs, painting = pictures
    options = AdaINOptions(steps=2, size=32, batch=1, save_every=2)
    path = perceptual.train_adain([painting], photographs, run(tmp_path / "out", rng), options=options)
    trained = serialization.load(path)
    start = weights.read_embedded("adain-decoder")["decoder_conv9.kernel"]
    change = np.abs(trained.get_weights()[-2] - start).max()
    assert 0 < change < 0.01


def test_a_training_is_neither_overwritten_unasked_nor_begun_twice(mini, pictures, rng, tmp_path):
    """In the library as on the command line; paths may be strings."""
    photographs, painting = pictures
    options = FastOptions(steps=2, size=32, batch=1, style_size=64, precision="float32")

    def train(**place):
        perceptual.train_fast(
            str(painting), [str(path) for path in photographs], run(folder, rng, **place), options=options
        )

    folder = str(tmp_path / "out")
    train()
    before = (tmp_path / "out" / run_folder.STATE).read_bytes()
    with pytest.raises(OutputError, match="holds a training; go on with `resume`, or start again with `overwrite`"):
        train()
    assert (tmp_path / "out" / run_folder.STATE).read_bytes() == before
    train(resume=True)
    options = dataclasses.replace(options, seed=1)
    train(overwrite=True)
    assert (tmp_path / "out" / run_folder.STATE).read_bytes() != before


def test_only_damaged_photographs_leave_nothing(pictures, rng, tmp_path):
    photographs, painting = pictures
    for path in photographs:
        path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(InputError):
        perceptual.train_fast(painting, photographs, run(tmp_path / "out", rng), options=FastOptions(size=32))
    assert not (tmp_path / "out").exists()


SHARED = """
import sys
import numpy as np
import tensorflow as tf
sys.path.insert(0, sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import test_fitting as made
from tfstyle.environment import keras
from tfstyle.training import checkpoint, perceptual
from pathlib import Path

folder = Path(sys.argv[2])
alone = made.make_trainer(keras.optimizers.SGD(0.5))
made.run(alone, folder / "alone", 3)
run = perceptual.Run(folder / "shared", [], mirrored=True)
strategy = run.strategy(2)
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    shared = made.make_trainer(keras.optimizers.SGD(0.5), seed=3)
    made.run(shared, folder / "shared", 2)
    again = made.make_trainer(keras.optimizers.SGD(0.5), seed=9)
    checkpoint.restore_state(again, folder / "shared" / "state.npz", fixed=made.OPTIONS.fixed())
    made.run(again, folder / "shared", 3)
made.assert_same_state(again, alone, tolerance=1e-5)
try:
    run.strategy(3)
except ValueError as error:
    print(error)
"""


def test_two_devices_share_a_batch_and_learn_what_one_does(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", SHARED, ROOT / "tests", tmp_path], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout == "`batch` should be a multiple of the 2 devices that share it, not 3.\n"
