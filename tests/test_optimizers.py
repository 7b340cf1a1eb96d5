"""L-BFGS against torch's published algorithm written plainly, and against SciPy; Keras' optimisers behind our door."""

import itertools

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from conftest import image, mini_recipe, miniature

from tfstyle import objective, optimizers


def rosenbrock(x):
    """(value, gradient) of the extended Rosenbrock function, a curved valley with its floor at (1, 1, …)."""
    a, b = x[:-1], x[1:]
    gradient = np.zeros_like(x)
    gradient[:-1] += -400 * a * (b - a**2) - 2 * (1 - a)
    gradient[1:] += 200 * (b - a**2)
    return np.sum(100 * (b - a**2) ** 2 + (1 - a) ** 2), gradient


def quadratic(x):
    """(value, gradient) of a bowl whose axes differ a hundredfold."""
    scales = np.linspace(1.0, 100.0, x.size).reshape(x.shape)
    return 0.5 * np.sum(scales * (x - 0.5) ** 2), scales * (x - 0.5)


def plain_lbfgs(function, x, steps, *, history, learning_rate, clip=None, true_steps=True, longest_step=np.inf):
    """torch.optim.LBFGS without line search, one evaluation a step, in float64 (its documentation and Nocedal 1980)."""
    pairs, previous, path = [], None, []
    for k in range(steps):
        _, g = function(x)
        if previous is not None:
            s, y = previous[0], g - previous[1]
            if y.ravel() @ s.ravel() > 1e-10:
                pairs = [*pairs, (s, y)][-history:]
        q, alphas = -g, []
        for s, y in reversed(pairs):
            alphas.append((s.ravel() @ q.ravel()) / (y.ravel() @ s.ravel()))
            q = q - alphas[-1] * y
        if pairs:
            s, y = pairs[-1]
            q = q * (y.ravel() @ s.ravel()) / (y.ravel() @ y.ravel())
        for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
            q = q + s * (alpha - (y.ravel() @ q.ravel()) / (y.ravel() @ s.ravel()))
        length = learning_rate * (min(1.0, 1.0 / np.abs(g).sum()) if k == 0 else 1.0)
        length = min(length, longest_step / np.sqrt(np.mean(q**2)))
        moved = x + length * q
        after = moved if clip is None else np.clip(moved, *clip)
        previous = ((after if true_steps else moved) - x, g)
        x = after
        path.append(x)
    return path


def compiled(optimizer, variable, function):
    """A train step on a NumPy objective, as `transfer` compiles one on the network."""

    @tf.function
    def step():
        _, gradient = tf.numpy_function(function, [variable], [tf.float64, tf.float64])
        gradient = tf.ensure_shape(tf.cast(gradient, tf.float32), variable.shape)
        optimizer.apply(gradient)

    return step


@pytest.mark.parametrize(("clip", "true_steps"), [(None, True), ((-0.2, 0.45), True), ((-0.2, 0.45), False)])
@pytest.mark.parametrize("history", [1, 3, 100])
@pytest.mark.parametrize("function", [quadratic, rosenbrock])
def test_lbfgs_takes_the_published_path(function, history, clip, true_steps):
    start = np.linspace(-0.3, 0.4, 6)
    rate = 0.1 if function is rosenbrock else 1.0
    variable = tf.Variable(start, dtype=tf.float32)
    project = None if clip is None else lambda x: tf.clip_by_value(x, *clip)
    optimizer = optimizers.LBFGS(variable, learning_rate=rate, history=history, project=project, true_steps=true_steps)
    step = compiled(optimizer, variable, lambda x: function(x.astype("float64")))
    for expected in plain_lbfgs(
        function, start, 12, history=history, learning_rate=rate, clip=clip, true_steps=true_steps
    ):
        step()
        np.testing.assert_allclose(variable, expected, rtol=2e-3, atol=2e-4)
    assert step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("function", [quadratic, rosenbrock])
def test_lbfgs_finds_scipys_minimum(function):
    start = np.linspace(-0.3, 0.4, 6)
    expected = scipy.optimize.minimize(function, start, jac=True, method="L-BFGS-B").x
    variable = tf.Variable(start, dtype=tf.float32)
    rate = 0.3 if function is rosenbrock else 1.0
    step = compiled(optimizers.LBFGS(variable, learning_rate=rate), variable, lambda x: function(x.astype("float64")))
    for _ in range(400 if function is rosenbrock else 60):
        step()
    np.testing.assert_allclose(variable, expected, atol=5e-3)


