"""Fixtures shared by the tests: seeded numbers, a miniature network, small pictures, the raw weights where they are."""

import contextlib
import dataclasses
import gc
import logging
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tfstyle import api, environment, images, train_step, transfer, weights
from tfstyle.environment import keras, tf
from tfstyle.errors import MemoryLimitError, WeightsError
from tfstyle.feedforward.adain import AdaINDecoder
from tfstyle.feedforward.generator import Generator
from tfstyle.feedforward.transformer_net import TransformerNet
from tfstyle.model import StyleContentModel
from tfstyle.recipes import Loss, Pyramid, Recipe, catalog
from tfstyle.recipes.recipe import replace
from tfstyle.training import run_folder
from tfstyle.training.discriminator import Discriminator
from tfstyle.training.run import Run
from tfstyle.training.trainer import initialize

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "tfstyle" / "data" / "samples"
RAW_WEIGHTS = ROOT.parent / "shared" / "weights" / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"

MINI_BLOCKS = ((4, 5), (6, 7), (8,), (9,), (10,))
"""A VGG of the same class with few filters, all different, so that a swapped axis fails."""

NOT_THE_FILES_FAULT = (
    (MemoryError(), MemoryLimitError, "memory ran out while it was read"),
    (PermissionError(13, "Permission denied"), WeightsError, r"cannot be read \(Permission denied\); check its perm"),
)
"""What may be raised while a good file is read, the error it becomes, and the end of its message."""


def pytest_collection_finish():
    """Saves the time to look at a million imported objects again each time that Python collects garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_memory_is_left(monkeypatch):
    """As in a fresh process, no earlier run has left memory to use again."""
    monkeypatch.setattr(environment, "_reusable", 0)


@contextlib.contextmanager
def unchanged_log():
    """Afterwards the log of tfstyle has the handlers, level and propagation that it had before."""
    logger = logging.getLogger("tfstyle")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def the_log_stays_as_it_is():
    """A command line sends the log to standard error alone, where `caplog` would not see it."""
    with unchanged_log():
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def raw_weights():
    if not RAW_WEIGHTS.is_file():
        pytest.skip("the raw VGG-19 weights are not beside this checkout (../shared/weights)")
    return RAW_WEIGHTS


@pytest.fixture(params=["embedded", "raw"])
def either_weights(request):
    """The embedded network, which is everywhere, and the raw one, where it is."""
    return request.getfixturevalue("raw_weights") if request.param == "raw" else request.param


@pytest.fixture
def pair(rng, tmp_path):
    """Paths of a content image of 90x60 pixels and a style image."""
    paths = tmp_path / "photo.jpg", tmp_path / "painting.png"
    for path, size in zip(paths, ((60, 90), (50, 70)), strict=True):
        images.write(image(rng, *size), path)
    return [str(path) for path in paths]


@pytest.fixture
def mini_network(monkeypatch):
    """The default recipe is a small one on the miniature network, 3 steps at 48 pixels, in this process."""
    monkeypatch.setattr(train_step, "build_model", lambda network, loss: miniature())
    recipe = mini_recipe(scale_steps=(3,), size=48)
    monkeypatch.setattr(catalog, "RECIPES", {"default": recipe})
    api._cached_transfer.cache_clear()
    yield
    api._cached_transfer.cache_clear()


@pytest.fixture
def mini_transfer(monkeypatch):
    """recipe → Transfer on the miniature."""

    def build(network, loss):
        layers = tuple(loss.style_layers), tuple(loss.content_layers)
        return miniature(*layers, other_layers=loss.layers(), statistic=loss.statistic)

    monkeypatch.setattr(train_step, "build_model", build)
    return transfer.Transfer


@pytest.fixture
def little_memory():
    """A context in which Python and NumPy may not take more than some megabytes."""

    @contextlib.contextmanager
    def bounded(megabytes=30):
        tracemalloc.start()
        try:
            yield
            assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
        finally:
            tracemalloc.stop()

    return bounded


def image(rng, height=33, width=47):
    """A smooth random image [1, height, width, 3] in [0, 1]."""
    coarse = rng.uniform(size=(height // 4 + 2, width // 4 + 2, 3))
    return np.kron(coarse, np.ones((4, 4, 1)))[None, :height, :width].astype("float32")


def miniature(style_layers=("block1_conv1", "block2_conv1"), content_layers=("block2_conv2",), **options):
    """A `StyleContentModel` on the miniature blocks, with seeded weights."""
    options = {"weights": None, "blocks": MINI_BLOCKS} | options
    model = StyleContentModel(style_layers, content_layers, **options)
    model.build((None, None, None, 3))
    numbers = np.random.default_rng(3)
    for variable in model.vgg.variables:
        scale = 0.02 if variable.path.endswith("bias") else 1.0 / np.sqrt(np.prod(variable.shape[:-1]))
        variable.assign(numbers.normal(scale=scale, size=variable.shape))
    return model


MINI_RECIPE = Recipe(
    name="mini",
    loss=Loss(content_layers={"block2_conv2": 1.0}, style_layers={"block1_conv1": 0.7, "block2_conv1": 0.3}),
    pyramid=Pyramid(scale_steps=(4,)),
)


def mini_recipe(**overrides):
    """A recipe for the miniature."""
    return replace(MINI_RECIPE, overrides)


def small_generator(**options):
    """A generator of the same kind as `small_transformer`."""
    return small_transformer(kind=Generator, **options)


def small_transformer(seed=2, filters=(4, 5, 6), blocks=2, kind=TransformerNet, **options):
    """A transformer with few filters and seeded weights, no normalization of which is trivial."""
    network = kind(filters, blocks=blocks, **options)
    network.build((None, None, None, 3))
    initialize(network, seed)
    numbers = np.random.default_rng(seed)
    for normalization in network.normalizations:
        normalization.shift.assign(numbers.normal(size=normalization.shift.shape))
        normalization.scale.assign(numbers.normal(1.0, 0.2, size=normalization.scale.shape))
    return network


def small_discriminator(seed=5, filters=(6, 7), **options):
    """A discriminator with few filters and seeded weights."""
    network = Discriminator(filters, **options)
    network.build((None, None, None, 3))
    initialize(network, seed)
    return network


def embedded_decoder(**options):
    """AdaIN's decoder as a Keras model, with the embedded weights."""
    network = AdaINDecoder(**options)
    network.build((None, None, None, 512))
    network.assign(weights.read_embedded("adain-decoder"))
    return network


