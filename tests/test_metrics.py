"""Quality metrics against their definitions, SciPy, NumPy, numbers worked by hand, and bounds."""

import json

import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import scipy.stats
from conftest import MINI_BLOCKS, SAMPLES, image
from PIL import Image

from tfstyle import cli, images, metrics, vgg
from tfstyle.vgg19 import STYLE_LAYERS


@pytest.fixture(scope="module")
def network():
    return vgg.load_vgg(metrics.LAYERS)


def picture(name, height, width):
    return images.resize(images.read(SAMPLES / f"{name}.jpg").image, height, width)


def test_one_direction_is_scipys_wasserstein_distance(rng):
    one, other = rng.normal(size=(1, 20, 31, 1)), 0.5 + 2.0 * rng.normal(size=(1, 27, 19, 1))
    expected = scipy.stats.wasserstein_distance(one.ravel(), other.ravel()) / other.std()
    assert metrics.sliced_wasserstein(one, other, directions=3) == pytest.approx(expected, rel=0.01)


def test_a_shift_of_one_channel_worked_by_hand():
    # The values 0 and 2 deviate by 1 from their mean; a shift by 3 moves every value by 3, in either direction.
    target = np.array([0.0, 2.0, 2.0, 0.0]).reshape(1, 2, 2, 1)
    assert metrics.sliced_wasserstein(target + 3.0, target) == pytest.approx(3.0, rel=1e-6)


def test_a_shift_of_two_channels_worked_by_hand(rng):
    # Along a direction at angle t, the shift (1, 1) moves every projection by sqrt(2) |cos t|, in the mean
    # sqrt(2) * 2 / pi; projections of independent values of deviation 1 have deviation 1.
    target = rng.normal(size=(1, 150, 200, 2))
    found = metrics.sliced_wasserstein(target + 1.0, target, directions=4000)
    assert found == pytest.approx(2.0 * np.sqrt(2.0) / np.pi, rel=0.02)


@pytest.mark.parametrize("count", [3, 500, 5000])
def test_one_direction_is_the_difference_of_numpys_quantiles(count, rng):
    one, other = rng.normal(size=(1, 1, count, 1)), rng.uniform(size=(1, 7, 11, 1))
    ranks = (np.arange(1024) + 0.5) / 1024
    expected = np.abs(np.subtract(*(np.quantile(values, ranks, method="hazen") for values in (one, other)))).mean()
    assert metrics.sliced_wasserstein(one, other, directions=1) == pytest.approx(expected / other.std(), rel=1e-3)


def test_positions_do_not_matter_to_the_distribution(rng):
    features = rng.normal(size=(1, 8, 13, 5))
    shuffled = rng.permutation(features.reshape(-1, 5)).reshape(1, 13, 8, 5)
    assert metrics.sliced_wasserstein(shuffled, features) == pytest.approx(0.0, abs=1e-6)


def test_relative_error_worked_by_hand():
    assert metrics.relative_error([3.0, 0.0], [3.0, 4.0]) == pytest.approx(4 / 5)
    assert metrics.relative_error([0.0, 0.0], [3.0, 4.0]) == 1.0


def test_scores_follow_from_the_features(network):
    content, style, result = (picture(name, 64, 96) for name in ("chelsea", "harvest", "neuschwanstein"))
    scores = metrics.compare(network, content, style, result)
    features = [network(image) for image in (result, style)]

    def error(describe):
        """The relative error of a statistic of feature vectors [positions, channels], averaged over the layers."""
        errors = []
        for layer in STYLE_LAYERS:
            vectors = [np.asarray(found[layer], np.float64).reshape(-1, found[layer].shape[-1]) for found in features]
            value, target = (describe(v) for v in vectors)
            errors.append(np.sqrt(((value - target) ** 2).sum() / (target**2).sum()))
        return np.mean(errors)

    assert scores.gram == pytest.approx(error(lambda f: f.T @ f / len(f)), rel=1e-3)
    assert scores.moments == pytest.approx(error(lambda f: np.stack([f.mean(0), f.std(0)])), rel=1e-3)


def test_the_style_image_has_its_own_style_and_the_content_image_its_own_content(network):
    content, style = picture("neuschwanstein", 64, 96), picture("starry_night", 64, 96)
    as_style = metrics.compare(network, content, style, style)
    as_content = metrics.compare(network, content, style, content)
    for name in ("gram", "moments", "sliced_wasserstein", "colors"):
        assert getattr(as_style, name) == pytest.approx(0.0, abs=1e-5)
        assert getattr(as_content, name) > 0.05
    assert (as_content.content, as_content.ssim) == (pytest.approx(0.0, abs=1e-5), pytest.approx(1.0))
    assert as_style.content > 0.5 > as_style.ssim


