"""Masks: read, united and composited by hand; runs in which each part has its own painting; what does not leak."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_one_line, image, mini_recipe

import tfstyle
from tfstyle import cli, images, masks, one_pass, records, regions
from tfstyle.color import blur
from tfstyle.errors import InputError, UsageError
from tfstyle.preparation import share_regions
from tfstyle.recipes import get_recipe
from tfstyle.reruns import rerun
from tfstyle.styles import Style, check_styles
from tfstyle.vgg19 import reach


def half(height=40, width=60):
    """A mask of the left half."""
    mask = np.zeros((height, width), "float32")
    mask[:, : width // 2] = 1.0
    return mask


def test_a_mask_is_the_lightness_or_the_alpha_channel(tmp_path, rng):
    values = rng.uniform(size=(20, 30)).astype("float32")
    np.testing.assert_allclose(masks.read_mask(values, (20, 30))[0, ..., 0], values, atol=1e-6)
    images.write(image(rng, 20, 30), tmp_path / "a.png", alpha=values[None, ..., None])
    np.testing.assert_allclose(masks.read_mask(tmp_path / "a.png", (20, 30))[0, ..., 0], values, atol=1 / 255)
    assert masks.read_mask(half(), (20, 30)).shape == (1, 20, 30, 1)


@pytest.mark.parametrize(("edge", "axis", "begins"), [("left", 1, 1), ("right", 1, 0), ("top", 0, 1), ("bottom", 0, 0)])
def test_ramps_fall_from_their_edge_evenly(edge, axis, begins):
    ramp = masks.read_mask(edge, (20, 30))[0, ..., 0].numpy()
    assert ramp.shape == (20, 30)
    along = np.moveaxis(ramp, axis, 0)
    np.testing.assert_allclose(along[0], begins)
    np.testing.assert_allclose(along[-1], 1 - begins)
    np.testing.assert_allclose(np.diff(along, axis=0), (1 - 2 * begins) / (len(along) - 1), atol=1e-6)


def test_a_color_selects_an_area_of_a_map(tmp_path):
    """Areas that touch leave nothing between them, also in a JPEG file."""
    colors = np.zeros((40, 60, 3), "float32")
    colors[:, :23, 0], colors[:, 23:, 2] = 1.0, 1.0
    for name in ("map.png", "map.jpg"):
        images.write(colors[None], tmp_path / name)
        red, blue = (masks.read_mask(tmp_path / name, (40, 60), color=color) for color in ("red", "#0000ff"))
        np.testing.assert_allclose(red + blue, 1.0, atol=0.0 if name == "map.png" else 0.05)
        np.testing.assert_allclose(red[0, :, :22, 0], 1.0)
    found = masks.read_masks(
        [Style("a", mask=colors, mask_color=color) for color in ("red", "blue")], (40, 60), feather=0
    )
    assert masks.unite(found).owners == [0, 1]
    near, names = np.float32([[[1.0, 0.84, 0.0], [1.0, 1.0, 0.0]]]), ("gold", "yellow")
    gold, yellow = (masks.read_mask(near, (1, 2), color=color, others=names) for color in names)
    np.testing.assert_array_equal(np.ravel(gold), [1.0, 0.0])
    np.testing.assert_array_equal(np.ravel(yellow), [0.0, 1.0])
    same = [Style("a", mask="map.png", mask_color=color).mask_key for color in ("red", "Red", "#ff0000")]
    assert len(set(same)) == 1
    Style("a", mask="left", style_mask="map.png", mask_color="red")
    with pytest.raises(InputError, match="has no area of the color green"):
        masks.read_mask(tmp_path / "map.png", (40, 60), color="green")
    with pytest.raises(UsageError, match="`mask_color` selects an area"):
        Style("a", mask_color="red")
    with pytest.raises(UsageError, match="`mask_color` should be a color such as"):
        Style("a", mask="map.png", mask_color="reddish")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((20, 30), "float32"), "the mask is black everywhere"),
        (half(30, 30), "the mask is 30x30 and its picture 30x20"),
        ("none.png", "no such file"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(mask, message):
    with pytest.raises(InputError, match=message):
        masks.read_masks([Style("a", mask=mask)], (20, 30), feather=0.0)


def test_masks_share_what_they_select_twice_and_the_rest_is_for_the_others():
    one, two = half(), np.full((40, 60), 0.5, "float32")
    styles = [Style("a", mask=one), Style("b", mask=two), Style("c"), Style("d")]
    found = masks.read_masks(styles, (40, 60), feather=0.0)
    drawn = masks.unite(found)
    assert drawn.owners == [0, 1, 2, 2]
    left, right = (np.stack(drawn.masks)[:, 0, 5, column, 0] for column in (5, 50))
    np.testing.assert_allclose(left, [1 / 1.5, 0.5 / 1.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(right, [0.0, 0.5, 0.5], atol=1e-6)
    protected = masks.unite(masks.read_masks(styles, (40, 60), protect=half(), feather=0.0))
    np.testing.assert_allclose(np.stack(protected.masks)[:, 0, 5, 5, 0], 0.0, atol=1e-6)
    assert masks.unite(masks.read_masks([Style("a"), Style("b")], (40, 60), feather=0.1)) is None


@pytest.mark.parametrize("size", [(64, 43), (107, 160)])
def test_nowhere_is_less_than_nothing_selected(size):
    protected = np.ones((*size, 1), np.float32)
    (style,) = masks.read_masks([Style("x.jpg", mask="left")], size, protect=protected, feather=0.01)
    assert float(tf.reduce_min(style.mask)) >= 0.0
    assert float(tf.reduce_max(style.mask)) < 1e-6


def test_a_feather_is_a_fraction_of_the_long_side():
    (style,) = masks.read_masks([Style("a", mask=half())], (40, 60), feather=0.05)
    row = np.asarray(style.mask)[0, 20, :, 0]
    slope = -np.diff(row)
    mean = np.average(np.arange(59), weights=slope)
    assert np.sqrt(np.average((np.arange(59) - mean) ** 2, weights=slope)) == pytest.approx(3.0, rel=0.02)


def test_an_eroded_mask_keeps_what_sees_nothing_outside():
    assert [reach(layer) for layer in ("block1_conv1", "block1_conv2", "block2_conv1", "block5_conv1")] == [1, 2, 4, 70]
    mask = np.zeros((1, 30, 40, 2), "float32")
    mask[:, :, :20, 0], mask[:, 10:14, 10:14, 1] = 1.0, 1.0
    found = regions.erode(tf.constant(mask), "block3_conv1").numpy()  # It sees 10 pixels, 3 of its positions.
    assert found[0, 15, :, 0].sum() == 17  # Nothing is lost at the border of the picture.
    np.testing.assert_array_equal(found[..., 1], mask[..., 1])  # Too small to be eroded at all.


def test_outside_the_masks_the_photograph_stays_to_the_last_bit(mini_transfer, rng):
    content, style = image(rng, 40, 60), image(rng, 50, 70)
    for styles, protect in (([Style(style, mask=half())], None), ([Style(style)], 1.0 - half())):
        recipe = mini_recipe(scale_steps=(3,), drawn_regions=1, palette=0.5)
        painted = masks.read_masks(styles, (40, 60), protect=protect, feather=0.0)
        last = list(mini_transfer(recipe).steps(content, painted))[-1].image.numpy()
        np.testing.assert_array_equal(last[:, :, 32:], content[:, :, 32:])
        assert np.abs(last[:, :, :28] - content[:, :, :28]).mean() > 0.01


@pytest.fixture(scope="module")
def stripes():
    """Paintings of stripes along either axis, and an even photograph with some grain."""
    rng = np.random.default_rng(3)
    rows = 0.5 + 0.4 * np.sign(np.sin(np.arange(96) * np.pi / 4))[:, None] * np.ones((96, 128))
    lying, standing = rows, np.resize(rows.T, (128, 96)).T[:96, :128]
    standing = 0.5 + 0.4 * np.sign(np.sin(np.arange(128) * np.pi / 4))[None] * np.ones((96, 128))
    pictures = [np.repeat(each[None, ..., None], 3, -1).astype("float32") for each in (lying, standing)]
    return *pictures, np.float32(0.5 + 0.02 * rng.normal(size=(1, 96, 128, 3)))


@pytest.mark.slow
def test_a_style_does_not_leak(stripes):
    """Stripes that lie on the left must not appear on the right, two pixels from the border onward."""
    lying, standing, photo = stripes
    recipe = get_recipe("balanced", steps=30, scale_start=0, content_weight=0.0, precision="float32", recurrence=0.0)

    def lying_energy(styles):
        result = tfstyle.stylize(photo, styles, recipe=recipe, size=128, feather=0.0).numpy()[0]
        across = np.abs(np.diff(result, axis=0)).mean(axis=(0, 2)) ** 2
        return across[:60].mean(), across[66:].mean()

    left, right = lying_energy([Style(lying, mask=half(96, 128)), Style(standing, mask=1.0 - half(96, 128))])
    _, alone = lying_energy(standing)
    assert right - alone < 0.02 * left


@pytest.mark.parametrize(
    ("styles", "options", "message"),
    [
        ([Style("a", mask="left")], {"regions": 3}, "leave out one or the other"),
        ([Style("a", mask="left"), Style("b", weight=0.0)], {}, "positive `weight`"),
        ([Style("a", mask=f"{number}.png") for number in range(9)], {}, "there are 9 masks; 8 regions"),
    ],
)
def test_masks_that_make_no_sense_are_refused(styles, options, message):
    with pytest.raises(UsageError, match=message):
        check_styles(styles, get_recipe("balanced", **options), feather=0.01)
    with pytest.raises(UsageError, match=r"should be 0 to 0\.5, not 0\.6"):
        check_styles(styles[:1], get_recipe("balanced"), feather=0.6)


@pytest.fixture
def files(tmp_path, rng):
    """Paths of a photograph, two paintings and a mask."""
    paths = {name: tmp_path / f"{name}.png" for name in ("photo", "night", "waves", "sky")}
    for name, path in paths.items():
        images.write(image(rng, 40, 60) if name != "sky" else np.repeat(half()[None, ..., None], 3, -1), path)
    return {name: str(path) for name, path in paths.items()}


@pytest.mark.usefixtures("mini_network")
def test_a_masked_result_is_recorded_and_made_again(files, tmp_path, capsys):
    waves = f"{files['waves']}:mask=right,weight=2"
    words = [files["photo"], f"{files['night']}:mask={files['sky']}", waves]
    output = tmp_path / "out.png"
    options = ["--protect", files["sky"], "--feather", "0.02", "-o", str(output)]
    words[1] += ",mask_color=white"
    assert cli.main(["stylize", *words[:2], f"{waves},style_mask=top", *options]) == 0
    made = records.read(output)
    assert made["options"]["styles"][0]["mask_color"] == "white"
    assert made["options"]["styles"][1]["style_mask"] == "top"
    assert set(made["inputs"]) == {"content", "style", "style mask", "style 2", "protect"}
    assert made["options"]["styles"][1]["mask"] == "right"
    assert made["recipe"]["loss"]["drawn_regions"] == 2
    assert rerun(output).same
    assert cli.main(["fast", *words, *options, "--overwrite", "--size", "60"]) == 0
    photo, found = (images.read(path).image for path in (files["photo"], output))
    np.testing.assert_allclose(found[:, :, :25], photo[:, :, :25], atol=1 / 255)
    assert np.abs(found[:, :, 40:] - photo[:, :, 40:]).mean() > 0.02


def test_a_network_of_one_style_leaves_what_is_protected(rng):
    """The border is as soft as that of a painting's mask."""
    content, inverse = (
        image(rng, 40, 60),
        SimpleNamespace(
            check_options=lambda styles, options: None,
            memory_needed=lambda *sides, options: 0,
            stylize=lambda content, styles, **options: 1.0 - content,
        ),
    )
    found = one_pass.stylize_fast(content, model=inverse, protect=half(), feather=0.05).numpy()
    free = 1.0 - blur(tf.constant(half()[None, ..., None]), sigma=3.0)
    np.testing.assert_allclose(found, content + free * (1.0 - 2.0 * content), atol=1e-6)
    assert 0.2 < free[0, 20, 28, 0] < 0.5


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["NIGHT:mask=none.png"], 3, "no such file"),
        (["NIGHT", "--protect", "none.png"], 3, "no such file"),
        (["NIGHT:mask=left", "--regions", "3"], 2, "--regions are found where no masks are given"),
        (["NIGHT", "--feather", "2"], 2, "--feather should be 0 to 0.5"),
    ],
)
def test_the_command_refuses_in_one_line(words, code, message, files, capsys, monkeypatch):
    monkeypatch.setattr("tfstyle.cli.stylize.quiet_tensorflow", None)
    typed = [word.replace("NIGHT", files["night"]) for word in words]
    assert_one_line(capsys, cli.main(["stylize", files["photo"], *typed]), code, message)


