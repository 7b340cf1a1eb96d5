"""Style images and their shares, by hand; blends of equal and of different ones; runs, records and commands."""

import shutil

import numpy as np
import pytest
from conftest import assert_one_line, image, mini_recipe

import tfstyle
from tfstyle import checkpoint, cli, color, images, records
from tfstyle.errors import InputError, UsageError
from tfstyle.masks import divide
from tfstyle.neighbors import PLACES
from tfstyle.recipes.loss import Loss, Term
from tfstyle.reruns import rerun
from tfstyle.styles import Style, as_styles, divide_weight, find_shares, name_styles, parse_style

LOSS = Loss(content_layers=["block4_conv2"], style_layers=["block1_conv1", "block2_conv1", "block4_conv1"])


@pytest.mark.parametrize(
    ("text", "picture", "fields"),
    [
        ("night.jpg", "night.jpg", {}),
        ("C:\\art\\night.jpg", "C:\\art\\night.jpg", {}),
        ("C:\\art\\night.jpg:weight=2", "C:\\art\\night.jpg", {"weight": 2.0}),
        ("a:b.jpg:weight=0.5,scale=2", "a:b.jpg", {"weight": 0.5, "scale": 2.0}),
        ("a.jpg:layers=block1+block2_conv1", "a.jpg", {"layers": ("block1", "block2_conv1")}),
        ("a.jpg:scale=1e-1,layers=block5,weight=0", "a.jpg", {"weight": 0.0, "scale": 0.1, "layers": ("block5",)}),
        ("two words, with commas.jpg", "two words, with commas.jpg", {}),
    ],
)
def test_a_style_of_the_command_line_is_a_path_and_its_fields(text, picture, fields):
    found, plain = parse_style(text), Style(picture)
    assert found.picture == picture
    assert found.record() == plain.record() | fields | {"layers": list(fields.get("layers", ()))}


def test_a_file_of_that_very_name_is_a_file(tmp_path):
    path = tmp_path / "a.jpg:weight=2"
    path.touch()
    assert parse_style(str(path)).record() == Style(path).record()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg:weight=two", "weight should be a number, not 'two'"),
        ("a.jpg:weight=-1", "should be at least 0, not -1"),
        ("a.jpg:weight=nan", "should be a finite float"),
        ("a.jpg:scale=11", "should be at most 10, not 11"),
        ("a.jpg:layers=block6", "did you mean 'block"),
        ("a.jpg:angle=3", "style_mask, mask_color, but no 'angle'"),
    ],
)
def test_invalid_fields_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_style(text)


def test_shares_by_hand():
    every, first = Style("a", weight=3.0), Style("b", weight=1.0, layers=("block1", "block2_conv1"))
    shares = find_shares([every, first], LOSS)
    assert shares.layers == {"block1_conv1": [0.75, 0.25], "block2_conv1": [0.75, 0.25], "block4_conv1": [1.0, 0.0]}
    assert (shares.colors, shares.neighbors) == ([0.75, 0.25], [1.0, 0.0])
    assert divide_weight([every, first]) == [0.75, 0.25]


def term():
    return Term(
        name="own", layers=("block1_conv1",), target=lambda c, s: 0.0, sums=lambda f, t: 0.0, loss=lambda s, t: 0.0
    )


@pytest.mark.parametrize(
    ("styles", "loss", "message"),
    [
        ([], LOSS, "there is no style image"),
        ([Style("a", weight=0.0)], LOSS, "no style image has a positive `weight`"),
        ([Style("a", layers=("block1",))], LOSS, "positive `weight` and counts at 'block2_conv1'"),
        (["ab", "c"], {"regions": 3}, '`regions` should be "none" or "auto"'),
        (["ab", "c"], {"terms": (term(),)}, "compares a single style image"),
    ],
)
def test_what_several_styles_cannot_do_is_refused(styles, loss, message):
    loss = loss if isinstance(loss, Loss) else Loss(content_layers=LOSS.content_layers, **loss)
    with pytest.raises(UsageError, match=message):
        find_shares(as_styles(styles), loss)


def test_the_pictures_of_a_folder_share_its_weight(tmp_path, rng):
    for name in ("b.png", "a.png"):
        images.write(image(rng, 8, 9), tmp_path / name)
    (tmp_path / "sub").mkdir()
    alone = rng.random((8, 9, 3))
    found = as_styles([Style(tmp_path, weight=3.0, scale=2.0), alone])
    assert [style.picture for style in found[:2]] == [tmp_path / "a.png", tmp_path / "b.png"]
    assert [(style.weight, style.scale) for style in found] == [(1.5, 2.0), (1.5, 2.0), (1.0, 1.0)]
    assert found[2].picture is alone
    assert name_styles(found) == ["style", "style 2", "style 3"]
    assert as_styles(alone)[0].picture is alone
    assert as_styles(()) == []
    with pytest.raises(InputError, match="sub: holds no picture"):
        as_styles(str(tmp_path / "sub"))


