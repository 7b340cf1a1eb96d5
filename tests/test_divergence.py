"""What the guard of a run calls a divergence, and the image it keeps."""

import math

import pytest
import tensorflow as tf

from tfstyle.divergence import EXPLODED, FINITE, Guard, norm_is_finite


@pytest.mark.parametrize(
    ("loss", "finite", "what"),
    [
        (math.nan, 1.0, "loss was no longer a finite number"),
        (math.inf, 1.0, "loss was no longer a finite number"),
        (2 * EXPLODED, 1.0, "loss rose to 2e+30"),
        (3.0, 0.0, "next image, or the square of the gradient, was no longer finite"),
        (3.0, 1.0, None),
    ],
)
def test_a_divergence_in_words(loss, finite, what):
    assert Guard().examine({"total": loss, FINITE: finite}, tf.zeros([])) == what


def test_the_best_image_is_that_of_the_lowest_loss_of_the_level():
    guard = Guard()
    for loss in (3.0, 2.0, 5.0, math.nan):
        guard.examine({"total": loss, FINITE: 1.0}, tf.constant(loss))
    assert float(guard.watched.best) == 2.0
    guard.begin_level()
    assert guard.go_back() is None
    guard.examine({"total": 4.0, FINITE: 1.0}, tf.constant(4.0))
    assert float(guard.watched.best) == 4.0


def test_a_run_goes_back_to_the_best_image_three_times_also_over_levels():
    guard = Guard()
    guard.examine({"total": 4.0, FINITE: 1.0}, tf.constant(4.0))
    assert [float(guard.go_back()) for _ in range(2)] == [4.0, 4.0]
    guard.begin_level()
    guard.examine({"total": 7.0, FINITE: 1.0}, tf.constant(7.0))
    guard = Guard(guard.watched)  # As when a run is resumed.
    assert float(guard.go_back()) == 7.0
    assert guard.go_back() is None


def test_the_entry_about_the_image_is_not_a_loss():
    values = {"total": 1.0, "content": 1.0, FINITE: 1.0}
    Guard().examine(values, tf.zeros([]))
    assert values == {"total": 1.0, "content": 1.0}


@pytest.mark.parametrize(("slope", "finite"), [(1e18, True), (1e19, False), (math.inf, False), (math.nan, False)])
def test_a_gradient_whose_square_leaves_float32_is_not_finite(slope, finite):
    assert bool(norm_is_finite(tf.fill([1, 3, 4, 3], slope))) == finite


@pytest.mark.parametrize(
    ("losses", "result", "doubt"),
    [
        ((3.0, 5.0, 2.0), 0.5, None),
        ((3.0, 2.0, 3.5), 0.5, "the loss rose at the last level, from 3 to 3.5"),
        ((3.0,), 1.0, "more than 90% of the result's values are 0 or 1, or beyond"),
        ((3.0,), -7.0, "more than 90% of the result's values are 0 or 1, or beyond"),
    ],
)
def test_a_doubtful_result_in_words(losses, result, doubt):
    guard = Guard()
    guard.examine({"total": 1.0, FINITE: 1.0}, tf.zeros([]))
    guard.begin_level()
    for loss in losses:
        guard.examine({"total": loss, FINITE: 1.0}, tf.zeros([]))
    picture = tf.fill([1, 2, 3, 3], 0.5)
    assert guard.doubt(tf.fill([1, 4, 3, 3], result), picture, picture) == doubt


def test_a_black_and_white_picture_may_give_another():
    ink = tf.constant([[[[0.0] * 3, [1.0] * 3]]])
    assert Guard().doubt(ink, tf.fill([1, 2, 3, 3], 0.5), ink) is None
