"""The examples: recipes with terms of their own, run as a user would."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, SAMPLES

import tfstyle
from tfstyle.targets import Pictured

PAIR = [str(SAMPLES / "chelsea.jpg"), str(SAMPLES / "starry_night.jpg")]


def load(name):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Dataclasses look their annotations up there.
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cross_layer_gram", pytest.param("face_weighted_content", marks=pytest.mark.slow)])
def test_an_example_runs_as_a_program(name, tmp_path):
    output = tmp_path / "out.png"
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *PAIR, str(output), "--size", "64"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(tfstyle.read(output).image.shape[1:3]) == 64


def content_error(image, box):
    """How far the features inside a box of the picture are from the content image's, at block3_conv2."""
    network = tfstyle.load_vgg(["block3_conv2"])
    content = tfstyle.read(PAIR[0], long_side=192).image
    content = tf.image.resize(content, image.shape[1:3], antialias=True)
    left, top, right, bottom = (
        round(share * side) for share, side in zip(box, (*image.shape[2:0:-1],) * 2, strict=True)
    )
    ours, theirs = (network(picture)["block3_conv2"] for picture in (image, content))
    inside = (slice(None), slice(top // 4, bottom // 4), slice(left // 4, right // 4))
    return float(tf.reduce_mean((ours[inside] - theirs[inside]) ** 2) / tf.reduce_mean(theirs[inside] ** 2))


@pytest.mark.slow
def test_the_face_is_kept_and_the_rest_painted_as_before():
    example, face = load("face_weighted_content"), (0.3, 0.1, 0.8, 0.9)
    seen = []
    options = {"size": 192, "steps": 30}
    plain = tfstyle.stylize(*PAIR, recipe="balanced", **options)
    recipe = example.face_recipe(face)
    kept = tfstyle.stylize(*PAIR, recipe=recipe, callbacks=[seen.append], **options)
    assert seen[-1].losses["face"] < 0.5 * seen[0].losses["style"]
    inside, outside = (0.45, 0.3, 0.65, 0.7), (0.0, 0.0, 0.2, 1.0)
    assert content_error(kept, inside) < 0.7 * content_error(plain, inside)
    assert content_error(kept, outside) > 0.8 * content_error(plain, outside)


def test_the_face_term_is_its_definition(rng):
    example = load("face_weighted_content")
    features = [rng.normal(size=(1, 5, 8, 256)).astype("float32") for _ in range(2)]
    content = Pictured(None, {example.LAYER: tf.constant(features[0])})
    (term,) = example.face_recipe((0.25, 0.0, 0.75, 1.0)).loss.terms
    target = term.target(content, None)
    mask = np.zeros((5, 8))
    for row, column in np.ndindex(5, 8):
        x, y = ((column + 0.5) / 8 - 0.5) / 0.25, ((row + 0.5) / 5 - 0.5) / 0.5
        mask[row, column] = np.clip(3 * (1 - x**2 - y**2), 0, 1)
    np.testing.assert_allclose(target["mask"][0, :, :, 0], mask, atol=1e-5)
    sums = term.sums({example.LAYER: tf.constant(features[1])}, target)
    expected = np.sum(mask[None, :, :, None] * (features[1] - features[0]) ** 2) / mask.sum() / 256
    assert float(term.loss(sums, target)) == pytest.approx(expected, rel=1e-4)


def test_the_cross_layer_gram_is_its_definition(rng):
    example = load("cross_layer_gram")
    fine, coarse = rng.normal(size=(1, 7, 10, 3)).astype("float32"), rng.normal(size=(1, 3, 5, 4)).astype("float32")
    sums = example.cross_products({example.FINE: tf.constant(fine), example.COARSE: tf.constant(coarse)})
    expected = np.zeros((3, 4))
    for row, column in np.ndindex(3, 5):
        mean = fine[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean(axis=(0, 1))
        expected += np.outer(mean, coarse[0, row, column]) / 15
    np.testing.assert_allclose(example.cross_gram(sums)[0], expected, rtol=1e-4, atol=1e-5)


def test_the_record_of_a_recipe_names_the_functions_of_its_terms():
    example = load("face_weighted_content")
    (term,) = json.loads(json.dumps(example.face_recipe((0.2, 0.1, 0.8, 0.9)).record()))["loss"]["terms"]
    assert term["sums"] == "face_weighted_content.weighted_error"
    assert term["target"] == {"class": "face_weighted_content.FaceTarget", "face": [0.2, 0.1, 0.8, 0.9]}
