"""Runs: scales, starts, traces, averages, and how they end."""

import gc
import logging
import weakref
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf
from conftest import LeapAt, image, mini_recipe, miniature

from tfstyle import (
    color,
    color_transfer,
    images,
    memory,
    planning,
    tiling,
    total_variation,
    train_step,
    transfer,
    wasserstein,
)
from tfstyle.details import find_detail
from tfstyle.errors import DivergedError, InputError, MemoryLimitError, UsageError
from tfstyle.masks import read_mask, read_masks
from tfstyle.memory import memory_needed
from tfstyle.pixel_range import to_space
from tfstyle.recipes import LBFGS, SGD, Adam, get_recipe
from tfstyle.styles import Style
from tfstyle.tensors import sides

RECIPE = {"content_weight": 0.5, "style_weight": 2.0, "tv_weight": 3.0}


@pytest.mark.parametrize("optimizer", [Adam(), LBFGS()], ids=["adam", "lbfgs"])
def test_a_run_lowers_the_loss_and_stays_in_range(optimizer, mini_transfer, rng):
    recipe = mini_recipe(optimizer=optimizer, scale_steps=(25,))
    steps = list(mini_transfer(recipe).steps(image(rng), image(rng, 30, 41)))
    assert [step.index for step in steps] == list(range(1, 26))
    assert steps[-1].losses["total"] < 0.7 * steps[0].losses["total"]
    for step in steps:
        assert step.image.shape == (1, 33, 47, 3)
        assert 0.0 <= float(tf.reduce_min(step.image)) <= float(tf.reduce_max(step.image)) <= 1.0
    assert (steps[0].total, steps[0].level, steps[0].levels) == (25, 1, 1)
    assert steps[0].seconds < steps[-1].seconds


def test_the_first_losses_are_those_of_the_start(mini_transfer, rng):
    recipe = mini_recipe(**RECIPE)
    content = image(rng)
    first = next(mini_transfer(recipe).steps(content, image(rng)))
    assert first.losses["content"] == 0.0
    assert first.losses["total_variation"] == pytest.approx(3.0 * float(total_variation.squared(content)), rel=1e-4)


@pytest.fixture
def traced(monkeypatch):
    """A list with an entry for each tracing of a train step."""
    calls, make = [], train_step.make_objective
    monkeypatch.setattr(
        train_step, "make_objective", lambda *args, **options: calls.append(1) or make(*args, **options)
    )
    return calls


def test_a_second_run_of_the_same_size_traces_nothing_and_repeats_the_first(mini_transfer, rng, traced):
    recipe = mini_recipe(optimizer=LBFGS(), scale_start=40, scale_steps=(3, 2))
    painter, content, style = mini_transfer(recipe), image(rng, 68, 90), image(rng, 70, 95)
    first = list(painter.steps(content, style, recipe=recipe))
    heavier = get_recipe(recipe, style_weight=9.0, steps=7)
    other = list(painter.steps(image(rng, 68, 90), style, recipe=heavier))
    second = list(painter.steps(content, style, recipe=recipe))
    np.testing.assert_array_equal(first[-1].image, second[-1].image)
    assert len(other) == 7
    assert len(traced) == 1  # For both sizes, and both runs.


def test_a_frame_around_the_painting_is_not_painted(mini_transfer, rng):
    content, painting = image(rng, 40, 60), image(rng, 44, 70)
    framed = np.pad(painting, ((0, 0), (5, 5), (5, 5), (0, 0)), constant_values=1.0)
    trimming, plain = mini_recipe(style_crop=5 / 54), mini_recipe()
    first = list(mini_transfer(trimming).steps(content, framed))
    second = list(mini_transfer(plain).steps(content, painting))
    np.testing.assert_array_equal(first[-1].image, second[-1].image)


def test_scales_run_coarse_to_fine_each_from_the_one_before(mini_transfer, rng):
    recipe = mini_recipe(scale_start=40, scale_steps=(3, 2, 1))
    content = image(rng, 136, 180)
    steps = list(mini_transfer(recipe).steps(content, image(rng, 136, 180)))
    assert [(s.level, *s.image.shape[1:3]) for s in steps] == [(1, 34, 45)] * 3 + [(2, 68, 90)] * 2 + [(3, 136, 180)]
    grown = images.resize(steps[2].image, 68, 90)
    assert float(tf.reduce_max(tf.abs(steps[3].image - grown))) <= 0.02 + 1e-5  # One step of Adam at rate 0.02.


