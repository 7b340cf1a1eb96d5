"""Colors kept and matched, against NumPy, SciPy, scikit-image, published values and by hand."""

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import skimage.exposure
import tensorflow as tf
from conftest import image

from tfstyle import color
from tfstyle.graphs import compile_once


def oklab(picture):
    """OKLab of an sRGB image, in NumPy and float64, pixel for pixel."""
    picture = np.asarray(picture, np.float64)
    light = np.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(light @ color._TO_CONES.T)
    return cones @ color._TO_LAB.T


def moments(picture):
    """Mean and covariance of an image's pixels in OKLab."""
    pixels = oklab(picture).reshape(-1, 3)
    return pixels.mean(axis=0), np.cov(pixels.T, bias=True)


def colorful(rng, height, width, *, mean, scale):
    """An image far from 0 and 1, with correlated channels."""
    pixels = rng.uniform(-1.0, 1.0, size=(1, height, width, 3)) @ (np.eye(3) + rng.uniform(-0.5, 0.5, size=(3, 3)))
    return (np.array(mean) + scale * pixels).astype("float32")


@pytest.fixture
def photo(rng):
    return colorful(rng, 33, 47, mean=(0.5, 0.55, 0.6), scale=0.08)


@pytest.fixture
def painting(rng):
    return colorful(rng, 40, 29, mean=(0.6, 0.5, 0.35), scale=0.06)


def test_kept_colors_are_the_contents_and_lightness_is_the_images(rng, photo):
    stylized = colorful(rng, 33, 47, mean=(0.55, 0.5, 0.5), scale=0.05)
    found = oklab(color.keep_colors(stylized, photo, strength=1.0))
    np.testing.assert_allclose(found[..., 0], oklab(stylized)[..., 0], atol=1e-5)
    np.testing.assert_allclose(found[..., 1:], oklab(photo)[..., 1:], atol=1e-5)
    half = oklab(color.keep_colors(stylized, photo, strength=0.5))
    np.testing.assert_allclose(half, 0.5 * (oklab(stylized) + found), atol=1e-5)
    np.testing.assert_array_equal(color.keep_colors(stylized, photo, strength=0.0), stylized)


def test_an_image_keeps_its_own_colors(rng):
    picture = image(rng)
    np.testing.assert_allclose(color.keep_colors(picture, picture, strength=1.0), picture, atol=1e-4)


def test_colors_too_light_for_their_chroma_lose_chroma_alone():
    blue, pale = np.array([[[[0.0, 0.0, 1.0]]]], "float32"), np.full((1, 1, 1, 3), 0.9, "float32")
    found = oklab(color.keep_colors(pale, blue, strength=1.0))[0, 0, 0]
    lightness = oklab(pale)[0, 0, 0, 0]
    assert found[0] == pytest.approx(lightness, abs=2e-3)
    wanted = oklab(blue)[0, 0, 0, 1:]
    assert found[1] / found[2] == pytest.approx(wanted[0] / wanted[1], abs=0.02)  # The hue.
    assert 0.03 < np.hypot(*found[1:]) < 0.5 * np.hypot(*wanted)
    white = np.ones((1, 1, 1, 3), "float32")
    np.testing.assert_allclose(color.keep_colors(white, blue, strength=1.0), white, atol=1e-3)


def test_histograms_against_scikit_image(rng, photo, painting):
    found = color.match_histograms(photo, painting, strength=1.0)
    expected = skimage.exposure.match_histograms(photo[0], painting[0], channel_axis=-1)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    coarse = np.round(4.0 * image(rng)) / 4.0  # Many equal values.
    expected = skimage.exposure.match_histograms(coarse[0], painting[0], channel_axis=-1)
    np.testing.assert_allclose(color.match_histograms(coarse, painting, strength=1.0)[0], expected, atol=1e-6)


def test_a_histogram_worked_by_hand():
    row = np.array([0.1, 0.4, 0.4, 0.8], "float32")[None, None, :, None] * np.ones(3, "float32")
    target = np.array([0.0, 0.5], "float32")[None, :, None, None] * np.ones(3, "float32")
    # Shares of values up to 0.1, 0.4, 0.8: 1/4, 3/4, 1. The target's: half up to 0, all up to 0.5. Between lies 0.25.
    found = color.match_histograms(row, target, strength=1.0)[0, 0, :, 0]
    np.testing.assert_allclose(found, [0.0, 0.25, 0.25, 0.5], atol=1e-6)
    half = color.match_histograms(row, target, strength=0.5)[0, 0, :, 0]
    np.testing.assert_allclose(half, [0.05, 0.325, 0.325, 0.65], atol=1e-6)