OPTIONS = {"scale_start": 40, "scale_steps": (2, 2), "palette": 0.5}


def run(transfer, recipe, content, style):
    return list(transfer(recipe).steps(content, style))


NEIGHBORS = {"neighbor_layers": ("block2_conv2", "block3_conv1"), "neighbor_weight": 2.0}


@pytest.mark.parametrize("options", [{}, {"color": "match"}, NEIGHBORS], ids=["plain", "match", "neighbors"])
def test_twice_the_same_painting_is_that_painting(options, mini_transfer, rng):
    content, style = image(rng, 68, 90), image(rng, 60, 80)
    recipe = mini_recipe(**OPTIONS, **options)
    alone = run(mini_transfer, recipe, content, style)
    both = run(mini_transfer, recipe, content, [Style(style, weight=3.0), style])
    for one, other in zip(alone, both, strict=True):
        np.testing.assert_allclose(other.image, one.image, atol=1e-5)
        assert other.losses == pytest.approx(one.losses, rel=1e-4)


def test_a_painting_without_weight_changes_nothing(mini_transfer, rng):
    content, style, other = image(rng, 68, 90), image(rng, 60, 80), image(rng, 40, 70)
    recipe = mini_recipe(**OPTIONS)
    alone = run(mini_transfer, recipe, content, style)[-1].image
    both = run(mini_transfer, recipe, content, [Style(other, weight=0.0), style])[-1].image
    np.testing.assert_allclose(both, alone, atol=1e-5)


def test_the_target_of_a_blend_is_the_mean_of_the_paintings_statistics(mini_transfer, rng):
    content, styles = image(rng, 68, 90), [image(rng, 60, 80), image(rng, 40, 70)]
    painter = mini_transfer(mini_recipe())
    weighed = [Style(styles[0], weight=3.0), Style(styles[1])]
    _, shares = divide(weighed, painter.graph_key.loss, None)
    blended = painter.train_step.targets(content, styles, shares=shares)["style"]
    single = [painter.train_step.targets(content, [style])["style"] for style in styles]
    for layer, target in blended.items():
        np.testing.assert_allclose(target, 0.75 * single[0][layer] + 0.25 * single[1][layer], rtol=1e-4, atol=1e-6)


def test_colors_of_one_and_strokes_of_another(mini_transfer, rng):
    content = image(rng, 33, 47)
    red, blue = (0.3 + 0.3 * image(rng, 40, 50) * np.float32(tint) for tint in ((1.3, 0.7, 0.6), (0.6, 0.7, 1.3)))
    recipe = mini_recipe(palette=1.0, scale_steps=(2,), learning_rate=1e-6)
    deepest = [layer for layer in recipe.loss.style_layers if not layer.startswith("block1")]
    styles = [Style(red, layers=("block1",)), Style(blue, layers=tuple(deepest))]
    last = run(mini_transfer, recipe, content, styles)[-1].image
    np.testing.assert_allclose(color.find_palette(last).mean, color.find_palette(red).mean, atol=0.02)
    recolored = color.match_colors(blue, color.find_palette(red), strength=1.0)
    blended, single = (run(mini_transfer, recipe, recolored, style)[0].losses for style in (styles, red))
    assert blended[f"style/{deepest[-1]}"] < 0.1 * single[f"style/{deepest[-1]}"]  # Strokes of the blue one, in red.


def test_a_blend_in_tiles_is_that_of_the_whole_image(mini_transfer, rng):
    content, styles = image(rng, 70, 90), [image(rng, 60, 80), image(rng, 48, 70)]
    painter = mini_transfer(mini_recipe(**NEIGHBORS))
    whole, tiled = (painter.train_step.targets(content, styles, tile=tile) for tile in (None, 32))
    for layer in whole["style"]:
        np.testing.assert_allclose(tiled["style"][layer], whole["style"][layer], rtol=1e-4, atol=1e-5)
    same = tiled["neighbor"][PLACES] == whole["neighbor"][PLACES]
    assert np.mean(same) > 0.9  # Queries are mixed in float16 in one of them.
    keys = tiled["neighbor"]["block3_conv1"].shape[1]
    assert keys == 15 * 20 + 12 * 17