@pytest.mark.parametrize(
    ("added", "weights"),
    [
        (True, {}),
        (True, {"content_weight": 0.0}),
        (True, {"content_weight": 0.0, "neighbor_weight": 1.0, "neighbor_layers": ("block3_conv1",)}),
        (False, {}),
    ],
)
def test_a_finer_scale_begins_with_the_photographs_own_detail(added, weights, mini_transfer, rng):
    recipe = mini_recipe(add_detail=added, learning_rate=1e-7, scale_start=40, scale_steps=(1, 1), **weights)
    content, given = image(rng, 68, 90), image(rng, 34, 45)
    first, second = mini_transfer(recipe).steps(content, image(rng, 68, 90), init=given)
    np.testing.assert_allclose(first.image, given, atol=1e-5)  # A start of one's own gets nothing added.
    expected = images.resize(given, 68, 90)
    if added and weights != {"content_weight": 0.0}:
        expected += content - images.resize(images.resize(content, 34, 45), 68, 90)
    np.testing.assert_allclose(second.image, tf.clip_by_value(expected, 0.0, 1.0), atol=1e-5)


def test_the_photograph_reduced_and_given_its_detail_is_the_photograph(mini_transfer, rng):
    recipe = mini_recipe(add_detail=True, learning_rate=1e-7, scale_start=40, scale_steps=(1, 1))
    content = image(rng, 68, 90)
    first, second = mini_transfer(recipe).steps(content, image(rng, 68, 90))
    assert np.abs(images.resize(first.image, 68, 90) - content).mean() > 0.05
    np.testing.assert_allclose(second.image, content, atol=1e-4)


def test_a_finer_scale_begins_with_the_paintings_detail_where_it_is_stronger(mini_transfer, rng):
    options = {"learning_rate": 1e-7, "scale_start": 40, "scale_steps": (1, 1), "add_style_detail": True}
    content, style, given = image(rng, 68, 90), image(rng, 100, 90), image(rng, 34, 45)
    theirs = find_detail(given, style, size=(68, 90), used=50)
    own = content - images.resize(images.resize(content, 34, 45), 68, 90)
    is_theirs = np.sum(np.square(theirs), -1, keepdims=True) > np.sum(np.square(own), -1, keepdims=True)
    for added, strength in (
        ({}, theirs),
        ({"add_detail": True}, np.where(is_theirs, theirs, own)),
        ({"strength": 0.5}, 0.5 * theirs),
        ({"style_weight": 0.0}, 0.0 * theirs),
    ):
        recipe = mini_recipe(**options, **added)
        _, second = mini_transfer(recipe).steps(content, style, init=given)
        expected = tf.clip_by_value(images.resize(given, 68, 90) + strength, 0.0, 1.0)
        np.testing.assert_allclose(second.image, expected, atol=1e-4)


def test_each_part_gets_the_detail_of_its_own_paintings(mini_transfer, rng):
    options = {"learning_rate": 1e-7, "scale_start": 40, "scale_steps": (1, 1), "add_style_detail": True}
    content, given = image(rng, 68, 90), image(rng, 34, 45)
    paintings = [image(rng, 68, 90) for _ in range(3)]
    styles = [
        Style(paintings[0], mask="left"),
        Style(paintings[1], mask="left", weight=3.0),
        Style(paintings[2], mask="right"),
    ]
    recipe = mini_recipe(**options, drawn_regions=2)
    transfer = mini_transfer(recipe)
    _, second = transfer.steps(content, read_masks(styles, (68, 90), feather=0.0), init=given)
    one, two, three = (find_detail(given, painting, size=(68, 90), used=45) for painting in paintings)
    left = read_mask("left", (68, 90))
    expected = images.resize(given, 68, 90) + left * (0.25 * one + 0.75 * two) + (1.0 - left) * three
    np.testing.assert_allclose(second.image, tf.clip_by_value(expected, 0.0, 1.0), atol=1e-4)


def test_a_small_style_image_is_reduced_for_coarse_levels_and_never_enlarged(mini_transfer, rng, monkeypatch):
    recipe, seen = mini_recipe(scale_start=20, scale_steps=(1,)), []
    painter = mini_transfer(recipe)
    targets = painter.train_step.targets

    def record(content, styles, **options):
        seen.append(tuple(tuple(style.shape[1:3]) for style in styles))
        return targets(content, styles, **options)

    monkeypatch.setattr(painter.train_step, "targets", record)
    pictures = [image(rng, 64, 90), image(rng, 128, 160)]
    list(painter.steps(image(rng, 140, 160), pictures, style_sides=[240, 160], recipe=recipe))
    assert seen == [((43, 60), (32, 40)), ((64, 90), (64, 80)), ((64, 90), (128, 160))]


@pytest.mark.parametrize(("style", "scales"), [((72, 90), 2), ((72, 900), 2), ((40, 900), 1)])
def test_no_scale_is_so_coarse_that_the_painting_means_nothing(style, scales, mini_transfer, rng):
    recipe = mini_recipe(scale_start=40, scale_steps=(1,), style_crop=0.02)
    steps = list(mini_transfer(recipe).steps(image(rng, 68, 90), image(rng, *style)))
    assert len(steps) == scales  # At half the size, and without its margin, the last painting would have 19 pixels.