@pytest.mark.parametrize("mode", ["content", "match", "histogram"])
def test_a_recolored_painting_has_the_photographs_colors(mode, rng, photo, painting):
    found = color.recolor_style(tf.constant(painting), tf.constant(photo), color=mode, strength=1.0)
    np.testing.assert_allclose(moments(found)[0], moments(photo)[0], atol=3e-3)
    covariance, chroma = moments(photo)[1], slice(1, None)
    np.testing.assert_allclose(
        moments(found)[1][chroma, chroma], covariance[chroma, chroma], atol=0.1 * covariance.trace()
    )
    none = color.recolor_style(tf.constant(painting), tf.constant(photo), color=mode, strength=0.0)
    np.testing.assert_array_equal(none, painting)


@pytest.mark.parametrize(("scale", "share"), [(0.02, None), (0.12, 1.0)])
def test_the_contrast_of_a_painting_may_shrink_but_does_not_grow(scale, share, rng, painting):
    photo = colorful(rng, 33, 47, mean=(0.5, 0.5, 0.5), scale=scale)
    pictures = color.match_chroma(painting, photo, strength=1.0), painting, photo
    found, own, wanted = (oklab(picture)[..., 0].std() for picture in pictures)
    assert found == pytest.approx(wanted if share is None else share * own, rel=0.02)
    assert (wanted < own) == (share is None)


def test_without_a_choice_a_painting_is_as_it_is(photo, painting):
    found = color.recolor_style(painting, photo, color="style", strength=1.0)
    assert found is painting


@pytest.mark.parametrize("mode", ["content", "match", "histogram"])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_strokes_stay_visible_in_the_colors_of_one_color(mode, level, painting):
    even = np.full((1, 20, 30, 3), level, "float32")
    found = np.asarray(color.recolor_style(tf.constant(painting), tf.constant(even), color=mode, strength=1.0))
    assert np.isfinite(found).all()
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    if mode != "histogram":
        np.testing.assert_allclose(oklab(found)[..., 1:], 0.0, atol=1e-4)  # Gray.
        share = oklab(found)[..., 0].std() / oklab(painting)[..., 0].std()
        assert share == pytest.approx(color.MIN_CONTRAST, rel=0.02) if level == 0.5 else share > 0.0


@pytest.mark.parametrize(
    ("srgb", "lab"),
    [  # Published, for example in CSS Color Module Level 4, to the digits here.
        ((1.0, 1.0, 1.0), (1.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (0.62796, 0.22486, 0.12585)),
        ((0.0, 1.0, 0.0), (0.86644, -0.23389, 0.17950)),
        ((0.0, 0.0, 1.0), (0.45201, -0.03246, -0.31153)),
    ],
)
def test_published_values_of_oklab(srgb, lab):
    np.testing.assert_allclose(color.to_oklab(color.to_linear(tf.constant([[srgb]]))), [[lab]], atol=2e-5)


def test_oklab_of_middle_gray_worked_by_hand():
    # sRGB 0.5 is ((0.555) / 1.055)^2.4 = 0.21404 of linear light; L of a gray is its cube root, 0.59818.
    np.testing.assert_allclose(color.to_linear(tf.constant([0.5, 0.04])), [0.21404, 0.04 / 12.92], rtol=1e-4)
    np.testing.assert_allclose(color.to_oklab(color.to_linear(tf.fill([1, 3], 0.5))), [[0.59818, 0.0, 0.0]], atol=1e-5)


def test_every_color_comes_back_from_oklab():
    steps = np.linspace(0.0, 1.0, 18)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1)
    for given, tolerance in ((colors, 1e-9), (colors.astype("float32"), 2e-5)):
        back = color.from_linear(color.from_oklab(color.to_oklab(color.to_linear(given))))
        np.testing.assert_allclose(back, colors, atol=tolerance)
        np.testing.assert_allclose(color.to_oklab(color.to_linear(given)), oklab(colors), atol=tolerance)


def test_a_color_outside_the_gamut_comes_back_as_well():
    light = tf.constant([[-0.05, 0.4, 1.2]])
    assert np.isfinite(color.to_oklab(light)).all()
    np.testing.assert_allclose(color.from_oklab(color.to_oklab(light)), light, atol=1e-5)
    np.testing.assert_allclose(color.to_linear(color.from_linear(light)), light, atol=1e-5)


def test_matched_colors_have_the_targets_mean_and_covariance(photo, painting):
    found = color.match_colors(photo, color.find_palette(painting), strength=1.0)
    mean, covariance = moments(painting)
    np.testing.assert_allclose(moments(found)[0], mean, atol=1e-5)
    np.testing.assert_allclose(moments(found)[1], covariance, atol=5e-4 * np.trace(covariance))  # The ridge.
    assert np.abs(moments(photo)[1] - covariance).max() > 0.1 * np.trace(covariance)


