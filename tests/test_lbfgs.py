"""L-BFGS against torch's published algorithm written plainly, and against SciPy."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from conftest import image, mini_recipe, miniature
from optimization import SHAPE, Run, quadratic, rosenbrock, tilted
from reference import plain_lbfgs

from tfstyle import objective
from tfstyle.lbfgs import LBFGSOptimizer
from tfstyle.recipes import LBFGS


def lbfgs(*, project=None, **options):
    """L-BFGS with some options."""
    return LBFGSOptimizer(LBFGS(**options), project)


def flat(function):
    """A function of vectors as one of images."""

    def of_image(x):
        value, gradient = function(x.ravel())
        return value, gradient.reshape(x.shape)

    return of_image


@pytest.mark.parametrize(
    "options",
    [
        {"clip": None},
        {"clip": (-0.2, 0.45)},
        {"clip": (-0.2, 0.45), "store_projected_step": False},
        {"clip": (-0.2, 0.45), "max_step_peak": 1.2, "max_step_rms": 0.04},
        {"clip": None, "first_step_rms": 0.02},
    ],
)
@pytest.mark.parametrize("history", [1, 3, 100])
@pytest.mark.parametrize("function", [quadratic, rosenbrock])
def test_lbfgs_takes_the_published_path(function, history, options):
    start = np.linspace(-0.3, 0.4, 6)
    rate = 0.1 if function is rosenbrock else 1.0
    others = {name: value for name, value in options.items() if name != "clip"}
    project = None if options["clip"] is None else lambda x: tf.clip_by_value(x, *options["clip"])
    optimizer = lbfgs(learning_rate=rate, history=history, project=project, **others)
    step = Run(optimizer, start.reshape(SHAPE), flat(function))
    for expected in plain_lbfgs(function, start, 12, history=history, learning_rate=rate, **options):
        np.testing.assert_allclose(step().ravel(), expected, rtol=2e-3, atol=2e-4)
    assert step.step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("function", [quadratic, rosenbrock])
def test_lbfgs_finds_scipys_minimum(function):
    start = np.linspace(-0.3, 0.4, 6)
    expected = scipy.optimize.minimize(function, start, jac=True, method="L-BFGS-B").x
    rate = 0.3 if function is rosenbrock else 1.0
    step = Run(lbfgs(learning_rate=rate), start.reshape(SHAPE), flat(function))
    for _ in range(400 if function is rosenbrock else 60):
        found = step()
    np.testing.assert_allclose(found.ravel(), expected, atol=5e-3)


def test_lbfgs_lowers_a_style_objective_as_far_as_scipy(rng):
    network = miniature()
    content, style = image(rng, 17, 23), image(rng, 21, 30)
    targets = {"content": network(content)["content"], "style": network(style)["style"]}
    function = tf.function(
        objective.make_objective(network, mini_recipe().loss, targets, weights={"content": 0.1, "style": 1.0})
    )

    def of_vector(x):
        evaluation = function(tf.constant(x.reshape(content.shape), tf.float32))
        return float(evaluation.loss), evaluation.gradient.numpy().ravel().astype("float64")

    reference = scipy.optimize.minimize(
        of_vector, content.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 60}
    ).fun
    optimizer, picture = lbfgs(), tf.constant(content)
    state, losses = optimizer.init(picture), []
    for _ in range(120):
        evaluation = function(picture)
        state, picture = optimizer.update(state, picture, evaluation.gradient)
        losses.append(float(evaluation.loss))
    assert losses[-1] < 1.1 * reference < 0.5 * losses[0]


def test_a_step_is_a_graph_without_loops_and_copies_no_pair():
    """A GPU would stop at each loop until the host has decided, and tracing them takes longer than all the rest."""
    optimizer, picture = lbfgs(max_step_rms=0.1, history=3), tf.zeros([1, 2, 3, 1])
    update = tf.function(lambda state, image: optimizer.update(state, image, image - 1.0))
    graph = update.get_concrete_function(optimizer.init(picture), picture).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert "MatrixTriangularSolve" in kinds
    assert not {"While", "StatelessWhile"} & set(kinds)
    assert sum(kind in ("If", "StatelessIf") for kind in kinds) == 1  # Whether the pair is stored.
    step = Run(optimizer, np.full(SHAPE, 2.0), quadratic)
    for _ in range(5):
        step()
    before = {np.asarray(memoryview(vector)).ctypes.data for vector in step.state.pairs}
    step()
    after = {np.asarray(memoryview(vector)).ctypes.data for vector in step.state.pairs}
    assert len(before & after) == 4  # Two pairs of three are the tensors that they were.


def test_a_step_that_is_too_long_is_shortened_to_the_longest():
    """On a bowl with steps far too long the plain optimizer flies off; the bounded one stays near and comes down."""
    found, lengths = {}, {}
    for longest in (0.0, 0.25):
        step = Run(lbfgs(learning_rate=3.0, max_step_rms=longest), np.full(SHAPE, 2.0), quadratic)
        path = [np.full(SHAPE, 2.0)] + [step() for _ in range(60)]
        lengths[longest] = [float(np.sqrt(np.mean((b - a) ** 2))) for a, b in itertools.pairwise(path)]
        found[longest] = quadratic(path[-1].astype("float64"))[0]
    assert max(lengths[0.25]) == pytest.approx(0.25, rel=1e-4)
    assert min(lengths[0.25][1:4]) == pytest.approx(0.25, rel=1e-4)
    assert found[0.25] < 0.02 * quadratic(np.full(SHAPE, 2.0))[0]
    assert not found[0.0] < 1e3  # Not a number counts as flown off.


def test_bounded_steps_reach_the_floor_all_the_same():
    step = Run(lbfgs(max_step_rms=0.25), np.full(SHAPE, 2.0), quadratic)
    for _ in range(60):
        found = step()
    assert quadratic(found.astype("float64"))[0] < 1e-3 * quadratic(np.full(SHAPE, 2.0))[0]


def test_a_step_shorter_than_the_longest_is_left_alone():
    paths = []
    for longest in (0.0, 10.0):
        step = Run(lbfgs(max_step_rms=longest), np.full(SHAPE, 2.0), quadratic)
        paths.append([step() for _ in range(8)])
    np.testing.assert_array_equal(*paths)


@pytest.mark.parametrize(("slope", "expected"), [(5.0, 0.02), (0.1, 0.02 * 6 * 0.1)])
def test_the_first_step_has_the_given_length_and_less_where_the_loss_is_flat(slope, expected):
    gradient = slope * np.array((1.0, -1.0, 1.0, -1.0, 1.0, -1.0)).reshape(SHAPE)
    moved = Run(lbfgs(first_step_rms=0.02), np.zeros(SHAPE), lambda x: (0.0, gradient))()
    np.testing.assert_allclose(moved, -expected * np.sign(gradient), rtol=1e-5)


def test_no_value_of_a_step_is_above_a_multiple_of_its_mean():
    """A gradient of 3, 4, 0, 0, 0, 0 has a root mean square of 25/6 to the power of 1/2, 2.04."""
    gradient = np.array((3.0, 4.0, 0.0, 0.0, 0.0, 0.0)).reshape(SHAPE)
    moved = Run(lbfgs(max_step_peak=1.6), np.zeros(SHAPE), lambda x: (0.0, gradient))()
    first = 1.0 / 7.0  # The first step is shortened by the sum of the gradient.
    np.testing.assert_allclose(moved.ravel()[:2], (-3.0 * first, -1.6 * np.sqrt(25 / 6) * first), rtol=1e-5)
    np.testing.assert_array_equal(moved.ravel()[2:], 0.0)


def rounded(vector):
    return tf.cast(tf.cast(vector, tf.bfloat16), tf.float32).numpy()


def test_a_history_in_bfloat16_is_that_of_rounded_pairs():
    """Steps and gradient differences are rounded, as are their scalar products; the direction is that of the former."""
    optimizer, start = lbfgs(history=3, history_precision="bfloat16"), np.linspace(0.0, 2.0, 12).reshape(1, 3, 4, 1)
    run = Run(optimizer, start, quadratic)
    images = [start.astype("float32"), *(run() for _ in range(6))]
    assert {vector.dtype for vector in run.state.pairs} == {tf.bfloat16}
    gradients = [quadratic(image.astype("float64"))[1].astype("float32") for image in images]
    pairs = [
        (rounded(images[i + 1] - images[i]).ravel(), rounded(gradients[i + 1] - gradients[i]).ravel())
        for i in range(2, 5)
    ]
    direction = -gradients[5].ravel().astype("float64")
    factors = []
    for s, y in reversed(pairs):  # Nocedal's two loops.
        factors.append(s @ direction / (y @ s))
        direction = direction - factors[-1] * y
    s, y = pairs[-1]
    direction = direction * (y @ s) / (y @ y)
    for (s, y), factor in zip(pairs, reversed(factors), strict=True):
        direction = direction + (factor - y @ direction / (y @ s)) * s
    np.testing.assert_allclose(images[6].ravel() - images[5].ravel(), direction, rtol=1e-3, atol=1e-4)


def test_a_history_in_bfloat16_finds_the_minimum():
    run = Run(lbfgs(history_precision="bfloat16"), np.full(SHAPE, 2.0), quadratic)
    for _ in range(40):
        found = run()
    assert quadratic(found.astype("float64"))[0] < 1e-6 * quadratic(np.full(SHAPE, 2.0))[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_pairs_of_lbfgs_are_carried_to_another_size(precision):
    optimizer = lbfgs(learning_rate=0.01, history=3, history_precision=precision)
    step = Run(optimizer, np.zeros((1, 4, 8, 3)), tilted)
    for _ in range(5):
        step()
    grown = optimizer.resize(step.state, 8, 16)
    expected = np.stack([tf.image.resize(tf.cast(vector, tf.float32), (8, 16)) for vector in step.state.pairs])
    pairs, tolerance = [tf.cast(vector, tf.float32) for vector in grown.pairs], {"float32": 1e-4, "bfloat16": 1e-2}
    np.testing.assert_allclose(pairs[:3], expected[:3], rtol=tolerance[precision], atol=1e-7)
    # A mean over four times the pixels has a quarter of the gradient.
    np.testing.assert_allclose(pairs[3:], expected[3:] / 4, rtol=tolerance[precision], atol=1e-7)
    assert {vector.dtype for vector in grown.pairs} == {tf.dtypes.as_dtype(precision)}
    flat = np.reshape(pairs, (6, -1))
    np.testing.assert_allclose(grown.products, flat @ flat.T, rtol=1e-4, atol=1e-7)
    assert int(grown.pairs_stored) == int(step.state.pairs_stored) == 4
    assert float(grown.gamma) == pytest.approx(4.0 * float(step.state.gamma))


def test_a_pair_whose_curvature_turns_negative_is_forgotten():
    """Between rows whose product is positive, interpolation can make one that is not; the step would go uphill."""
    optimizer = lbfgs(history=2)
    fine = np.tile([[1.0, -1.0], [1.0, 1.0]], (1, 4))[:, None, :, None]  # s of two pairs: alternating and constant.
    changes = np.tile([[1.0, -0.2], [1.0, 1.0]], (1, 4))[:, None, :, None]
    pairs = np.concatenate([fine, changes]) * np.array([1.0, 1.0, -1.0, 1.0])[:, None, None, None]
    pairs = tuple(tf.constant(vector[None], tf.float32) for vector in pairs)
    state = optimizer.init(tf.zeros((1, 1, 8, 1)))._replace(pairs=pairs, pairs_stored=tf.constant(2))
    resized = optimizer.resize(state, 1, 4)
    curvature = [float(tf.reduce_sum(resized.pairs[i] * resized.pairs[2 + i])) for i in range(2)]
    assert curvature[0] == 0.0
    assert curvature[1] > 0.0
    gradient = tf.constant([[[[1.0], [-2.0], [0.5], [3.0]]]])
    after = optimizer.update(resized, tf.zeros((1, 1, 4, 1)), gradient)[1]
    assert float(tf.reduce_sum(after * gradient)) < 0.0


def test_a_pair_without_curvature_is_not_remembered():
    step = Run(lbfgs(), np.zeros(SHAPE), lambda x: (0.0, np.ones(x.shape)))  # A plane: y = 0.
    for _ in range(3):
        found = step()
    assert int(step.state.pairs_stored) == 0
    assert np.isfinite(found).all()