@pytest.mark.parametrize("init", ["content", "noise", "image"])
def test_the_start_is_what_was_asked_for(init, mini_transfer, rng):
    recipe = mini_recipe(learning_rate=1e-6, seed=5, init="content" if init == "image" else init)
    content, start = image(rng), image(rng, 20, 31)
    given = start if init == "image" else None
    first = next(mini_transfer(recipe).steps(content, image(rng), init=given)).image.numpy()
    if init == "noise":
        assert 0.25 < first.std() < 0.33  # A uniform one has 0.289.
        again, other = (
            next(mini_transfer(r).steps(content, image(rng))).image for r in (recipe, get_recipe(recipe, seed=6))
        )
        np.testing.assert_allclose(again, first, atol=1e-5)
        assert np.abs(other - first).mean() > 0.1
    else:
        expected = content if init == "content" else images.resize(start, 33, 47)
        np.testing.assert_allclose(first, expected, atol=1e-5)


def test_a_start_may_be_a_function_of_the_coarsest_levels_images(mini_transfer, rng):
    recipe, given = mini_recipe(learning_rate=1e-6, scale_start=40, scale_steps=(1, 1)), []
    content, style = image(rng, 68, 90), image(rng, 72, 90)

    def start(content, style):
        given.append((content.shape, style.shape))
        return 1.0 - content

    first = next(mini_transfer(recipe).steps(content, style, init=start)).image
    np.testing.assert_allclose(first, 1.0 - images.resize(content, 34, 45), atol=1e-5)
    assert given == [((1, 34, 45, 3), (1, 36, 45, 3))]


def test_a_scale_with_no_steps_is_passed_over(mini_transfer, rng):
    recipe = mini_recipe(scale_start=40, scale_steps=(3, 1), steps=1)
    (only,) = mini_transfer(recipe).steps(image(rng, 68, 90), image(rng, 68, 90))
    assert (only.level, only.levels, only.image.shape[1:3]) == (1, 1, (68, 90))


def test_the_average_is_the_weighted_mean_of_all_iterates_and_the_start(mini_transfer, rng):
    content, style = image(rng), image(rng)
    plain, averaged = mini_recipe(ema_decay=0.0, scale_steps=(4,)), mini_recipe(ema_decay=0.75, scale_steps=(4,))
    iterates = [content, *(step.image.numpy() for step in mini_transfer(plain).steps(content, style))]
    found = [step.image for step in mini_transfer(averaged).steps(content, style)]
    for count in range(1, 5):
        shares = [0.75 ** (count - k) for k in range(count + 1)]
        expected = sum(s * i for s, i in zip(shares, iterates, strict=False)) / sum(shares)
        np.testing.assert_allclose(found[count - 1], expected, atol=1e-5)


@pytest.mark.parametrize(("optimizer", "name"), [(Adam(), "mean"), (LBFGS(history=3), "pairs")])
def test_a_warm_start_carries_the_optimizer_to_the_next_scale(optimizer, name, mini_transfer, rng, monkeypatch):
    content, style, found = image(rng, 68, 90), image(rng, 68, 90), {}
    for warm in (False, True):
        recipe = mini_recipe(
            optimizer=optimizer, learning_rate=0.01, scale_start=40, scale_steps=(5, 1), warm_start=warm
        )
        painter, begun = mini_transfer(recipe), []
        step = painter.train_step._step

        def record(targets, weights, kernels, state, step=step, begun=begun):
            begun.append(state)
            return step(targets, weights, kernels, state)

        monkeypatch.setattr(painter.train_step, "_step", record)
        list(painter.steps(content, style, recipe=recipe))
        found[warm] = begun[5].optimizer  # At the start of the second scale.
    assert not np.any(getattr(found[False], name))
    assert np.any(getattr(found[True], name))
    assert np.shape(getattr(found[True], name))[-3:] == (68, 90, 3)


def tinted(rng, height, width, tint):
    return image(rng, height, width) * np.array(tint, "float32")