def test_lbfgs_lowers_a_style_objective_as_far_as_scipy(rng):
    network, recipe = miniature(), mini_recipe(content_weight=0.1)
    content, style = image(rng, 17, 23), image(rng, 21, 30)
    targets = {"content": network(content)["content"], "style": network(style)["style"]}
    function = tf.function(objective.make_objective(network, recipe, targets, {"content": 0.1, "style": 1.0}))

    def flat(x):
        evaluation = function(tf.constant(x.reshape(content.shape), tf.float32))
        return float(evaluation.loss), evaluation.gradient.numpy().ravel().astype("float64")

    reference = scipy.optimize.minimize(flat, content.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 60}).fun
    variable = tf.Variable(content)
    optimizer = optimizers.LBFGS(variable)

    @tf.function
    def step():
        evaluation = function(variable.read_value())
        optimizer.apply(evaluation.gradient)
        return evaluation.loss

    losses = [float(step()) for _ in range(120)]
    assert losses[-1] < 1.1 * reference < 0.5 * losses[0]


def test_a_step_is_a_graph_without_loops_or_branches():
    """A GPU would stop at each until the host has decided, and tracing them takes longer than all the rest."""
    variable = tf.Variable(tf.zeros([1, 2, 3, 1]))
    optimizer = optimizers.LBFGS(variable, longest_step=0.1)
    graph = tf.function(lambda: optimizer.apply(variable.read_value() - 1.0)).get_concrete_function().graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert "MatrixTriangularSolve" in kinds
    assert not {"If", "StatelessIf", "While", "StatelessWhile"} & kinds


def test_a_step_that_is_too_long_is_shortened_to_the_longest():
    """On a bowl with steps far too long the plain optimiser flies off; the bounded one stays near and comes down."""
    found, lengths = {}, {}
    for longest in (0.0, 0.25):
        variable = tf.Variable(np.full((1, 2, 3, 1), 2.0), dtype=tf.float32)
        optimizer = optimizers.LBFGS(variable, learning_rate=3.0, longest_step=longest)
        step = compiled(optimizer, variable, lambda x: quadratic(x.astype("float64")))
        path = [variable.numpy()] + [(step(), variable.numpy())[1] for _ in range(60)]
        lengths[longest] = [float(np.sqrt(np.mean((b - a) ** 2))) for a, b in itertools.pairwise(path)]
        found[longest] = quadratic(path[-1].astype("float64"))[0]
    assert max(lengths[0.25]) == pytest.approx(0.25, rel=1e-4)
    assert min(lengths[0.25][1:4]) == pytest.approx(0.25, rel=1e-4)
    assert found[0.25] < 0.02 * quadratic(np.full((1, 2, 3, 1), 2.0))[0]
    assert not found[0.0] < 1e3  # Not a number counts as flown off.


def test_bounded_steps_reach_the_floor_all_the_same():
    variable = tf.Variable(np.full((1, 2, 3, 1), 2.0), dtype=tf.float32)
    step = compiled(optimizers.LBFGS(variable, longest_step=0.25), variable, lambda x: quadratic(x.astype("float64")))
    for _ in range(60):
        step()
    assert quadratic(variable.numpy().astype("float64"))[0] < 1e-3 * quadratic(np.full((1, 2, 3, 1), 2.0))[0]


def test_a_step_shorter_than_the_longest_is_left_alone():
    paths = []
    for longest in (0.0, 10.0):
        variable = tf.Variable(np.full((1, 2, 3, 1), 2.0), dtype=tf.float32)
        optimizer = optimizers.LBFGS(variable, longest_step=longest)
        step = compiled(optimizer, variable, lambda x: quadratic(x.astype("float64")))
        paths.append([(step(), variable.numpy())[1] for _ in range(8)])
    np.testing.assert_array_equal(*paths)