def test_noise_on_the_content_image_worsens_the_content_scores(network, rng):
    content, style = picture("chelsea", 64, 96), picture("harvest", 64, 80)
    noisy = [np.clip(content + s * rng.normal(size=content.shape), 0, 1).astype("f4") for s in (0.02, 0.2)]
    little, much = (metrics.compare(network, content, style, result) for result in noisy)
    assert little.content < much.content
    assert little.ssim > much.ssim


def checkerboard(height, width, amplitude):
    """Gray ± amplitude, pixel by pixel."""
    signs = (-1.0) ** np.add.outer(np.arange(height), np.arange(width))
    return np.broadcast_to(0.5 + amplitude * signs[None, ..., None], (1, height, width, 3)).astype("float32")


def test_the_grain_of_checkerboards_worked_by_hand():
    # All of a checkerboard is finest detail, and a gray content image is flat everywhere: 0.3 / 0.12.
    gray = np.full((1, 48, 72, 3), 0.5, "float32")
    found = metrics.grain(gray, checkerboard(48, 72, 0.12), checkerboard(48, 72, 0.3))
    assert found == pytest.approx(2.5, rel=1e-4)
    assert metrics.grain(gray, checkerboard(48, 72, 0.12), gray) == pytest.approx(0.0, abs=1e-5)