def test_with_a_palette_a_run_is_that_of_the_recolored_photograph(mini_transfer, rng):
    content, style = tinted(rng, 68, 90, (0.9, 0.8, 0.6)), tinted(rng, 100, 130, (0.5, 0.7, 0.9))
    options = {"scale_start": 40, "scale_steps": (2, 2), "add_detail": True, "style_crop": 0.1}
    cropped = style[:, 10:90, 10:120]
    recolored = color.match_colors(content, color.find_palette(cropped), strength=0.6)
    found = list(mini_transfer(mini_recipe(palette=0.6, **options)).steps(content, style))
    expected = list(mini_transfer(mini_recipe(**options)).steps(recolored, style))
    for step, other in zip(found, expected, strict=True):
        wanted = (
            other.image
            if step.index < 4
            else color.finish_colors(other.image, color.find_palette(cropped), strength=0.6)
        )
        np.testing.assert_allclose(step.image, wanted, atol=1e-4)
        assert step.losses == pytest.approx(other.losses, rel=1e-3)
    assert np.abs(found[-1].image - expected[-1].image).max() > 0.01
    assert np.abs(recolored - content).max() > 0.05


@pytest.mark.parametrize("mode", ["content", "match", "histogram"])
def test_with_the_photographs_colors_a_run_is_that_of_the_recolored_painting(mode, mini_transfer, rng):
    content, style = tinted(rng, 68, 90, (0.9, 0.8, 0.6)), tinted(rng, 100, 130, (0.5, 0.7, 0.9))
    options = {"scale_start": 40, "scale_steps": (2, 2), "palette": 0.5}
    recolored = color.recolor_style(tf.constant(style), tf.constant(content), color=mode, strength=0.7)
    recipe = mini_recipe(color=mode, color_strength=0.7, **options)
    found = list(mini_transfer(recipe).steps(content, style))
    expected = list(mini_transfer(mini_recipe(**options)).steps(content, recolored))
    for step, other in zip(found, expected, strict=True):
        kept = mode == "content" and step.index == 4  # At the end alone.
        wanted = color.keep_colors(other.image, content, strength=0.7) if kept else other.image
        np.testing.assert_allclose(step.image, wanted, atol=1e-3)
        assert step.losses == pytest.approx(other.losses, rel=1e-3)
    assert np.abs(recolored - style).max() > 0.05


def test_the_photograph_takes_the_mean_color_of_the_painting(mini_transfer, rng):
    content, style = tinted(rng, 33, 47, (0.9, 0.8, 0.6)), tinted(rng, 30, 41, (0.5, 0.7, 0.9))
    recipe = mini_recipe(palette=1.0, scale_steps=(2,), learning_rate=1e-6)
    last = list(mini_transfer(recipe).steps(content, style))[-1].image
    np.testing.assert_allclose(np.mean(last, axis=(0, 1, 2)), np.mean(style, axis=(0, 1, 2)), atol=0.03)


def test_a_palette_needs_no_graph_of_its_own_and_0_is_a_run_without(mini_transfer, rng, traced, monkeypatch):
    content, style = image(rng), image(rng, 30, 41)
    recipe = mini_recipe(learning_rate=1e-6)
    painter = mini_transfer(recipe)
    list(painter.steps(content, style, recipe=get_recipe(recipe, palette=0.5)))
    monkeypatch.setattr(color_transfer, "_compiled", None)  # With 0, no colors are computed at all.
    last = list(painter.steps(content, style))[-1]
    np.testing.assert_allclose(last.image, content, atol=1e-5)
    assert len(traced) == 1


@pytest.mark.parametrize("space", ["torch", "caffe"])
def test_a_run_in_another_space_shows_ordinary_images(space, mini_transfer, rng):
    recipe = mini_recipe(space=space, clip=False, learning_rate=1e-6, init="noise", noise=0.5)
    (first, *_) = mini_transfer(recipe).steps(image(rng), image(rng))
    variable = to_space(first.image, space)
    assert abs(float(tf.reduce_mean(variable))) < 0.05
    assert float(tf.math.reduce_std(variable)) == pytest.approx(0.5, rel=0.1)


def test_an_unclipped_recipe_leaves_the_range_alone(mini_transfer, rng):
    recipe = mini_recipe(learning_rate=0.5, clip=False)
    last = list(mini_transfer(recipe).steps(image(rng), image(rng)))[-1]
    assert float(tf.reduce_max(last.image)) > 1.0 or float(tf.reduce_min(last.image)) < 0.0


def test_a_loss_that_is_not_finite_stops_the_run(mini_transfer, rng):
    recipe = mini_recipe(style_weight=1e38, style_layers={"block1_conv1": 1e30, "block2_conv1": 1e30})
    with pytest.raises(DivergedError, match="the loss was no longer a finite number at step 1; use smaller weights"):
        list(mini_transfer(recipe).steps(image(rng), 1 - image(rng)))


