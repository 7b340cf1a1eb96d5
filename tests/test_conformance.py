"""Every model in every way it is used: one list of cases, one test a mode."""

import functools
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    MINI_BLOCKS,
    embedded_decoder,
    image,
    miniature,
    small_discriminator,
    small_generator,
    small_transformer,
)

from tfstyle import statistics
from tfstyle.environment import keras
from tfstyle.feedforward.adain import ArbitraryStyle
from tfstyle.serving import export
from tfstyle.vgg19 import layer_names

ALL = layer_names(MINI_BLOCKS)
FILTERS = dict(zip(ALL, sum(MINI_BLOCKS, ()), strict=True))
STYLE, CONTENT = ("block1_conv2", "block3_conv1"), ("block2_conv2", "block5_conv1")
SCALES = {"block1_conv2": 2.0, "block2_conv2": np.linspace(0.5, 2.0, 7, dtype="float32")}


@dataclass(frozen=True)
class Case:
    """A model, what it is given, and what comes back.

    Attributes:
        make: options of `keras.Model` → the model, always with the same weights.
        shapes: height and width of the first input → {name: shape of an output without the batch}.
        inputs: name → function of (rng, height, width) that makes one of a batch.
        sizes: height and width of the first input: an odd one, and one near the smallest.
        call: calls the model on a list of inputs.
        export: writes the model as a SavedModel to a folder, whose first version is in its folder 1.
        lacks: mode the model does not have → why.
    """

    make: Callable[..., keras.Model]
    shapes: Callable[[int, int], Mapping[str, tuple[int, ...]]]
    inputs: Mapping[str, Callable[..., np.ndarray]] = field(default_factory=lambda: {"image": image})
    sizes: tuple[tuple[int, int], ...] = ((33, 47), (17, 21))
    call: Callable[..., Any] = lambda model, inputs: model(*inputs)
    export: Callable[..., Any] = export.export_network
    lacks: Mapping[str, str] = field(default_factory=dict)

    def given(self, rng, size, batch=1):
        """A batch of the inputs, {name: array}."""
        return {
            name: np.concatenate([make(rng, *size) for _ in range(batch)]).astype("float32")
            for name, make in self.inputs.items()
        }


def at_layer(layer, height, width):
    """The shape of a miniature's features."""
    halvings = int(layer[5]) - 1
    return height >> halvings, width >> halvings, FILTERS[layer]


def extractor(statistic, shape, **given):
    """A case of `StyleContentModel`; `shape` gives that of the statistic of some channels."""

    def shapes(height, width):
        style = {f"style_{layer}": shape(FILTERS[layer]) for layer in STYLE}
        return style | {f"content_{layer}": at_layer(layer, height, width) for layer in CONTENT}

    def make(**options):
        return miniature(STYLE, CONTENT, statistic=statistic, **given, **options)

    return Case(make, shapes, export=export.export_extractor)


def stylized(height, width):
    """An image of the content's size."""
    return {"painting": (height, width, 3)}


CASES = {
    "VGG": Case(
        lambda **options: miniature(ALL, (), pooling="average", activation={ALL[2]: "pre"}, **options).vgg,
        lambda height, width: {layer: at_layer(layer, height, width) for layer in ALL},
        export=lambda network, folder: network.export(folder / "1", verbose=False),
    ),
    "gram": extractor(
        "gram", lambda n: (n, n), feature_scales=SCALES, activation="pre", pooling="average", input_scale="torch"
    ),
    "mean_std": extractor("mean_std", lambda n: (2, n), padding_mode="replicate"),
    "mean_gram": extractor("mean_gram", lambda n: (n + 1, n)),
    "AdaINDecoder": Case(
        embedded_decoder,
        lambda height, width: {"painting": (8 * height, 8 * width, 3)},
        {"features": lambda rng, height, width: rng.uniform(0, 2, (1, height, width, 512))},
        sizes=((3, 5), (2, 3)),
        lacks={"savedmodel": "exported as ArbitraryStyle"},
    ),
    "ArbitraryStyle": Case(
        lambda **options: ArbitraryStyle(embedded_decoder(**options)),
        stylized,
        {"image": image, "style": lambda rng, height, width: image(rng, width, height - 1)},
        sizes=((33, 47), (17, 21)),
        call=lambda network, inputs: network(inputs),
        export=lambda network, folder: export.export_network(network.decoder, folder),
        lacks={"keras": "made for the export alone"},
    ),
    "TransformerNet": Case(lambda **options: small_transformer(**options), stylized, sizes=((33, 47), (8, 13))),
    "Generator": Case(
        lambda **options: small_generator(code_size=5, **options),
        stylized,
        {"image": image, "code": lambda rng, *size: rng.normal(size=(1, 5))},
        sizes=((33, 47), (8, 13)),
    ),
    "Discriminator": Case(
        small_discriminator,
        lambda height, width: {"painting": ()},
        sizes=((17, 23), (4, 5)),
        lacks={
            "keras": "part of a training's state",
            "savedmodel": "part of a training's state",
            "bfloat16": "float32 always",
        },
    ),
}

