"""Losses against definitions, worked numbers, and the functions they were published as."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from tfstyle import losses, statistics, total_variation, wasserstein
from tfstyle.recipes import get_recipe
from tfstyle.statistics import sufficient_statistics

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
        ("absolute_sum", 8 + 3),
        # Right 1 2 0 0 0 0, down 4 3 1 0 0 0, and to both lower corners 4 3 1 (4 and 3 from the repeated border) …
        ("nine_point", 2 / 6 * ((16 + 9 + 1 + 1 + 4) / 3 + 2 * (16 + 9 + 1) / 12)),
    ],
)
def test_total_variation_worked_by_hand(name, expected):
    np.testing.assert_allclose(total_variation.find_form(name)(PICTURE), expected, rtol=1e-6)


def test_total_variation_matches_tensorflows_up_to_its_sums(rng):
    image = rng.uniform(size=(1, 6, 9, 3)).astype("float32")
    down, right = (np.abs(np.diff(image, axis=axis)) for axis in (1, 2))
    ours = total_variation.absolute(image)
    np.testing.assert_allclose(ours, 0.5 * (down.mean() + right.mean()), rtol=1e-5)
    np.testing.assert_allclose(
        total_variation.absolute_sum(image), tf.image.total_variation(tf.constant(image))[0], rtol=1e-5
    )


@pytest.mark.parametrize("name", total_variation.FORMS)
def test_a_constant_image_has_no_variation_and_a_finite_gradient(name):
    image = tf.fill((1, 5, 7, 3), 0.3)
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = total_variation.find_form(name)(image)
    assert float(value) == 0.0
    np.testing.assert_array_equal(tape.gradient(value, image), np.zeros((1, 5, 7, 3)))


@pytest.mark.parametrize("name", total_variation.FORMS)
@pytest.mark.parametrize("length", [1, 3, 11, 12])
def test_the_shares_of_bands_add_up_to_the_total_variation(name, length, rng):
    image = tf.constant(rng.uniform(size=(2, 11, 7, 3)))
    form = total_variation.FORMS[name]
    bands = total_variation.find_bands(11, length)
    shares = [factor * float(form.share(image[:, start:stop], 11)) for start, stop, factor in bands]
    assert len(shares) == {1: 21, 3: 7}.get(length, 1)
    np.testing.assert_allclose(sum(shares), form(image), rtol=1e-12)


@pytest.mark.parametrize("name", ["squared", "absolute", "nine_point"])
def test_total_variation_hardly_depends_on_the_size(name, rng):
    image = rng.uniform(size=(1, 64, 96, 3)).astype("float32")
    whole, part = (float(total_variation.find_form(name)(i)) for i in (image, image[:, :32, :48]))
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


def random_gaussians(rng, channels=6, batch=2, height=5, size=1.0):
    """ "mean_gram" statistics of random features, and their means and covariances."""
    features = rng.normal(size=(batch, height, 8, channels)) * rng.uniform(0.5, 2.0, size=channels) + rng.normal(
        size=channels
    )
    features *= size
    statistic = statistics.mean_gram(sufficient_statistics(tf.constant(features)))
    flat = features.reshape(batch, -1, channels)
    return statistic, flat.mean(1), [np.cov(f.T, bias=True) + 1e-4 * np.eye(channels) for f in flat]


@pytest.mark.parametrize("polynomials", [wasserstein.FAST_ROOT, wasserstein.NEWTON_SCHULZ])
def test_a_matrix_root_and_its_inverse_are_scipys(rng, polynomials):
    _, _, covariances = random_gaussians(rng)
    refined = (*polynomials, *wasserstein.NEWTON_SCHULZ[:8])
    roots, inverses = wasserstein.matrix_roots(tf.constant(np.stack(covariances)), polynomials=refined)
    for root, inverse, covariance in zip(roots, inverses, covariances, strict=True):
        expected = scipy.linalg.sqrtm(covariance)
        np.testing.assert_allclose(root, expected, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(inverse, np.linalg.inv(expected), rtol=1e-6, atol=1e-6)


def spectrum(eigenvalues, rng):
    """A symmetric matrix [1, n, n] of these eigenvalues, float32."""
    axes = np.linalg.qr(rng.normal(size=2 * [len(eigenvalues)]))[0]
    return tf.constant((axes * eigenvalues @ axes.T)[None], tf.float32)


def test_the_fast_root_is_right_down_to_a_hundred_thousandth_of_the_norm(rng):
    eigenvalues = np.geomspace(2e-5, 1.0, 200)
    matrix = spectrum(eigenvalues, rng)
    root = wasserstein.matrix_roots(matrix / np.linalg.norm(eigenvalues), polynomials=wasserstein.FAST_ROOT)[0]
    expected = np.sqrt(eigenvalues / np.linalg.norm(eigenvalues))
    np.testing.assert_allclose(np.linalg.eigvalsh(root[0])[::10], expected[::10], rtol=0.02)
    assert float(wasserstein.trace_of_root(matrix)[0]) == pytest.approx(np.sqrt(eigenvalues).sum(), rel=1e-3)
    plain = float(wasserstein.trace_of_root(matrix, polynomials=wasserstein.NEWTON_SCHULZ)[0])
    assert plain < 0.998 * np.sqrt(eigenvalues).sum()


@pytest.mark.parametrize(
    ("polynomials", "bound", "rounding"),
    [(wasserstein.FAST_ROOT, 1020.0, 1e-7), (wasserstein.NEWTON_SCHULZ, 131.0, 2e-5)],
)
def test_eigenvalues_too_small_for_the_iteration_count_as_smaller(rng, polynomials, bound, rounding):
    """Also those that rounding has made negative."""
    eigenvalues = np.concatenate([np.geomspace(1e-3, 1.0, 40), np.geomspace(1e-12, 1e-8, 20), np.full(20, -rounding)])
    root, inverse = wasserstein.matrix_roots(spectrum(eigenvalues, rng), polynomials=polynomials)
    assert np.linalg.norm(inverse[0], 2) * np.linalg.norm(eigenvalues) ** 0.5 < 1.1 * bound
    assert np.trace(root[0]) == pytest.approx(np.sqrt(eigenvalues[:40]).sum(), rel=5e-3)


def test_newton_schulz_is_the_published_iteration(rng):
    matrix = spectrum(np.geomspace(1e-6, 1.0, 24), rng).numpy().astype(np.float64)[0]
    root, inverse = matrix / np.linalg.norm(matrix), np.eye(24)
    for _ in range(12):
        step = 0.5 * (3.0 * np.eye(24) - inverse @ root)
        root, inverse = root @ step, step @ inverse
    found, found_inverse = wasserstein.matrix_roots(tf.constant(matrix[None]), polynomials=wasserstein.NEWTON_SCHULZ)
    np.testing.assert_allclose(found[0], root * np.linalg.norm(matrix) ** 0.5, atol=1e-9)
    np.testing.assert_allclose(found_inverse[0], inverse / np.linalg.norm(matrix) ** 0.5, atol=1e-6)


@pytest.mark.parametrize("height", [5, 1])  # 40 positions, or 8 for the 12 channels.
def test_the_factor_of_a_covariance_has_its_rank(height, rng):
    statistic, _, covariances = random_gaussians(rng, channels=12, height=height, size=10.0)
    factor = wasserstein.principal_gaussian(statistic).factor.numpy()
    assert factor.shape == (2, 12, min(12, 8 * height - 1))
    np.testing.assert_allclose(factor @ factor.transpose(0, 2, 1), covariances, atol=1.01e-4)  # The ridge.


def test_the_rank_is_that_of_the_most_varied_of_a_batch(rng):
    flat, varied = (random_gaussians(rng, channels=12, batch=1, height=height, size=10.0)[0] for height in (1, 5))
    factor = wasserstein.principal_gaussian(tf.concat([flat, varied], 0)).factor
    assert factor.shape == (2, 12, 12)
    np.testing.assert_allclose(factor[1], wasserstein.principal_gaussian(varied).factor[0], atol=1e-12)


def test_variances_too_small_for_the_number_of_channels_are_left_out(rng):
    variances = np.concatenate([np.full(2, 2e-5), np.geomspace(1e-4, 1.0, 98)])  # The limit is 4e-5.
    statistic = tf.concat([tf.zeros((1, 1, 100)), spectrum(1e3 * variances, rng)], axis=1)
    factor = wasserstein.principal_gaussian(statistic).factor[0].numpy()
    np.testing.assert_allclose((factor**2).sum(0), 1e3 * variances[2:] + 1e-4, rtol=1e-2)


def test_a_style_that_is_not_finite_has_a_distance_that_is_not(rng):
    statistic = random_gaussians(rng)[0]
    target = wasserstein.principal_gaussian(tf.concat([statistic[:, :-1], np.inf + statistic[:, -1:]], axis=1))
    assert not np.isfinite(wasserstein.distance(statistic, target))


@pytest.mark.parametrize("prepare", [wasserstein.gaussian, wasserstein.principal_gaussian])
@pytest.mark.parametrize("height", [5, 1])
def test_the_wasserstein_distance_is_its_definition(prepare, height, rng):
    one, means, covariances = random_gaussians(rng, channels=12, size=10.0)
    other, means2, covariances2 = random_gaussians(rng, channels=12, height=height, size=10.0)
    expected = []
    for m, c, m2, c2 in zip(means, covariances, means2, covariances2, strict=True):
        root = scipy.linalg.sqrtm(c2)
        expected.append(np.sum((m - m2) ** 2) + np.trace(c + c2 - 2 * scipy.linalg.sqrtm(root @ c @ root).real))
    found = wasserstein.distance(one, prepare(other))
    assert float(found) == pytest.approx(np.mean(expected) / 12, rel=2e-3)


def test_the_wasserstein_distance_of_one_dimension_worked_by_hand():
    # Means 1 and 3, deviations 2 and 5: (1 - 3)² + (2 - 5)² = 13, but for the ridge of 1e-4.
    statistics = [tf.constant([[[m], [m**2 + d**2]]], tf.float64) for m, d in ((1.0, 2.0), (3.0, 5.0))]
    assert float(wasserstein.distance(statistics[0], wasserstein.gaussian(statistics[1]))) == pytest.approx(
        13.0, rel=1e-4
    )


def test_the_wasserstein_distance_vanishes_only_between_equals(rng):
    one, other = random_gaussians(rng)[0], random_gaussians(rng)[0]
    for prepare in (wasserstein.gaussian, wasserstein.principal_gaussian):
        assert abs(float(wasserstein.distance(one, prepare(one)))) < 1e-5
        assert float(wasserstein.distance(one, prepare(other))) > 0.1


def test_the_gradient_of_the_trace_of_a_root_agrees_with_finite_differences(rng):
    matrix = tf.constant(np.stack(random_gaussians(rng)[2]))
    with tf.GradientTape() as tape:
        tape.watch(matrix)
        value = tf.reduce_sum(wasserstein.trace_of_root(matrix))
    direction = rng.normal(size=matrix.shape)
    direction = direction + direction.transpose(0, 2, 1)  # The matrix is symmetric; so is a step.
    ahead, behind = (
        float(tf.reduce_sum(wasserstein.trace_of_root(matrix + sign * 1e-5 * direction))) for sign in (1.0, -1.0)
    )
    found = float(tf.reduce_sum(tape.gradient(value, matrix) * direction))
    assert found == pytest.approx((ahead - behind) / 2e-5, rel=1e-3)


def test_reductions_worked_by_hand():
    value, pixels = tf.zeros((1, 2, 3, 4)), tf.constant(24.0)
    assert losses.reduction("mean", "content", pixels)(value) == 1.0
    assert float(losses.reduction("sum", "content", pixels)(value)) == 24.0
    assert float(losses.reduction("sum", "style", pixels)(value)) == pytest.approx(24.0 / (36 * 24**2))


def test_layer_losses_are_symmetric_and_zero_only_for_equals(rng):
    a, b = ({"x": tf.constant(rng.normal(size=(2, 3, 4)))} for _ in range(2))
    forth, back = (losses.layer_losses(*pair, {"x": 1.0})["x"] for pair in ((a, b), (b, a)))
    assert float(forth) == pytest.approx(float(back))
    assert float(forth) > 0
    assert float(losses.layer_losses(a, a, {"x": 1.0})["x"]) == 0.0


def test_a_missing_layer_is_named():
    with pytest.raises(ValueError, match="unknown layer 'block1_conv1'; did you mean 'block1_conv2'"):
        losses.layer_losses({"block1_conv2": 0.0}, {"block1_conv1": 0.0}, {"block1_conv1": 1.0})


def test_an_unknown_style_loss_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'wasserstein'"):
        losses.find_distance("waserstein")


def test_an_unknown_total_variation_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'squared'"):
        total_variation.find_form("square")


def test_a_color_difference_worked_by_hand():
    """White against black: Y differs by 1, U and V by 0. Red: Y 0.299, U −0.147, V 0.615."""
    black, white = np.zeros((1, 2, 3, 3), "float32"), np.ones((1, 2, 3, 3), "float32")
    red = np.zeros((1, 2, 3, 3), "float32") + np.array([1.0, 0.0, 0.0], "float32")
    assert float(losses.color_difference(white, black)) == pytest.approx(1.0, abs=1e-4)
    assert float(losses.color_difference(red, black)) == pytest.approx(0.299 + (0.147**2 + 0.615**2) / 2, abs=1e-3)
    assert float(losses.color_difference(red, red)) == 0.0


def test_the_wasserstein_distance_of_flat_pictures_is_finite(rng):
    flat, varied = np.full((1, 40, 60, 8), rng.uniform(1.0, 5.0, size=8)), rng.uniform(size=(1, 40, 60, 8))
    one, other = (statistics.mean_gram(sufficient_statistics(tf.constant(f, tf.float32))) for f in (flat, varied))
    prepares = (wasserstein.gaussian, wasserstein.principal_gaussian)
    for prepare, (statistic, target) in itertools.product(prepares, ((one, other), (other, one), (one, one))):
        with tf.GradientTape() as tape:
            tape.watch(statistic)
            value = wasserstein.distance(statistic, prepare(target))
        assert -1e-3 < float(value) < 100.0
        assert np.isfinite(tape.gradient(value, statistic)).all()


def test_a_distance_is_a_function_that_a_recipe_accepts():
    doubled = losses.Distance(lambda statistic: 2.0 * statistic, losses.squared_error)
    assert float(doubled(tf.constant([3.0, 5.0]), tf.constant([1.0, 2.0]))) == 1.0  # Of 3 and 2, 5 and 4.
    recipe = get_recipe("wasserstein", distance=doubled)
    assert losses.find_distance(recipe.loss.distance) is doubled
    assert recipe.record()["loss"]["distance"][1] == "tfstyle.losses.squared_error"