def test_grain_against_scipy_and_pillow(rng):
    content, style, result = picture("chelsea", 49, 66), picture("harvest", 40, 51), image(rng, 49, 66)

    def luma(picture):
        return np.asarray(picture[0], np.float64) @ [0.299, 0.587, 0.114]

    def detail(picture):
        given = Image.fromarray(luma(picture).astype("float32"))
        half = given.resize([(side + 1) // 2 for side in given.size], Image.Resampling.BICUBIC)
        half = Image.fromarray(np.clip(half, 0.0, 1.0))
        return np.asarray(given) - np.clip(half.resize(given.size, Image.Resampling.BICUBIC), 0.0, 1.0)

    def smoothed(values):
        return scipy.ndimage.gaussian_filter(values, 66 / 128, mode="constant", truncate=20.0)

    gradients = np.gradient(smoothed(luma(content)) / smoothed(np.ones((49, 66))))
    order = np.argsort(np.sqrt(gradients[0] ** 2 + gradients[1] ** 2), axis=None)
    flattest = detail(result).ravel()[order[: len(order) // 5]]
    assert metrics.grain(content, style, result) == pytest.approx(flattest.std() / detail(style).std(), rel=5e-3)


def test_grain_is_looked_for_where_the_content_image_is_flat(rng):
    ramp = np.maximum(np.arange(72) - 40, 0) / 40.0  # Flat in the left half.
    content = np.broadcast_to(ramp[None, None, :, None], (1, 48, 72, 3)).astype("float32")
    noise = 0.2 * rng.normal(size=(1, 48, 72, 3)).astype("float32")
    left, right = (0.5 + noise * place for place in (np.arange(72)[:, None] < 36, np.arange(72)[:, None] >= 44))
    style = 0.5 + noise
    assert metrics.grain(content, style, left) == pytest.approx(1.0, rel=0.1)
    assert metrics.grain(content, style, right) < 0.01


def test_more_noise_is_more_grain(rng):
    content, style = picture("neuschwanstein", 48, 72), picture("harvest", 48, 60)
    noise = rng.normal(size=content.shape).astype("float32")
    grains = [metrics.grain(content, style, content + strength * noise) for strength in (0.0, 0.05, 0.1)]
    assert grains == sorted(grains)
    assert grains[2] > 1.5 * grains[1] > 2.0 * grains[0]


def vectors(*rows):
    """Features [1, 1, positions, channels]."""
    return np.array(rows, "float32")[None, None]


X, Y = np.eye(2)


def test_matched_positions_worked_by_hand():
    # Cosines 1, 0 and -1 give the weights 1, e^-20 and e^-40: each position is matched with its equals alone.
    content, style = vectors(X, -X), vectors(X, -X, Y, -Y)
    # X and -X of the style image are used once, Y and -Y never: min(1, 2), min(1, 2), 0, 0.
    assert metrics.match_positions(content, style, content) == (pytest.approx(0.5), pytest.approx(1.0))
    assert metrics.match_positions(content, style, -content)[1] == pytest.approx(-1.0)
    assert metrics.match_positions(content, style, vectors(X, Y))[1] == pytest.approx(0.5)
    assert metrics.match_positions(style, style, style) == (pytest.approx(1.0), pytest.approx(1.0))
    # Means do not matter to the matches; the result is compared around the style image's.
    moved = content + 5.0, style - 3.0, content - 3.0
    assert metrics.match_positions(*moved) == (pytest.approx(0.5), pytest.approx(1.0))


@pytest.mark.parametrize("pairs", [2**23, 60, 1])
def test_matched_positions_against_a_plain_loop_in_bands_of_any_height(pairs, rng, monkeypatch):
    monkeypatch.setattr(metrics, "_MATCHES_AT_ONCE", pairs)
    content, style, result = (rng.normal(size=(1, *size, 6)).astype("f4") for size in ((5, 8), (7, 4), (5, 8)))
    (c, s, r), mean = (f.reshape(-1, 6).astype("f8") for f in (content, style, result)), style.mean((0, 1, 2))
    usage, similarity = np.zeros(28), []
    for here, feature in zip(c - c.mean(0), r - mean, strict=True):
        cosines = [here @ there / np.linalg.norm(here) / np.linalg.norm(there) for there in s - mean]
        weights = scipy.special.softmax(np.array(cosines) / 0.1)
        usage += weights
        chosen = weights @ (s - mean)
        similarity.append(feature @ chosen / np.linalg.norm(feature) / np.linalg.norm(chosen))
    share, semantic = metrics.match_positions(content, style, result, temperature=0.1)
    assert share == pytest.approx(np.minimum(1.0, usage / usage.mean()).mean(), rel=1e-4)
    assert semantic == pytest.approx(np.mean(similarity), abs=1e-5)


def test_features_that_do_not_vary_give_finite_figures():
    even = np.full((1, 3, 4, 5), 0.5, "float32")
    share, semantic = metrics.match_positions(even, even, even)
    assert (share, semantic) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-6))


def test_parts_of_the_style_image_in_their_place_are_told_from_those_in_the_wrong_one(network):
    harvest, night = picture("harvest", 64, 128), picture("starry_night", 64, 128)
    content = np.concatenate([harvest[:, :, :64], night[:, :, :64]], axis=2)
    fields, sky = harvest[:, :, 64:], night[:, :, 64:]
    style, right = np.concatenate([sky, fields], axis=2), np.concatenate([fields, sky], axis=2)
    found, other = (metrics.compare(network, content, style, result) for result in (right, style))
    assert found.semantic > other.semantic + 0.2
    assert found.matched_share == pytest.approx(other.matched_share, rel=1e-5)
    alone = metrics.compare(network, np.concatenate([harvest[:, :, :64]] * 2, axis=2), style, right)
    assert alone.matched_share < 0.9 * found.matched_share


def test_a_painting_beside_itself_is_matched_with_itself(network):
    painting = picture("harvest", 64, 96)
    found = metrics.compare(network, painting, painting, painting)
    assert 0.95 < found.matched_share <= 1.0
    assert 0.95 < found.semantic <= 1.0


def test_a_picture_too_small_is_refused(network, rng):
    with pytest.raises(ValueError, match="the result is 47x12 where the network needs 16"):
        metrics.compare(network, image(rng), image(rng), image(rng, 12, 47))
    assert vgg.VGG(["block1_conv1"], blocks=MINI_BLOCKS).smallest_side == 1


def test_the_command_prints_a_line_a_picture(tmp_path, capsys):
    pair = [str(SAMPLES / "neuschwanstein.jpg"), str(SAMPLES / "starry_night.jpg")]
    paths = [str(images.write(picture(name, 48, 72), tmp_path / f"{name}.png")) for name in ("harvest", "chelsea")]
    assert cli.main(["compare", *pair, *paths]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    lines = [line for line in lines if line.startswith(str(tmp_path))]  # Before the legend.
    assert head.replace(" ", "") == "".join(metrics.Scores._fields).replace("_", "")
    assert [line.split()[0] for line in lines] == paths
    assert cli.main(["compare", *pair, *paths, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["result"] for record in records] == paths
    assert records[0]["gram"] == pytest.approx(float(lines[0].split()[1]), abs=1e-3)
    assert records[0]["semantic"] == pytest.approx(float(lines[0].split()[-1]), abs=1e-3)
    assert cli.main(["compare", *pair, "none.png"]) == 3
    images.write(picture("harvest", 8, 72), tmp_path / "thin.png")
    capsys.readouterr()
    assert cli.main(["compare", *pair, str(tmp_path / "thin.png"), "--json"]) == 3
    assert f"{tmp_path / 'thin.png'}: cannot be measured: the result is 72x8" in capsys.readouterr().err


def test_the_matched_share_of_two_images_is_that_of_compare(network):
    content, style = picture("chelsea", 60, 90), picture("starry_night", 70, 56)
    share = metrics.matched_share(network, content, style)
    assert share == pytest.approx(
        metrics.compare(network, content, picture("starry_night", 90, 72), content).matched_share, abs=0.15
    )
    assert share < metrics.matched_share(network, style, style)
    large = images.resize(content, 600, 900)  # Reduced to 256 pixels.
    assert metrics.matched_share(network, large, style) == pytest.approx(
        metrics.matched_share(network, images.fit(large, 256), style), abs=1e-6
    )