@pytest.mark.parametrize("neighbors", [{}, {"neighbor_layers": ("block3_conv1",), "neighbor_weight": 2.0}])
def test_a_mask_of_ones_is_no_mask(neighbors, mini_transfer, rng):
    content, style = image(rng, 40, 60), image(rng, 50, 70)
    options = {"scale_steps": (3,), "palette": 0.5, **neighbors}
    alone = list(mini_transfer(mini_recipe(**options)).steps(content, style))[-1]
    painted = masks.read_masks([Style(style, mask=np.ones((40, 60), "float32"))], (40, 60), feather=0.01)
    covered = list(mini_transfer(mini_recipe(drawn_regions=1, **options)).steps(content, painted))[-1]
    np.testing.assert_allclose(covered.image, alone.image, atol=1e-5)
    assert covered.losses == pytest.approx(alone.losses, rel=1e-5)


def test_masked_targets_in_tiles_are_those_of_the_whole_image(mini_transfer, rng):
    content, styles = image(rng, 70, 90), [image(rng, 60, 80), image(rng, 48, 70), image(rng, 50, 50)]
    painter = mini_transfer(mini_recipe(drawn_regions=2, neighbor_layers=("block3_conv1",), neighbor_weight=2.0))
    shapes = ["left", None, None]
    painted = masks.read_masks(
        [Style(each, mask=mask) for each, mask in zip(styles, shapes, strict=True)], (70, 90), feather=0.0
    )
    drawn = masks.unite(painted)
    regions = share_regions(
        painter.model.vgg,
        content,
        styles,
        loss=painter.graph_key.loss,
        drawn=drawn,
        style_masks=[tf.ones([1, 60, 80, 1]), None, None],
    )
    _, shares = masks.divide(painted, painter.graph_key.loss, drawn)
    np.testing.assert_allclose(shares["neighbor"], [[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]])
    whole, tiled = (
        painter.train_step.targets(content, styles, regions=regions, shares=shares, tile=tile) for tile in (None, 32)
    )
    for kind in ("style", "masks"):
        tf.nest.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), tiled[kind], whole[kind]
        )
    places = whole["neighbor"]["places"][0, ..., 0].numpy()
    assert np.mean(tiled["neighbor"]["places"] == whole["neighbor"]["places"]) > 0.9
    assert (places[:, :10] < 15 * 20).all()  # Keys of the first painting on the left.
    assert (places[:, 12:] >= 15 * 20).all()


