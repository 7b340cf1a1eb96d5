"""Quality metrics against their definitions, SciPy, NumPy, numbers worked by hand, and bounds."""

import json

import numpy as np
import pytest
import scipy.stats
from conftest import MINI_BLOCKS, SAMPLES, image

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
    assert head.split() == ["gram", "moments", "sliced", "wasserstein", "colors", "content", "ssim"]
    assert [line.split()[0] for line in lines] == paths
    assert cli.main(["compare", *pair, *paths, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["result"] for record in records] == paths
    assert records[0]["gram"] == pytest.approx(float(lines[0].split()[1]), abs=1e-3)
    assert cli.main(["compare", *pair, "none.png"]) == 3
    images.write(picture("harvest", 8, 72), tmp_path / "thin.png")
    capsys.readouterr()
    assert cli.main(["compare", *pair, str(tmp_path / "thin.png"), "--json"]) == 3
    assert f"{tmp_path / 'thin.png'}: cannot be measured: the result is 72x8" in capsys.readouterr().err