def test_a_picture_too_small_for_the_network_is_refused(mini_transfer, rng, monkeypatch):
    recipe = mini_recipe(style_layers=("block1_conv1", "block5_conv1"))
    deep = miniature(style_layers=tuple(recipe.loss.style_layers))
    monkeypatch.setattr(train_step, "build_model", lambda network, loss: deep)
    painter = transfer.Transfer(recipe)
    with pytest.raises(InputError, match=r"the content is 64x15 .* needs 16 pixels on each side"):
        list(painter.steps(image(rng, 15, 64), image(rng), recipe=recipe))
    with pytest.raises(InputError, match="the style is 8x33"):
        list(painter.steps(image(rng), image(rng, 33, 8), recipe=recipe))


@pytest.mark.parametrize("error", [tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), MemoryError()])
def test_memory_that_runs_out_is_one_line(error, mini_transfer, rng, monkeypatch):
    recipe = mini_recipe()
    painter = mini_transfer(recipe)

    def exhausted(*_, **__):
        raise error

    monkeypatch.setattr(painter.train_step, "targets", exhausted)
    with pytest.raises(MemoryLimitError, match="memory ran out at level 1 of 1, for 47x33; choose"):
        list(painter.steps(image(rng), image(rng), recipe=recipe))


def test_a_recipe_of_another_graph_is_refused(mini_transfer, rng):
    recipe = mini_recipe()
    with pytest.raises(ValueError, match="needs a Transfer of its own"):
        next(mini_transfer(recipe).steps(image(rng), image(rng), recipe=get_recipe(recipe, pooling="average")))


def test_interleaved_runs_of_one_transfer_are_the_runs_alone(mini_transfer, rng):
    recipe = mini_recipe(optimizer=LBFGS(), scale_start=40, scale_steps=(3, 2), warm_start=True)
    painter, style = mini_transfer(recipe), image(rng, 70, 95)
    contents = [image(rng, 68, 90) for _ in range(2)]
    alone = [[step.image for step in painter.steps(content, style, recipe=recipe)] for content in contents]
    runs = [painter.steps(content, style, recipe=recipe) for content in contents]
    for pair, expected in zip(zip(*runs, strict=True), zip(*alone, strict=True), strict=True):
        for step, picture in zip(pair, expected, strict=True):
            np.testing.assert_array_equal(step.image, picture)


def test_runs_in_threads_are_the_runs_alone(mini_transfer, rng):
    recipe = mini_recipe(optimizer=LBFGS(), scale_steps=(6,))
    painter, style = mini_transfer(recipe), image(rng, 40, 57)
    contents = [image(rng, *size) for size in ((33, 47), (33, 47), (47, 33), (40, 40))] * 2

    def last(content):
        return [step.image for step in painter.steps(content, style, recipe=recipe)][-1]

    expected = [last(content) for content in contents]
    with futures.ThreadPoolExecutor(8) as pool:
        for found, picture in zip(pool.map(last, contents), expected, strict=True):
            np.testing.assert_array_equal(found, picture)


def test_abandoned_runs_leave_the_next_one_right(mini_transfer, rng):
    recipe = mini_recipe(scale_steps=(3,))
    painter, content, style = mini_transfer(recipe), image(rng), image(rng)
    expected = list(painter.steps(content, style, recipe=recipe))[-1].image
    for _ in range(100):
        next(painter.steps(1.0 - content, style, recipe=recipe))
    np.testing.assert_array_equal(list(painter.steps(content, style, recipe=recipe))[-1].image, expected)


def test_thirty_sizes_are_traced_once(mini_transfer, rng, traced):
    recipe = mini_recipe(scale_steps=(1,))
    painter = mini_transfer(recipe)
    for size in range(30):
        list(painter.steps(image(rng, 20 + size, 50 - size), image(rng, 33, 30 + size), recipe=recipe))
    assert len(traced) == 1


def test_many_transfers_bring_no_warning_of_retracing(mini_transfer, rng):
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    tf.get_logger().addHandler(handler)
    try:
        for weight in range(8):
            recipe = mini_recipe(scale_steps=(1,), style_layers={"block1_conv1": 0.1, "block2_conv1": weight})
            list(mini_transfer(recipe).steps(image(rng), image(rng)))
    finally:
        tf.get_logger().removeHandler(handler)
    assert messages == []


@pytest.mark.parametrize("custom", ["content", "style", "init"])
@pytest.mark.parametrize(
    ("wrong", "received"),
    [
        ("photo.jpg", "received str"),
        (np.zeros((20, 30, 3), "float32"), r"received float32 \[20, 30, 3\]"),
        (np.zeros((2, 20, 30, 3), "float32"), r"received float32 \[2, 20, 30, 3\]"),
        (np.zeros((1, 20, 30, 3), "uint8"), r"received uint8 \[1, 20, 30, 3\]"),
        (np.zeros((1, 20, 30, 3)), "received float64"),
    ],
)
def test_what_is_no_image_is_refused_by_its_name(custom, wrong, received, mini_transfer, rng):
    given = {"content": image(rng), "style": image(rng), "init": None} | {custom: wrong}
    recipe = mini_recipe()
    with pytest.raises(UsageError, match=rf"`{custom}` should be float32 \[1, height, width, 3\].*{received}"):
        next(mini_transfer(recipe).steps(given["content"], given["style"], init=given["init"]))