@pytest.fixture
def pictures(rng, tmp_path):
    """The files of three content images and of a style image."""
    for number in range(3):
        images.write(image(rng, 40, 60), tmp_path / f"photo{number}.png")
    images.write(1.0 - image(rng, 50, 70), tmp_path / "painting.png")
    return sorted(tmp_path.glob("photo*.png")), tmp_path / "painting.png"


@dataclasses.dataclass(frozen=True)
class LeapAt:
    """Gradient descent whose step of one number is far too long, in a run that has not gone back more often."""

    step: int
    factor: float

    def init(self, image):
        return tf.constant(0)

    def update(self, state, image, gradient):
        leap = tf.where(tf.equal(state + 1, self.step), self.factor, 1e-7)
        return state + 1, image - leap * gradient

    def resize(self, state, height, width):
        return state


def make_run(folder, rng, **options):
    """A training in a folder, with one image on its sample sheets."""
    return Run(folder, [image(rng, 33, 47)], **options)


class Impatient(keras.callbacks.Callback):
    """Ctrl-C after a step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if self.model.step == self.step:
            raise KeyboardInterrupt


def assert_resumes_exactly(train, folder):
    """That a training of more than 3 steps, stopped after the third and resumed, ends in the state of a whole one.

    `train` takes the name of a folder in `folder` and options of `Run`.
    """
    train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("split", callbacks=[Impatient(3)])
    train("split", resume=True)
    with np.load(folder / "whole" / run_folder.STATE) as one, np.load(folder / "split" / run_folder.STATE) as other:
        assert one.files == other.files
        assert len(one.files) > 5
        for name in one.files[1:]:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-6, atol=1e-6)


def command(*arguments, **options):
    """Runs `python -m tfstyle` as a program."""
    words = [sys.executable, "-m", "tfstyle", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


def assert_one_line(capsys, code, expected_code, message):
    """That a command ended with a code, and printed one line of error with a message and nothing else."""
    out, err = capsys.readouterr()
    assert (code, out) == (expected_code, "")
    assert err.startswith("tfstyle")
    assert message in err
    assert err.count("\n") == 1
