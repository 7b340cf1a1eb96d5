"""What the guard of a run calls a divergence, and the image it keeps."""

import math

import pytest
import tensorflow as tf

from tfstyle.divergence import EXPLODED, FINITE, Guard


@pytest.mark.parametrize(
    ("loss", "finite", "what"),
    [
        (math.nan, 1.0, "loss was no longer a finite number"),
        (math.inf, 1.0, "loss was no longer a finite number"),
        (2 * EXPLODED, 1.0, "loss rose to 2e+30"),
        (3.0, 0.0, "next image was no longer finite"),
        (3.0, 1.0, None),
    ],
)
def test_a_divergence_in_words(loss, finite, what):
    assert Guard().examine({"total": loss, FINITE: finite}, tf.zeros([])) == what


def test_the_best_image_is_that_of_the_lowest_loss_of_the_level():
    guard = Guard()
    for loss in (3.0, 2.0, 5.0, math.nan):
        guard.examine({"total": loss, FINITE: 1.0}, tf.constant(loss))
    assert float(guard.best) == 2.0
    guard.retries = 2
    guard.begin_level()
    assert guard.best is None
    assert guard.retries == 2
    guard.examine({"total": 4.0, FINITE: 1.0}, tf.constant(4.0))
    assert float(guard.best) == 4.0


def test_the_entry_about_the_image_is_not_a_loss():
    values = {"total": 1.0, "content": 1.0, FINITE: 1.0}
    Guard().examine(values, tf.zeros([]))
    assert values == {"total": 1.0, "content": 1.0}