def test_a_last_step_that_spoils_the_image_is_found(mini_transfer, rng):
    recipe = mini_recipe(optimizer=SGD(learning_rate=1e38), clip=False, style_weight=1e6, scale_steps=(1,))
    with pytest.raises(DivergedError, match=r"the next image, or the .*, was no longer finite at step 1; use smaller"):
        list(mini_transfer(recipe).steps(image(rng), 1.0 - image(rng)))


@pytest.mark.parametrize("optimizer", [LBFGS(), Adam()])
@pytest.mark.parametrize("weight", ["style_weight", "tv_weight"])
def test_weights_so_large_that_nothing_would_move_are_refused(optimizer, weight, mini_transfer, rng):
    recipe = mini_recipe(optimizer=optimizer, scale_steps=(3,), **{weight: 1e24})
    with pytest.raises(DivergedError, match="the square of the gradient"):
        list(mini_transfer(recipe).steps(image(rng), 1.0 - image(rng)))


def test_a_result_burnt_out_by_a_learning_rate_is_warned_of(mini_transfer, rng, caplog):
    recipe = mini_recipe(optimizer=Adam(learning_rate=1e6), scale_steps=(1,))
    with caplog.at_level(logging.WARNING, "tfstyle"):
        list(mini_transfer(recipe).steps(image(rng), 1.0 - image(rng)))
    assert "more than 90% of the result's values are 0 or 1" in caplog.text


@pytest.mark.parametrize("factor", [1e14, 3e38])
def test_a_run_that_diverges_goes_back_to_its_best_image_with_shorter_steps(factor, mini_transfer, rng, caplog):
    recipe = mini_recipe(optimizer=LeapAt(3, factor), clip=False, scale_steps=(6,))
    with caplog.at_level(logging.WARNING, "tfstyle"):
        steps = list(mini_transfer(recipe).steps(image(rng), 1.0 - image(rng)))
    assert [step.index for step in steps] == list(range(1, 7))
    assert all(np.isfinite(step.image).all() and np.isfinite(step.losses["total"]) for step in steps)
    losses = [step.losses["total"] for step in steps]
    assert losses[0] == max(losses) > losses[-1]  # No image is worse than the first.
    assert "the run goes on from its best image, with shorter steps" in caplog.text
    factors = [float(step.snapshot.state.step_factor) for step in steps]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 1.0 > factors[-1] >= 0.125


def test_a_run_that_diverges_again_and_again_ends_with_its_best_image(mini_transfer, rng):
    recipe = mini_recipe(optimizer=LeapAt(1, 3e38), clip=False, style_weight=1e3)
    content = image(rng)
    with pytest.raises(DivergedError, match=r"the next image, or the .*, was no longer finite at step 1") as caught:
        list(mini_transfer(recipe).steps(content, 1.0 - content))
    np.testing.assert_array_equal(caught.value.image, content)


def test_a_shorter_step_is_what_l_bfgs_remembers(mini_transfer, rng):
    painter = mini_transfer(mini_recipe(optimizer=LBFGS(), scale_steps=(4,)))
    first = next(painter.steps(image(rng), image(rng))).snapshot.state
    gradient = tf.constant(rng.normal(size=first.image.shape).astype("float32"))
    half = painter._iterate.update(painter._iterate.restart(first.image, first), gradient)
    whole = painter._iterate.update(painter._iterate.begin(first.image), gradient)
    np.testing.assert_allclose(half.image - first.image, 0.5 * (whole.image - first.image), atol=1e-7)
    np.testing.assert_allclose(half.optimizer.step, 0.5 * whole.optimizer.step, rtol=1e-6)


def test_a_step_tells_what_was_chosen_for_the_machine(mini_transfer, rng):
    for setting in ("on", "off"):
        recipe = mini_recipe(flip_kernels=setting)
        step = next(mini_transfer(recipe).steps(image(rng), image(rng)))
        assert step.settings == {"precision": "float32", "flip_kernels": setting}


def test_flipped_kernels_change_rounding_alone(mini_transfer, rng):
    content, style = image(rng), image(rng)
    on, off = (
        next(mini_transfer(recipe).steps(content, style)).image
        for recipe in (mini_recipe(flip_kernels=setting) for setting in ("on", "off"))
    )
    np.testing.assert_allclose(on, off, atol=1e-5)


