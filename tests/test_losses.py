"""Losses against definitions, worked numbers, and the functions they were published as."""

import numpy as np
import pytest
import tensorflow as tf

from tfstyle import losses

# A 2x3 picture of one channel:  0 1 3
#                                4 4 4
PICTURE = np.array([[[[0.0], [1.0], [3.0]], [[4.0], [4.0], [4.0]]]], "float32")
# Vertical differences 4 3 1; horizontal 1 2 and 0 0.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("squared", (16 + 9 + 1) / 3 + (1 + 4) / 4),
        ("absolute", 0.5 * (8 / 3 + 3 / 4)),
        ("power", (16 + 1) ** 1.25 + (9 + 4) ** 1.25),
    ],
)
def test_total_variation_worked_by_hand(name, expected):
    np.testing.assert_allclose(losses.total_variation(name)(PICTURE), expected, rtol=1e-6)


def test_total_variation_matches_tensorflows_up_to_its_sums(rng):
    image = rng.uniform(size=(1, 6, 9, 3)).astype("float32")
    down, right = (np.abs(np.diff(image, axis=axis)) for axis in (1, 2))
    ours = losses.total_variation_absolute(image)
    np.testing.assert_allclose(ours, 0.5 * (down.mean() + right.mean()), rtol=1e-5)
    np.testing.assert_allclose(tf.image.total_variation(tf.constant(image))[0], down.sum() + right.sum(), rtol=1e-5)


@pytest.mark.parametrize("name", losses.TOTAL_VARIATIONS)
def test_a_constant_image_has_no_variation_and_a_finite_gradient(name):
    image = tf.fill((1, 5, 7, 3), 0.3)
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = losses.total_variation(name)(image)
    assert float(value) == 0.0
    np.testing.assert_array_equal(tape.gradient(value, image), np.zeros((1, 5, 7, 3)))


@pytest.mark.parametrize("name", ["squared", "absolute"])
def test_total_variation_hardly_depends_on_the_size(name, rng):
    image = rng.uniform(size=(1, 64, 96, 3)).astype("float32")
    whole, part = (float(losses.total_variation(name)(i)) for i in (image, image[:, :32, :48]))
    assert abs(whole / part - 1) < 0.1


def test_layer_losses_worked_by_hand():
    values = {"a": tf.constant([[1.0, 2.0]]), "b": tf.constant([[0.0]])}
    targets = {"a": tf.constant([[3.0, 2.0]]), "b": tf.constant([[5.0]])}
    found = losses.layer_losses(values, targets, {"a": 10.0, "b": 0.5})
    assert {name: float(loss) for name, loss in found.items()} == {"a": 20.0, "b": 12.5}


def test_relative_losses_worked_by_hand_and_free_of_scale():
    values, targets = {"a": tf.constant([[1.0, 2.0]])}, {"a": tf.constant([[3.0, 1.0]])}
    found = losses.layer_losses(values, targets, {"a": 10.0}, relative=True)["a"]
    assert float(found) == pytest.approx(10.0 * 2.5 / 5.0, rel=1e-5)
    larger = [{"a": 7.0 * side["a"]} for side in (values, targets)]
    assert float(losses.layer_losses(*larger, {"a": 10.0}, relative=True)["a"]) == pytest.approx(float(found), rel=1e-5)
    nothing = losses.layer_losses(values, {"a": tf.zeros((1, 2))}, {"a": 1.0}, relative=True)["a"]
    assert np.isfinite(nothing)


def test_layer_losses_are_symmetric_and_zero_only_for_equals(rng):
    a, b = ({"x": tf.constant(rng.normal(size=(2, 3, 4)))} for _ in range(2))
    forth, back = (losses.layer_losses(*pair, {"x": 1.0})["x"] for pair in ((a, b), (b, a)))
    assert float(forth) == pytest.approx(float(back))
    assert float(forth) > 0
    assert float(losses.layer_losses(a, a, {"x": 1.0})["x"]) == 0.0


def test_a_missing_layer_is_named():
    with pytest.raises(ValueError, match="unknown layer 'block1_conv1'; did you mean 'block1_conv2'"):
        losses.layer_losses({"block1_conv2": 0.0}, {"block1_conv1": 0.0}, {"block1_conv1": 1.0})


def test_an_unknown_total_variation_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'squared'"):
        losses.total_variation("square")
