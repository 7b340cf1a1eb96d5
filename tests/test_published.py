"""Every published recipe against a plain computation (`reference`), in its own space, from facts written again."""

import keras
import numpy as np
import pytest
import reference
from conftest import SAMPLES
from reference import (
    FIRST,
    gram_chw,
    gram_hw,
    gram_style,
    keras_style,
    tv_book,
    tv_keras,
    tv_nine,
    tv_squares,
    tv_sum,
    w2_style,
)

import tfstyle
from tfstyle import images, weights
from tfstyle.magnitudes import RAW_SCALES

# Root mean square of torchvision's features: before the ReLU, after it. On pixels of 0-1 they are 0.27 times as large.
TORCHVISION = {
    "block1_conv1": (1.09, 0.66), "block1_conv2": (2.36, 1.28), "block2_conv1": (4.48, 1.77),
    "block2_conv2": (5.07, 2.24), "block3_conv1": (7.56, 3.24), "block4_conv1": (13.59, 3.69),
    "block4_conv2": (12.40, 2.87), "block4_conv4": (10.96, 1.66), "block5_conv1": (8.24, 2.22),
}  # fmt: skip

ONES = (1.0,) * 5
RECIPES = {
    "pytorch-lbfgs": {
        "network": "torchvision", "tap": "conv", "style_layers": FIRST, "content_layer": "block2_conv2",
        "style": gram_style(gram_chw, ONES), "weights": (1.0, 1e6, 0.0), "space": "unit", "clamp": True,
        "optimizer": "lbfgs", "max_step_rms": 0.2, "fit": "content",
    },
    "avgpool-noise": {
        "network": "torchvision", "tap": "conv", "style_layers": FIRST, "content_layer": "block2_conv2", "pool": "avg",
        "style": gram_style(gram_chw, ONES), "weights": (1.0, 1e6, 0.0), "space": "unit", "clamp": True, "noise": 1.0,
        "optimizer": lambda: keras.optimizers.Adam(0.1), "fit": "content", "pixels": 0.27,
    },
    "tensorflow-tutorial": {
        "network": "caffe", "content_layer": "block5_conv2", "style": gram_style(gram_hw, (0.2,) * 5),
        "weights": (1e4, 1e-2, 1e8), "tv": tv_squares, "space": "unit", "clamp": True,
        "optimizer": lambda: keras.optimizers.Adam(0.02, beta_1=0.99, epsilon=0.1),
    },
    "d2l": {
        "network": "torchvision", "tap": "conv", "content_layer": "block4_conv4", "style": gram_style(gram_chw, ONES),
        "weights": (1.0, 1e4, 10.0), "tv": tv_book, "space": "torch", "fit": "content",
        "optimizer": lambda: keras.optimizers.Adam(0.3),
    },
    "johnson": {
        "network": "caffe", "content_layer": "block4_conv2", "style": gram_style(gram_chw, ONES),
        "weights": (5.0, 100.0, 1e-3), "tv": tv_sum, "space": "caffe", "optimizer": "lbfgs",
        # In pixels of 0-255 the first, tiny step of L-BFGS changes the gradient by little more than rounding, so two
        # computations part soon: the losses are compared along tfstyle's own path.
        "along": True, "noise": 0.001,
    },
    "gatys": {
        "network": "caffe", "content_layer": "block4_conv2", "space": "caffe", "optimizer": "lbfgs", "along": True,
        "style": gram_style(gram_hw, [1e3 / n**2 for n in (64, 128, 256, 512, 512)]), "weights": (1.0, 1.0, 0.0),
    },
    "anish": {
        "network": "caffe", "content_layer": "block4_conv2", "style": gram_style(gram_chw, (0.2,) * 5),
        "weights": (5.0, 500.0, 100.0), "tv": tv_squares, "space": "caffe", "noise": 0.256, "fit": "width",
        "optimizer": lambda: keras.optimizers.Adam(10.0, epsilon=1e-8),
    },
    "keras-io": {
        "network": "caffe", "content_layer": "block5_conv2", "style": keras_style, "content": "sum",
        "weights": (2.5e-8, 1e-6, 1e-6), "tv": tv_keras, "space": "caffe", "fit": "content",
        # At 96 pixels a fortieth of the rate is as stable as the whole one at 600.
        "optimizer": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(2.5, 100, 0.96)),
        "options": {"learning_rate": 2.5},
    },
    "crowson": {
        "network": "torchvision", "content_layer": "block4_conv2", "style": w2_style, "weights": (0.015, 1.0, 2.0),
        "tv": tv_nine, "space": "unit", "clamp": True, "edge": "replicate",
        "optimizer": lambda: keras.optimizers.Adam(0.02, beta_2=0.99, epsilon=1e-8),
    },
}  # fmt: skip


