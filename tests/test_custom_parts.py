"""Recipes with an optimizer, a statistic, a distance and a total variation of a user's own, in whole runs."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, mini_recipe

from tfstyle.errors import UsageError
from tfstyle.recipes import SGD


class Descent:
    """Gradient descent, as a user would write it."""

    def init(self, image):
        return tf.constant(0)

    def update(self, state, image, gradient):
        return state + 1, image - 0.5 * gradient

    def resize(self, state, height, width):
        return state


def test_an_optimizer_of_ones_own_is_followed_by_the_clip(mini_transfer, rng):
    content, style = image(rng, 68, 90), image(rng, 72, 95)
    options = {"style_weight": 50.0, "scale_start": 40, "scale_steps": (3, 2), "warm_start": True}
    own, ours = (
        list(mini_transfer(recipe).steps(content, style))
        for recipe in (mini_recipe(optimizer=kind, **options) for kind in (Descent(), SGD(learning_rate=0.5)))
    )
    assert len(own) == 5
    assert 0.0 <= float(tf.reduce_min(own[-1].image)) <= float(tf.reduce_max(own[-1].image)) <= 1.0
    for one, other in zip(own, ours, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_a_statistic_a_distance_and_a_variation_of_ones_own_are_traced_once(mini_transfer, rng):
    calls = []

    def energy(sums):
        calls.append("statistic")
        return tf.linalg.diag_part(sums.products) / sums.positions[:, None]

    def squared(statistic, target):
        calls.append("distance")
        return tf.reduce_mean((statistic - target) ** 2)

    def total(picture):
        calls.append("variation")
        return tf.reduce_mean(picture**2)

    own = {"statistic": energy, "distance": squared, "total_variation": total, "tv_weight": 0.5}
    steps = list(mini_transfer(mini_recipe(**own)).steps(image(rng), image(rng, 40, 57)))
    assert calls.count("distance") == 2  # Once for each style layer.
    assert (calls.count("statistic"), calls.count("variation")) == (4, 1)  # Also of the targets.
    start = np.mean(image(np.random.default_rng(7)) ** 2)
    assert steps[0].losses["total_variation"] == pytest.approx(0.5 * start, rel=1e-4)
    assert steps[-1].losses["style"] < steps[0].losses["style"]


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ({"distance": lambda statistic, target: (statistic - target) ** 2}, "style/block1_conv1"),
        ({"total_variation": lambda picture: tf.reduce_mean(picture**2, axis=(1, 2)), "tv_weight": 1.0}, "total_var"),
    ],
)
def test_a_part_of_ones_own_that_is_no_number_is_one_line(own, name, mini_transfer):
    with pytest.raises(UsageError, match=f"the loss term '{name}.*' should be one number, not a tensor of shape") as e:
        mini_transfer(mini_recipe(**own))
    assert "\n" not in str(e.value)