def test_masks_need_a_recipe_with_as_many_regions(mini_transfer, rng):
    painted = masks.read_masks([Style(image(rng, 50, 70), mask="left")], (40, 60), feather=0.0)
    with pytest.raises(UsageError, match="the masks need `drawn_regions` 1 in the recipe, not 0"):
        next(mini_transfer(mini_recipe()).steps(image(rng, 40, 60), painted))


def test_of_a_masked_painting_only_that_part_counts(mini_transfer, rng):
    """Outside the mask the painting may show anything."""
    content, style = image(rng, 40, 60), image(rng, 48, 64)
    mask = np.zeros((1, 48, 64, 1), "float32")
    mask[:, :, :32] = 1.0
    recipe = mini_recipe(drawn_regions=1, statistic="mean_std")
    painter, targets = mini_transfer(recipe), []
    for right in (style[:, :, 32:], 1.0 - style[:, :, 32:]):
        painting = np.concatenate([style[:, :, :32], right], axis=2)
        painted = masks.read_masks([Style(painting, style_mask=mask)], (40, 60), feather=0.0)
        drawn = masks.unite(painted)
        assert np.all(np.equal(drawn.masks, 1.0))
        regions = share_regions(
            painter.model.vgg,
            content,
            [painting],
            loss=painter.graph_key.loss,
            drawn=drawn,
            style_masks=[tf.constant(mask)],
        )
        _, shares = masks.divide(painted, painter.graph_key.loss, drawn)
        targets.append(painter.train_step.targets(content, [painting], regions=regions, shares=shares)["style"])
    for layer, target in targets[0].items():
        one, other = (np.asarray(each[layer].targets[0]) for each in targets)
        assert np.abs(one - other).max() < 0.05 * np.abs(one).max(), layer
        np.testing.assert_allclose(target.shares, 1.0, atol=1e-5)