def test_half_the_places_look_like_each_painting(mini_transfer, rng):
    content, styles = image(rng, 70, 90), [image(rng, 60, 80), image(rng, 48, 70)]
    painter = mini_transfer(mini_recipe(**NEIGHBORS))
    for weight, share in ((1.0, 0.5), (3.0, 0.75), (0.0, 0.0)):
        weighed = [Style(styles[0], weight=weight), Style(styles[1])]
        _, shares = divide(weighed, painter.graph_key.loss, None)
        places = painter.train_step.targets(content, styles, shares=shares)["neighbor"][PLACES]
        assert np.mean(places < 15 * 20) == pytest.approx(share, abs=0.03)


@pytest.fixture
def paintings(tmp_path, rng):
    """Paths of a photograph and of two paintings."""
    paths = [tmp_path / f"{name}.png" for name in ("photo", "night", "waves")]
    for path in paths:
        images.write(image(rng, 40, 56), path)
    return list(map(str, paths))


@pytest.mark.usefixtures("mini_network")
def test_a_blend_is_recorded_and_made_again(paintings, tmp_path):
    photo, night, waves = paintings
    output = tmp_path / "out.png"
    styles = [Style(night, weight=2.0), Style(waves, scale=0.5)]
    tfstyle.stylize(photo, styles, output=output)
    made = records.read(output)
    assert [made["inputs"][name]["name"] for name in ("style", "style 2")] == ["night.png", "waves.png"]
    assert made["options"]["styles"] == [style.record() for style in styles]
    for options in ({}, {"content": photo, "style": [night, waves]}):
        assert rerun(output, output=tmp_path / "again.png", overwrite=True, **options).same
    with pytest.raises(InputError, match="the style of"):
        rerun(output, content=photo, style=[waves, night])


@pytest.mark.usefixtures("mini_network")
def test_a_checkpoint_of_another_blend_is_refused(paintings, tmp_path):
    photo, night, waves = paintings
    folder = tmp_path / "checkpoint"
    tfstyle.stylize(photo, [Style(night, weight=2.0), waves], checkpoint=folder)
    assert checkpoint.holds_one(folder)
    for styles, message in (
        ([night, waves], "was made with other masks or weights"),
        ([Style(night, weight=2.0), night], "another style 2 image"),
        ([night], "was made with other masks or weights"),
    ):
        with pytest.raises(UsageError, match=message):
            tfstyle.stylize(photo, styles, checkpoint=folder, resume=True)


@pytest.mark.usefixtures("mini_network")
def test_the_command_takes_paintings_before_and_after_its_options(paintings, tmp_path, capsys):
    photo, night, waves = paintings
    assert cli.main(["stylize", photo, f"{night}:weight=2", "--size", "48", waves]) == 0
    output = tmp_path / "photo.night+waves.png"
    assert capsys.readouterr().out == f"{output}\n"
    assert [part["weight"] for part in records.read(output)["options"]["styles"]] == [2.0, 1.0]
    assert cli.main(["rerun", str(output), photo, night, waves, "-o", str(tmp_path / "again.png")]) == 0
    assert "differ" not in capsys.readouterr().err
    (tmp_path / "art").mkdir()
    for path in (night, waves):
        shutil.copy(path, tmp_path / "art")
    assert cli.main(["stylize", photo, str(tmp_path / "art"), "--size", "48"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'photo.art.png'}\n"
    assert len(records.read(tmp_path / "photo.art.png")["options"]["styles"]) == 2
    words = ["sweep", photo, night, waves, "--vary", "style_weight=1,2", "--size", "48", "-o", str(tmp_path / "sweep")]
    assert cli.main(words) == 0
    assert (tmp_path / "sweep" / "grid.png").is_file()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["NIGHT:weight=0"], 2, "no style image has a positive weight"),
        (["NIGHT", "WAVES:scale=100"], 2, "scale should be at most 10"),
        (["NIGHT", "WAVES", "--regions", "3"], 2, '--regions should be "none" or "auto"'),
        (["NIGHT", "none.jpg"], 3, "no such file"),
        (["NIGHT:layers=block1"], 2, "counts at 'block2_conv1'"),
    ],
)
def test_the_command_refuses_in_one_line_before_tensorflow(words, code, message, paintings, capsys, monkeypatch):
    monkeypatch.setattr("tfstyle.cli.stylize.quiet_tensorflow", None)
    photo, night, waves = paintings
    typed = [word.replace("NIGHT", night).replace("WAVES", waves) for word in words]
    assert_one_line(capsys, cli.main(["stylize", photo, *typed]), code, message)