def test_nothing_of_a_transfer_stays_when_it_is_gone(mini_transfer, rng):
    """TensorFlow keeps the gradients registered by `tf.custom_gradient` for ever, and with them whole networks."""
    recipe = mini_recipe(optimizer=LBFGS(), statistic="mean_gram", distance="wasserstein", scale_steps=(2,))
    painter = mini_transfer(recipe)
    list(painter.steps(image(rng), image(rng), recipe=recipe))
    step = painter.train_step
    gone = [weakref.ref(thing) for thing in (painter, painter.model, step, step._step, step._step.graph)]
    del painter, step
    gc.collect()
    assert [thing() for thing in gone] == [None] * 5


def test_the_principal_axes_change_no_loss_along_a_run(mini_transfer, rng):
    """The style image is so small that its covariances have less than full rank."""

    def by_the_root(statistic, target):
        return wasserstein.distance(statistic, wasserstein.gaussian(target))

    content, style, found = image(rng), image(rng, 32, 36), []
    for distance in ("wasserstein", by_the_root):
        recipe = mini_recipe(optimizer=LBFGS(), statistic="mean_gram", distance=distance, scale_steps=(8,))
        found.append([step.losses["total"] for step in mini_transfer(recipe).steps(content, style)])
    np.testing.assert_allclose(*found, rtol=1e-3)
    assert found[0][-1] < 0.9 * found[0][0]


def test_new_weights_of_the_network_have_gradients_of_their_own(mini_transfer, rng):
    content, style = image(rng), image(rng)
    found = []
    for setting in ("on", "off"):
        recipe = mini_recipe(flip_kernels=setting, scale_steps=(1,))
        painter = mini_transfer(recipe)
        painter.model.vgg.set_weights([0.5 * weight for weight in painter.model.vgg.get_weights()])
        found.append(next(painter.steps(content, style, recipe=recipe)).image)
    np.testing.assert_allclose(*found, atol=1e-5)


def test_a_transfer_made_from_a_graph_key_asks_for_the_recipe(mini_transfer, rng):
    painter = mini_transfer(mini_recipe().graph_key)
    assert next(painter.steps(image(rng), image(rng), recipe=mini_recipe(seed=3))).total == 4
    with pytest.raises(UsageError, match="pass the `recipe` to run"):
        next(painter.steps(image(rng), image(rng)))


def test_a_start_from_a_file_is_the_callers_to_read(mini_transfer, rng):
    recipe = mini_recipe(init="start.png")
    with pytest.raises(UsageError, match=r"starts from .start\.png.; make that image and pass it as `init`"):
        next(mini_transfer(recipe).steps(image(rng), image(rng)))


def test_nothing_is_searched_without_a_weight(mini_transfer):
    recipe = mini_recipe(neighbor_layers=("block3_conv1",))
    assert mini_transfer(recipe).train_step._targets_graph(1).structured_outputs["neighbor"] == {}
    sized = [memory_needed(get_recipe(recipe, neighbor_weight=weight), (600, 800)) for weight in (0.0, 1.0)]
    assert sized[0] == memory_needed(mini_recipe(), (600, 800)) < sized[1]


def test_neighbors_are_searched_anew_at_every_level_for_the_image_so_far(mini_transfer, rng, monkeypatch):
    seen, find = [], train_step.make_targets

    def watch(*args, **options):
        seen.append(options["image"])
        return find(*args, **options)

    monkeypatch.setattr(train_step, "make_targets", watch)
    layers = ("block2_conv1", "block3_conv1")
    recipe = mini_recipe(neighbor_layers=layers, neighbor_weight=2.0, scale_start=40, scale_steps=(2, 2))
    painter, content, style = mini_transfer(recipe), image(rng, 68, 90), image(rng, 70, 95)
    steps = list(painter.steps(content, style))
    assert len(seen) == 1  # Traced once for all levels.
    assert all(step.losses["neighbor"] > 0.0 for step in steps)
    targets, reached = painter.train_step.targets, []
    monkeypatch.setattr(
        painter.train_step, "targets", lambda *args, **options: reached.append(options) or targets(*args, **options)
    )
    again = list(painter.steps(content, style))
    np.testing.assert_array_equal(again[-1].image, steps[-1].image)
    np.testing.assert_array_equal(reached[0]["image"], images.fit(tf.constant(content), 45))
    np.testing.assert_allclose(reached[1]["image"], images.resize(steps[1].image, 68, 90), atol=1e-6)


IN_TILES = {
    "adam": {"optimizer": Adam(), "ema_decay": 0.9},
    "lbfgs": {"optimizer": LBFGS(), "warm_start": True, "add_detail": True},
    "neighbors": {"optimizer": LBFGS(), "neighbor_layers": ("block1_conv2", "block3_conv1"), "neighbor_weight": 0.5},
    "wasserstein": {"statistic": "mean_gram", "distance": "wasserstein", "palette": 1.0, "style_crop": 0.02},
}