@pytest.mark.parametrize("name", ["adam", "lbfgs"])
def test_state_is_carried_to_another_size(name, rng):
    recipe = mini_recipe(optimizer=name, learning_rate=0.01, history=3)
    small, large = (tf.Variable(tf.zeros((1, height, 2 * height, 3))) for height in (4, 8))
    before, after = (optimizers.make_optimizer(recipe, variable, project=None) for variable in (small, large))
    slope = np.linspace(0.5, 1.5, 4)[None, :, None, None] * np.ones((1, 4, 8, 3))
    step = compiled(before, small, lambda x: (np.float64(0.0), slope * (x - 0.5)))
    for _ in range(5):
        step()
    after.adopt(before)
    for old, new in zip(before.variables, after.variables, strict=True):
        if old.shape.rank == 4:
            np.testing.assert_allclose(new, tf.image.resize(old, (8, 16)), rtol=1e-5)
    if name == "lbfgs":
        pairs = tf.reshape(before.variables[0], (6, 4, 8, 3))
        grown = tf.reshape(after.variables[0], (6, 8, 16, 3))
        np.testing.assert_allclose(grown[:3], tf.image.resize(pairs[:3], (8, 16)), rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(grown[3:], tf.image.resize(pairs[3:], (8, 16)) / 4, rtol=1e-4, atol=1e-7)
        flat = after.variables[0].numpy()
        np.testing.assert_allclose(after.variables[1], flat @ flat.T, rtol=1e-4, atol=1e-7)
        assert int(after.variables[5]) == int(before.variables[5]) == 4


@pytest.mark.parametrize(
    ("staircase", "expected"), [(True, [1.0, 1.0, 0.5, 0.5, 0.25]), (False, [2 ** -(k / 2) for k in range(5)])]
)
def test_the_learning_rate_decays_as_keras_schedule_says(staircase, expected):
    recipe = mini_recipe(optimizer="sgd", learning_rate=1.0, decay_rate=0.5, decay_steps=2, staircase=staircase)
    variable = tf.Variable([0.0])
    optimizer = optimizers.make_optimizer(recipe, variable, project=None)
    step = compiled(optimizer, variable, lambda x: (np.float64(0.0), np.array([-1.0])))
    path = [0.0] + [(step(), float(variable[0]))[1] for _ in range(5)]
    np.testing.assert_allclose(np.diff(path), expected, rtol=1e-5)


def test_a_pair_without_curvature_is_not_remembered():
    variable = tf.Variable([0.0, 0.0, 0.0])
    optimizer = optimizers.LBFGS(variable)
    step = compiled(optimizer, variable, lambda x: (np.float64(0.0), np.ones(3)))  # A plane: y = 0.
    for _ in range(3):
        step()
    assert int(optimizer.variables[5]) == 0
    assert np.isfinite(variable).all()


@pytest.mark.parametrize("name", ["adam", "sgd", "lbfgs"])
def test_a_reset_optimiser_repeats_itself_without_a_new_trace(name):
    recipe = mini_recipe(optimizer=name, learning_rate=0.01)
    variable = tf.Variable(np.zeros((2, 3)), dtype=tf.float32)
    optimizer = optimizers.make_optimizer(recipe, variable, project=None)
    step = compiled(optimizer, variable, lambda x: quadratic(x.astype("float64")))
    runs = []
    for _ in range(2):
        variable.assign(np.zeros((2, 3)))
        optimizer.reset()
        runs.append([(step(), variable.numpy())[1] for _ in range(5)])
    np.testing.assert_array_equal(*runs)
    assert np.abs(runs[0][-1]).max() > 0
    assert step.experimental_get_tracing_count() == 1


def test_adam_is_keras_adam_followed_by_the_projection():
    recipe = mini_recipe(optimizer="adam", learning_rate=0.3, beta_1=0.99, epsilon=0.1)
    start = np.array([[0.1, 0.9, 0.2]])
    variable, twin = (tf.Variable(start, dtype=tf.float32) for _ in range(2))
    optimizer = optimizers.make_optimizer(recipe, variable, project=lambda x: tf.clip_by_value(x, 0.0, 1.0))
    plain = keras.optimizers.Adam(0.3, beta_1=0.99, epsilon=0.1)
    step = compiled(optimizer, variable, lambda x: quadratic(x.astype("float64")))
    for _ in range(4):
        step()
        plain.apply([tf.constant(quadratic(twin.numpy())[1], tf.float32)], [twin])
        twin.assign(tf.clip_by_value(twin, 0.0, 1.0))
        np.testing.assert_allclose(variable, twin, rtol=1e-6)