def test_matched_colors_against_scipy(photo, painting):
    (mean, covariance), (wanted, target) = moments(photo), moments(painting)
    covariance, target = (c + 1e-4 * np.trace(c) * np.eye(3) for c in (covariance, target))
    root = scipy.linalg.sqrtm(covariance)
    inverse = np.linalg.inv(root)
    matrix = inverse @ scipy.linalg.sqrtm(root @ target @ root) @ inverse
    expected = (oklab(photo) - mean) @ matrix + wanted
    np.testing.assert_allclose(
        oklab(color.match_colors(photo, color.find_palette(painting), strength=1.0)), expected, atol=1e-5
    )
    half = 0.5 * (oklab(photo) + expected)
    np.testing.assert_allclose(
        oklab(color.match_colors(photo, color.find_palette(painting), strength=0.5)), half, atol=1e-5
    )


def test_an_image_matched_to_itself_stays(photo):
    np.testing.assert_allclose(color.match_colors(photo, color.find_palette(photo), strength=1.0), photo, atol=1e-5)
    np.testing.assert_allclose(color.finish_colors(photo, color.find_palette(photo), strength=1.0), photo, atol=1e-5)


@pytest.mark.parametrize("function", [color.match_colors, color.finish_colors])
def test_strength_0_returns_the_image_itself(function, painting, rng):
    unclipped = rng.normal(size=(1, 33, 47, 3)).astype("float32")
    np.testing.assert_array_equal(function(unclipped, color.find_palette(painting), strength=0.0), unclipped)


def test_of_two_images_each_is_matched_to_the_one_target(photo, painting):
    both = np.concatenate([photo, photo[:, ::-1] ** 2])
    found = color.match_colors(both, color.find_palette(painting), strength=1.0)
    for one, matched in zip(both, found, strict=True):
        np.testing.assert_allclose(
            color.match_colors(one[None], color.find_palette(painting), strength=1.0)[0], matched, atol=1e-6
        )


def flat(*values, height=16, width=16):
    return np.broadcast_to(np.array(values, "float32"), (1, height, width, 3))


def gray(picture):
    return np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1)


def test_a_gray_photograph_takes_the_mean_color_and_lightness_of_a_painting(photo, painting):
    found = color.match_colors(gray(photo), color.find_palette(painting), strength=1.0)
    (mean, covariance), (wanted, target) = moments(found), moments(painting)
    np.testing.assert_allclose(mean, wanted, atol=1e-4)
    assert covariance[0, 0] == pytest.approx(target[0, 0], rel=1e-3)
    assert np.abs(covariance[1:, 1:]).max() < 1e-9  # Rounding does not become color.


def test_a_gray_painting_makes_a_photograph_gray(photo, painting):
    found = color.match_colors(photo, color.find_palette(gray(painting)), strength=1.0)
    assert np.abs(oklab(found)[..., 1:]).max() < 2e-4
    assert np.std(oklab(found)[..., 0]) == pytest.approx(np.std(oklab(gray(painting))[..., 0]), rel=1e-3)


def test_noise_is_moved_but_never_stretched(painting, rng):
    noisy = flat(0.5, 0.5, 0.5) + rng.uniform(-0.5, 0.5, size=(1, 16, 16, 3)).astype("float32") / 255.0
    for function in (color.match_colors, color.finish_colors):
        found = function(noisy, color.find_palette(painting), strength=1.0)
        assert np.all(oklab(found).std(axis=(0, 1, 2)) <= 1.01 * oklab(noisy).std(axis=(0, 1, 2)))
    np.testing.assert_allclose(
        moments(color.match_colors(noisy, color.find_palette(painting), strength=1.0))[0],
        moments(painting)[0],
        atol=1e-4,
    )


def test_a_faint_variation_is_stretched_four_times_at_most(rng):
    faint = colorful(rng, 33, 47, mean=(0.5, 0.5, 0.5), scale=0.02)
    strong = 0.5 + 12.0 * (faint - 0.5)
    found = color.match_colors(faint, color.find_palette(strong), strength=1.0)
    ratio = oklab(found).std(axis=(0, 1, 2)) / oklab(faint).std(axis=(0, 1, 2))
    np.testing.assert_allclose(ratio, color.MAX_GAIN, rtol=0.02)