def our_run(name, content, style, steps, source, options):
    """The same from tfstyle, and the images after each step."""
    seen, path = [], []
    names = ("content", "style", "total_variation")

    def record(step):
        seen.append([step.losses.get(term, 0.0) for term in names])
        path.append(step.image)

    tfstyle.stylize(
        content,
        style,
        recipe=name,
        weights=str(source),
        size=96,
        steps=steps,
        **options,
        callbacks=[record],
    )
    return np.array(seen), path


def pictures(fit):
    """A photograph 96x64 and a painting at the size the recipe gives it."""
    content = images.resize(images.read(SAMPLES / "neuschwanstein.jpg").image, 64, 96).numpy()
    painting = images.read(SAMPLES / "starry_night.jpg").image
    height, width = painting.shape[1:3]
    sizes = {
        "content": (64, 96),
        "width": (round(height * 96 / width), 96),
        "long_side": (round(height * 96 / width), 96),
    }
    return content, painting, images.resize(painting, *sizes[fit]).numpy()


def factors_on_the_embedded_network(facts):
    """What a layer's features are multiplied by: one factor, or before the ReLU one a filter."""
    if facts["network"] == "caffe":
        return RAW_SCALES
    tap, pixels = facts.get("tap", "relu"), facts.get("pixels", 1.0)
    measured = weights.read_embedded("vgg19-magnitudes")
    return {layer: pixels * both[tap == "relu"] / measured[f"{layer}.{tap}"] for layer, both in TORCHVISION.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_its_plain_computation(name, either_weights):
    """On the embedded network with the factors of its features; one of the raw network on that as it is."""
    facts, factors = RECIPES[name], {}
    if either_weights == "embedded":
        factors = factors_on_the_embedded_network(facts)
    elif facts["network"] != "caffe":
        pytest.skip("this recipe is not of the raw network")
    content, painting, style = pictures(facts.get("fit", "long_side"))
    found, path = our_run(name, content, painting, 6, either_weights, facts.get("options", {}))
    expected = reference.plain_run(facts, weights.read(either_weights).layers, factors, content, style, 6, path)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.sum(1).min())


def two_scales(name, size, steps, **options):
    """A run of tfstyle on two scales: its steps, and the (content, style) of each scale as it should have them."""
    content, painting, style = pictures("long_side")
    seen = []
    recipe = tfstyle.get_recipe(name, scale_steps=steps[1:], first_steps=steps[0], **options)
    tfstyle.stylize(content, painting, recipe=recipe, size=96, callbacks=[seen.append])
    small = [images.fit(picture, size).numpy() for picture in (content, style)]
    assert [step.level for step in seen] == [1] * steps[0] + [2] * steps[1]
    assert [step.image.shape for step in seen] == [small[0].shape] * steps[0] + [content.shape] * steps[1]
    return seen, [small, (content, style)]


def losses_of(steps):
    return np.array(
        [[step.losses.get(term, 0.0) for term in ("content", "style", "total_variation")] for step in steps]
    )


@pytest.mark.slow
def test_crowsons_average_and_adams_moments_go_from_scale_to_scale():
    """Steps in its own proportion, 2 to 1, at 68 and 96 pixels, by √2 apart."""
    facts = RECIPES["crowson"]
    seen, pairs = two_scales("crowson", 68, (6, 3), scale_start=64)
    factors, network = factors_on_the_embedded_network(facts), weights.read("embedded").layers
    expected, averages = zip(*reference.averaged_adam(facts, network, factors, pairs, (6, 3)), strict=True)
    np.testing.assert_allclose(losses_of(seen), expected, rtol=2e-3, atol=2e-3 * np.sum(expected, 1).min())
    for step, average in zip(seen, averages, strict=True):
        assert np.abs(step.image - average).mean() < 2.5e-3  # Without carried moments 8e-3; the last iterate 1e-2.


def test_gatys_begins_its_second_scale_at_the_enlarged_image_with_an_optimizer_that_knows_nothing():
    """Steps in its own proportion, 5 to 2, at 61 and 96 pixels, which are to each other as 512 and 800."""
    facts = RECIPES["gatys"]
    seen, pairs = two_scales("gatys", 61, (5, 2), scale_start=60)
    network, after = weights.read("embedded").layers, [step.image for step in seen]
    starts = [pairs[0][0], images.resize(after[4], 64, 96)]
    paths = [[starts[0], *after[:4]], [starts[1], after[5]]]
    for steps, (content, style), path in zip((seen[:5], seen[5:]), pairs, paths, strict=True):
        expected = reference.losses_along(facts, network, RAW_SCALES, content, style, path)
        np.testing.assert_allclose(losses_of(steps), expected, rtol=1e-3, atol=1e-3 * expected.sum(1).min())
        moved = 255.0 * np.abs(path[1] - path[0]).sum()
        assert moved == pytest.approx(1.0, rel=0.2)  # Torch's first step: as long, in sum, as one unit of one pixel.
    assert 255.0 * np.abs(after[1] - after[0]).sum() > 10.0  # The second is no longer a first one.


def test_every_published_recipe_is_here():
    assert set(RECIPES) == set(tfstyle.RECIPES) - {"draft", "balanced", "best", "wasserstein", "nnst"}
