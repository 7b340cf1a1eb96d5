"""Directions of edges and strokes: by hand, against scikit-image, and in runs."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_one_line, image, mini_recipe
from skimage.feature import structure_tensor

import tfstyle
from tfstyle import cli, directions, images
from tfstyle.errors import UsageError
from tfstyle.recipes import get_recipe
from tfstyle.regions import SMALLEST_SHARE


def stripes(angle, height=60, width=80, period=8.0):
    """An image of stripes in a direction, in degrees counter-clockwise from horizontal."""
    y, x = np.mgrid[:height, :width]
    across = x * np.sin(np.radians(angle)) + y * np.cos(np.radians(angle))
    return np.repeat((0.5 + 0.4 * np.sin(2 * np.pi * across / period))[None, ..., None], 3, -1).astype("float32")


@pytest.mark.parametrize("angle", [0, 30, 90, 135, 170])
def test_stripes_have_their_direction(angle):
    twice, coherence = directions.directions(stripes(angle), spread=0.05)
    inner = np.s_[0, 15:-15, 15:-15, 0]
    np.testing.assert_allclose(np.cos(twice[inner] - np.radians(2 * angle)), 1.0, atol=1e-3)
    np.testing.assert_allclose(coherence[inner], 1.0, atol=0.01)


def test_an_even_image_has_none():
    _, coherence = directions.directions(np.full((1, 30, 40, 3), 0.3, "float32"), spread=0.05)
    assert np.max(coherence) < 1e-3
    (found,) = directions.find_directions(stripes(0), [np.full((1, 30, 40, 3), 0.3, "float32")], orientation="edges")
    np.testing.assert_allclose(found.style, 0.25, atol=1e-3)


def test_directions_against_scikit_image(rng):
    luma = directions.blur(tf.constant(image(rng, 60, 80)[..., :1]), 2.0)
    gray = tf.repeat(luma, 3, axis=-1)
    twice, coherence = directions.directions(gray, spread=0.05)
    smooth = directions.blur(luma, 1.0).numpy()[0, ..., 0]
    rows, both, columns = structure_tensor(smooth, sigma=4.0, mode="reflect", order="rc")
    expected = np.arctan2(2.0 * both, rows - columns)
    inner = np.s_[12:-12, 12:-12]
    apart = np.cos(twice.numpy()[0, ..., 0] - expected)[inner]
    np.testing.assert_allclose(apart, 1.0, atol=0.02)
    root = np.hypot(rows - columns, 2.0 * both) / (rows + columns)
    np.testing.assert_allclose(coherence[0, ..., 0][inner], root[inner], atol=0.03)


def test_the_masks_of_edges_share_every_place(rng):
    content, two = image(rng, 50, 70), np.concatenate([stripes(0), stripes(90)], axis=2)
    (found, other) = directions.find_directions(content, [two, stripes(45)], orientation="edges")
    np.testing.assert_allclose(tf.reduce_sum(found.content, axis=-1), 1.0, atol=1e-5)
    assert found.content is other.content
    lying, _, standing, _ = np.moveaxis(found.style.numpy()[0], -1, 0)
    assert lying[:, 10:60].min() > 0.9
    assert standing[:, 100:150].min() > 0.9
    means = tf.reduce_mean(other.style, axis=(1, 2))[0]
    assert means[1] > 0.8
    for number in (0, 3):  # A direction that the painting lacks takes all of it.
        assert means[number] == 1.0 or means[number] > SMALLEST_SHARE
    assert means[3] == 1.0


def test_an_angle_selects_the_strokes_of_the_painting():
    (found,) = directions.find_directions(
        stripes(0), [np.concatenate([stripes(0), stripes(90)], axis=2)], orientation="90"
    )
    assert found.content.shape == (1, 1, 1, 1)
    assert found.style[0, :, 10:60].numpy().max() < 0.1
    assert found.style[0, :, 100:150].numpy().min() > 0.9


def test_the_target_of_an_angle_is_that_of_the_strokes_with_this_direction(mini_transfer, rng):
    content, painting = image(rng, 48, 64), np.concatenate([stripes(0, 48, 96), stripes(90, 48, 96)], axis=2)

    def target(orientation, style):
        found = mini_transfer(mini_recipe(orientation=orientation)).train_step.targets(content, [style])["style"]
        return np.concatenate([np.ravel(each) for each in found.values()])

    lying, both, asked = target("none", stripes(0, 48, 96)), target("none", painting), target(0, painting)
    assert np.linalg.norm(asked - lying) < 0.3 * np.linalg.norm(both - lying)


@pytest.mark.parametrize("orientation", ["edges", "30"])
def test_twice_the_same_painting_is_that_painting(orientation, mini_transfer, rng):
    content, painting = image(rng, 48, 64), image(rng, 40, 70)
    recipe = mini_recipe(orientation=orientation, scale_steps=(3,))
    alone, twice = (
        list(mini_transfer(recipe).steps(content, styles))[-1].image for styles in ([painting], [painting] * 2)
    )
    np.testing.assert_allclose(alone, twice, atol=1e-5)


def energies(result):
    """Energy across lying and across standing stripes."""
    return [float(np.mean(np.diff(result, axis=axis) ** 2)) for axis in (1, 2)]


@pytest.mark.slow
def test_strokes_have_the_angle_that_is_asked_for(rng):
    content = 0.5 + 0.02 * rng.normal(size=(1, 96, 128, 3)).astype("float32")
    painting = np.concatenate([stripes(0, 96, 128), stripes(90, 96, 128)], axis=2)
    ratios = []
    for angle in (0, "none", 90):
        recipe = get_recipe("wasserstein", orientation=angle, steps=30, scale_start=0, content_weight=0.0)
        lying, standing = energies(tfstyle.stylize(content, painting, recipe=recipe, size=128).numpy())
        ratios.append(lying / standing)
    assert ratios[0] > 4.0 * ratios[1] > 16.0 * ratios[2]


@pytest.mark.slow
def test_strokes_follow_edges():
    """Beside a vertical edge the stripes of a painting stand, beside a horizontal one they lie."""
    content = np.full((1, 96, 256, 3), 0.4, "float32")
    content[:, :, 64:] = 0.6
    content[:, 48:, 160:] = 0.3
    painting = np.concatenate([stripes(0, 96, 128), stripes(90, 96, 128)], axis=2)
    found = {}
    for orientation in ("none", "edges"):
        recipe = get_recipe("wasserstein", orientation=orientation, steps=40, scale_start=0, content_weight=0.0)
        result = tfstyle.stylize(content, painting, recipe=recipe, size=256).numpy()
        (left, up), (right, over) = energies(result[:, 8:-8, 40:88]), energies(result[:, 24:72, 180:248])
        found[orientation] = (up / left) * (right / over)
    assert found["edges"] > 4.0 * found["none"]


def test_what_makes_no_sense_is_refused(tmp_path, rng, capsys, monkeypatch):
    with pytest.raises(UsageError, match="`orientation` needs the whole images"):
        get_recipe("balanced", orientation="edges", regions=3)
    with pytest.raises(UsageError, match="orientation"):
        get_recipe("balanced", orientation=7)
    monkeypatch.setattr("tfstyle.cli.stylize.quiet_tensorflow", None)
    for name in ("a", "b"):
        images.write(image(rng, 40, 50), tmp_path / f"{name}.png")
    words = ["stylize", str(tmp_path / "a.png"), f"{tmp_path / 'b.png'}:mask=left", "--orientation", "edges"]
    assert_one_line(capsys, cli.main(words), 2, "--orientation needs the whole images")