def test_pictures_of_one_color_stay_finite(photo):
    red, blue = flat(0.8, 0.1, 0.1), flat(0.1, 0.2, 0.7, height=20)
    np.testing.assert_allclose(
        color.match_colors(red, color.find_palette(blue), strength=1.0), flat(0.1, 0.2, 0.7), atol=1e-4
    )
    np.testing.assert_allclose(
        color.match_colors(photo, color.find_palette(blue), strength=1.0)[0, 0, 0], [0.1, 0.2, 0.7], atol=1e-4
    )
    for given in (red, flat(0.0, 0.0, 0.0), flat(1.0, 1.0, 1.0)):
        for function in (color.match_colors, color.finish_colors):
            for one, other in ((given, photo), (photo, given)):
                found = function(one, color.find_palette(other), strength=1.0)
                assert np.isfinite(found).all()
                assert 0.0 <= np.min(found) <= np.max(found) <= 1.0


def test_colors_outside_the_gamut_are_clipped(rng):
    vivid = rng.uniform(size=(1, 16, 16, 3)).astype("float32")
    found = color.match_colors(vivid, color.find_palette(np.round(vivid[:, ::-1])), strength=1.0)
    assert (np.min(found), np.max(found)) == (0.0, 1.0)


def test_a_blur_is_scipys_with_the_edges_normalized(rng):
    picture = rng.normal(size=(2, 33, 47, 2)).astype("float32")

    def blurred(values):
        return scipy.ndimage.gaussian_filter(values, (0, 2.5, 2.5, 0), mode="constant", truncate=30.0)

    expected = blurred(picture.astype("float64")) / blurred(np.ones(picture.shape))
    np.testing.assert_allclose(color.blur(picture, 2.5), expected, atol=1e-5)
    np.testing.assert_allclose(color.blur(np.ones_like(picture), 0.25), 1.0, atol=1e-5)


def test_finished_colors_against_scipy(photo, painting):
    lab, wanted = oklab(photo), oklab(painting)
    low = np.asarray(color.blur(lab[..., 1:].astype("float32"), 47 / 64), np.float64)
    (mean, covariance), (target_mean, target) = moments(photo), moments(painting)
    covariance, target = (c[1:, 1:] + 1e-4 * np.trace(c[1:, 1:]) * np.eye(2) for c in (covariance, target))
    root = scipy.linalg.sqrtm(covariance)
    matrix = np.linalg.inv(root) @ scipy.linalg.sqrtm(root @ target @ root) @ np.linalg.inv(root)
    moved = lab[..., 1:] + 0.75 * ((low - mean[1:]) @ matrix + target_mean[1:] - low)
    found = oklab(color.finish_colors(photo, color.find_palette(painting), strength=0.75))
    np.testing.assert_allclose(found[..., 1:], moved, atol=1e-5)
    np.testing.assert_allclose(found[..., 0], lab[..., 0], atol=1e-5)
    assert np.abs(moved - lab[..., 1:]).max() > 0.02
    assert wanted.shape != lab.shape


def test_finished_colors_keep_the_strokes(photo):
    # Chroma of two pixels' period is gone from the low band of a large picture: it stays, whatever the target.
    stripes = np.tile(flat(0.6, 0.5, 0.45, height=96, width=2), (1, 1, 64, 1))
    stripes[:, :, ::2] = (0.45, 0.55, 0.5)
    target = np.clip(photo * np.array([1.3, 1.0, 0.7]), 0.0, 1.0).astype("float32")
    found = oklab(color.finish_colors(stripes, color.find_palette(target), strength=1.0))
    given = oklab(stripes)
    np.testing.assert_allclose(np.diff(found, axis=2), np.diff(given, axis=2), atol=2e-3)
    np.testing.assert_allclose(found.mean(axis=(0, 1, 2))[1:], moments(target)[0][1:], atol=1e-3)


@pytest.mark.parametrize("function", [color.match_colors, color.finish_colors])
def test_one_graph_serves_every_size(function, photo, painting):
    any_size = tf.TensorSpec([1, None, None, 3])
    graph = compile_once(
        lambda image, target, strength: function(image, color.find_palette(target), strength=strength),
        any_size,
        any_size,
        tf.TensorSpec([]),
    )
    for given, target, strength in ((photo, painting, 1.0), (painting, photo, 0.3), (photo, photo[:, :5], 0.0)):
        expected = function(given, color.find_palette(target), strength=strength)
        np.testing.assert_allclose(
            graph(tf.constant(given), tf.constant(target), tf.constant(strength)), expected, atol=1e-6
        )


def test_a_mixed_palette_is_that_of_the_pictures_side_by_side(rng, photo, painting):
    other = colorful(rng, 33, 94, mean=(0.3, 0.4, 0.6), scale=0.1)  # Twice the area.
    mixed = color.mix_palettes([color.find_palette(part) for part in (photo, other)], [1 / 3, 2 / 3])
    both = color.find_palette(np.concatenate([photo, other], axis=2))
    for part, expected in zip(mixed, both, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-12)
    palette = color.find_palette(painting)
    for part, expected in zip(color.mix_palettes([palette, palette], [0.3, 0.7]), palette, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-12)