MODES = {"keras", "savedmodel", "bfloat16"}
"""The modes that a model may lack."""

every_case = pytest.mark.parametrize("name", CASES)


def having(mode):
    """The names of the cases that have a mode."""
    return [name for name, case in CASES.items() if mode not in case.lacks]


@functools.cache
def made(name):
    """The model of a case; no test changes it."""
    return CASES[name].make()


def named(found):
    """{name: array} of what a model returned."""
    if not isinstance(found, Mapping):
        return {"painting": np.asarray(found)}
    return {
        name if not rest else f"{name}_{rest}": array
        for name, value in found.items()
        for rest, array in (named(value).items() if isinstance(value, Mapping) else [("", np.asarray(value))])
    }


def answer(name, given, model=None):
    """{name: array} that the model of a case answers to {name: input}."""
    return named(CASES[name].call(model or made(name), list(given.values())))


def assert_close(found, expected, tolerance=1e-5):
    """That two answers are alike, within a tolerance times the largest number of each array."""
    assert set(found) == set(expected)
    for key, array in expected.items():
        assert found[key].dtype == np.float32
        np.testing.assert_allclose(found[key], array, rtol=0, atol=tolerance * np.abs(array).max(), err_msg=key)


def compiled(name, traces):
    """The model of a case as one function for all sizes; `traces` grows with each tracing."""
    given = CASES[name].given(np.random.default_rng(0), CASES[name].sizes[0])
    any_size = [tf.TensorSpec([None] * (array.ndim - 1) + [array.shape[-1]]) for array in given.values()]

    @tf.function(input_signature=any_size)
    def function(*inputs):
        traces.append(1)
        return CASES[name].call(made(name), list(inputs))

    return lambda given: named(function(*given.values()))


def test_the_list_holds_every_shape_of_a_statistic():
    sums = statistics.sufficient_statistics(tf.ones([1, 4, 5, 3]))
    shapes = {tuple(statistic(sums).shape[1:]) for statistic in statistics.STATISTICS.values()}
    listed = {made(name).statistic for name in CASES if hasattr(made(name), "statistic")}
    assert shapes == {tuple(statistics.STATISTICS[name](sums).shape[1:]) for name in listed}


def test_only_known_modes_are_lacking():
    assert set().union(*(case.lacks for case in CASES.values())) == MODES