@pytest.mark.parametrize("name", IN_TILES)
def test_a_run_in_tiles_is_the_run_of_the_whole(name, mini_transfer, rng, monkeypatch):
    monkeypatch.setattr(planning, "TILES", (32,))
    monkeypatch.setattr(planning, "memory_needed", lambda recipe, *sizes, tile, bands: 2 if tile is None else 1)
    recipe = mini_recipe(scale_start=60, scale_steps=(3, 4), tv_weight=0.1, **IN_TILES[name])
    painter, content, style = mini_transfer(recipe), image(rng, 85, 131), image(rng, 90, 110)
    whole = list(painter.steps(content, style))
    tiled = list(painter.steps(content, style, memory=1.0))
    for one, other in zip(whole, tiled, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-2)  # Of two places as near, rounding chooses.
    assert np.abs(tiled[-1].image - whole[-1].image).mean() < 1e-3


def test_levels_that_fit_are_computed_as_a_whole(mini_transfer, rng, monkeypatch):
    recipe = mini_recipe(scale_start=60, scale_steps=(1, 1))
    enough, seen = memory_needed(recipe, (43, 66), (45, 56)), []
    make = tiling.Tiling.make_objective

    def watched(self, targets, **options):
        seen.append(options["tile"])
        return make(self, targets, **options)

    monkeypatch.setattr(tiling.Tiling, "make_objective", watched)
    monkeypatch.setattr(memory, "BYTES_PER_TILE_PIXEL", {"float32": 0})
    monkeypatch.setattr(memory, "BYTES_OF_TILES", 0)
    painter = mini_transfer(recipe)
    steps = painter.steps(image(rng, 85, 131), image(rng, 90, 110), memory=enough)
    assert sides(next(steps).image) == (43, 66)
    assert not seen
    assert sides(next(steps).image) == (85, 131)
    assert seen == [512]


def test_tiles_are_halved_where_memory_runs_out(mini_transfer, rng, monkeypatch, caplog):
    monkeypatch.setattr(planning, "TILES", (128, 64, 32))
    monkeypatch.setattr(train_step, "TILES", (128, 64, 32))
    make = tiling.Tiling.make_objective

    def limited(self, targets, *, tile, **options):
        evaluate = make(self, targets, tile=tile, **options)

        def run(variable):
            if tile > most:
                raise tf.errors.ResourceExhaustedError(None, None, "no memory")
            return evaluate(variable)

        return run

    monkeypatch.setattr(tiling.Tiling, "make_objective", limited)
    monkeypatch.setattr(planning, "memory_needed", lambda recipe, *sizes, tile, bands: 2 if tile is None else 1)
    painter, content, style = mini_transfer(mini_recipe(scale_steps=(2,))), image(rng, 85, 131), image(rng)
    most = 32
    steps = list(painter.steps(content, style, memory=1.0))
    assert [record.getMessage()[-19:] for record in caplog.records] == ["tiles of 64 pixels.", "tiles of 32 pixels."]
    whole = list(painter.steps(content, style))
    np.testing.assert_allclose(steps[-1].image, whole[-1].image, atol=1e-3)
    most = 16
    with pytest.raises(MemoryLimitError, match="choose a smaller `size`"):
        next(painter.steps(content, style, memory=1.0))


def test_strength_0_is_the_photograph_and_1_the_whole_style(mini_transfer, rng):
    content, style = image(rng, 68, 90), image(rng, 60, 80)
    options = {"scale_start": 40, "scale_steps": (2, 8), "palette": 0.5, "optimizer": LBFGS()}
    whole = list(mini_transfer(mini_recipe(**options)).steps(content, style))[-1].image
    painter, moved = mini_transfer(mini_recipe(**options)), []
    for strength in (0.0, 0.1, 0.4, 0.7, 1.0):
        recipe = mini_recipe(strength=strength, **options)
        last = list(painter.steps(content, style, recipe=recipe))[-1].image  # In the same graph.
        moved.append(float(tf.reduce_mean(tf.abs(last - content))))
        if strength in (0.0, 1.0):
            np.testing.assert_array_equal(last, whole if strength else content)
    assert moved == sorted(moved)


def test_without_a_content_loss_strength_mixes_the_images(mini_transfer, rng):
    content, style = image(rng, 33, 47), image(rng, 30, 41)
    options = {"scale_steps": (3,), "content_weight": 0.0}
    whole, half = (
        list(mini_transfer(mini_recipe(strength=strength, **options)).steps(content, style))[-1].image
        for strength in (1.0, 0.5)
    )
    assert np.abs(half - content).mean() == pytest.approx(0.5 * np.abs(whole - content).mean(), rel=0.1)