@every_case
def test_every_size_gives_its_shapes_and_changes_no_weight(name, rng):
    case, before = CASES[name], made(name).get_weights()
    for size in case.sizes:
        given = case.given(rng, size, batch=2)
        found = answer(name, given)
        assert {key: array.shape for key, array in found.items()} == {
            key: (2, *shape) for key, shape in case.shapes(*size).items()
        }
        assert_close(answer(name, given), found, tolerance=0)
        for array in found.values():
            assert np.isfinite(array).all()
            assert np.abs(array[0] - array[1]).max() > 1e-4  # No constant.
        if case.shapes is stylized:
            assert 0.0 <= found["painting"].min() < found["painting"].max() <= 1.0
    for one, other in zip(before, made(name).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@every_case
def test_a_compiled_model_answers_the_same_at_every_size_and_is_traced_once(name, rng):
    case, traces = CASES[name], []
    function = compiled(name, traces)
    for size, batch in zip((*case.sizes, case.sizes[0]), (1, 3, 2), strict=True):
        given = case.given(rng, size, batch)
        assert_close(function(given), answer(name, given))
    assert len(traces) == 1


@every_case
def test_two_of_a_batch_do_not_see_each_other(name, rng):
    given = CASES[name].given(rng, CASES[name].sizes[0], batch=2)
    both = answer(name, given)
    for index in range(2):
        alone = answer(name, {key: array[index : index + 1] for key, array in given.items()})
        assert_close({key: array[index : index + 1] for key, array in both.items()}, alone)


@every_case
def test_two_threads_may_use_one_model(name, rng):
    case, start = CASES[name], threading.Barrier(2)
    pictures = [case.given(rng, size) for size in case.sizes]
    expected = [answer(name, given) for given in pictures]
    function = compiled(name, [])

    def work(given):
        start.wait(60)
        return [call(given) for call in (function, lambda given: answer(name, given)) for _ in range(3)]

    with ThreadPoolExecutor(2) as pool:
        for found, alone in zip(pool.map(work, pictures), expected, strict=True):
            for one in found:
                assert_close(one, alone)


@every_case
def test_a_global_policy_changes_nothing(name, rng):
    given = CASES[name].given(rng, CASES[name].sizes[0])
    keras.config.set_dtype_policy("mixed_float16")
    try:
        found = answer(name, given, CASES[name].make())
    finally:
        keras.config.set_dtype_policy("float32")
    assert_close(found, answer(name, given), tolerance=1e-6)


@pytest.mark.parametrize("name", having("bfloat16"))
def test_bfloat16_is_near_float32_and_comes_back_as_float32(name, rng):
    given = CASES[name].given(rng, CASES[name].sizes[0])
    found = answer(name, given, CASES[name].make(dtype="mixed_bfloat16"))
    for key, expected in answer(name, given).items():
        assert found[key].dtype == np.float32
        assert 1e-5 < np.linalg.norm(found[key] - expected) / np.linalg.norm(expected) < 0.03, key


def run_elsewhere(code, folder, names, rng):
    """Runs code in a process of its own, in a folder; returns {(case, size): (its inputs, what it answered)}.

    For each name and size there is NAME-SIZE.npz with the inputs, and the code writes NAME-SIZE.found.npz.
    """
    given = {(name, k): CASES[name].given(rng, size, 2) for name in names for k, size in enumerate(CASES[name].sizes)}
    for (name, k), inputs in given.items():
        np.savez(folder / f"{name}-{k}.npz", **inputs)
    command = [sys.executable, "-c", code, *names]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    found = {}
    for (name, k), inputs in given.items():
        with np.load(folder / f"{name}-{k}.found.npz") as arrays:
            found[name, k] = inputs, dict(arrays)
    return found


LOAD_KERAS = """
import sys
import keras
import numpy as np
import tfstyle
for name in sys.argv[1:]:
    model = keras.saving.load_model(f"{name}.keras", safe_mode=True)
    for size in range(2):
        with np.load(f"{name}-{size}.npz") as given:
            found = model(*given.values())
        np.savez(f"{name}-{size}.found.npz", *keras.tree.flatten(found))
"""


def test_a_keras_file_comes_back_in_a_clean_process(tmp_path, rng):
    names = having("keras")
    for name in names:
        made(name).save(tmp_path / f"{name}.keras")
    for (name, size), (given, found) in run_elsewhere(LOAD_KERAS, tmp_path, names, rng).items():
        expected = keras.tree.flatten(CASES[name].call(made(name), list(given.values())))
        assert len(found) == len(expected), (name, size)
        assert_close(found, {f"arr_{k}": np.asarray(tensor) for k, tensor in enumerate(expected)})


LOAD_SAVED_MODEL = """
import sys
sys.modules["tfstyle"] = None  # It cannot be imported.
import numpy as np
import tensorflow as tf
for name in sys.argv[1:]:
    model = tf.saved_model.load(f"{name}/1")
    for size in range(2):
        with np.load(f"{name}-{size}.npz") as given:
            found = model.signatures["serving_default"](**{key: tf.constant(given[key]) for key in given})
        np.savez(f"{name}-{size}.found.npz", **found)
"""


def test_a_saved_model_answers_the_same_without_tfstyle(tmp_path, rng):
    names = having("savedmodel")
    for name in names:
        CASES[name].export(made(name), Path(tmp_path, name))
    for (name, _), (given, found) in run_elsewhere(LOAD_SAVED_MODEL, tmp_path, names, rng).items():
        assert_close(found, answer(name, given))
