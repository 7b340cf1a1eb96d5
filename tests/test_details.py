"""Detail for an enlarged image, from similar places of a painting."""

import numpy as np
import pytest
from conftest import SAMPLES

from tfstyle import details, images
from tfstyle.details import find_detail


@pytest.fixture(scope="module")
def scan():
    """A part of a painting, 120x180 pixels."""
    return images.read(SAMPLES / "starry_night.jpg").image[:, 200:320, 100:280]


def error(a, b):
    return float(np.sqrt(np.mean(np.square(np.asarray(a) - np.asarray(b)))))


def test_a_reduced_painting_gets_its_own_detail_back(scan):
    reduced = images.resize(scan, 60, 90)
    interpolated = images.resize(reduced, 120, 180)
    assert error(interpolated + find_detail(reduced, scan, size=(120, 180), used=90), scan) < 0.15 * error(
        interpolated, scan
    )
    assert error(interpolated, scan) > 0.03


def test_a_painting_without_detail_gives_none(scan):
    reduced, smooth = images.resize(scan, 60, 90), images.resize(images.resize(scan, 30, 45), 120, 180)
    assert np.abs(find_detail(reduced, smooth, size=(120, 180), used=90)).mean() < 5e-3


def test_shapes_and_colors_are_those_of_the_picture(scan):
    other = images.resize(images.read(SAMPLES / "chelsea.jpg").image, 61, 90)
    found = find_detail(other, scan, size=(122, 180), used=90)
    assert found.shape == (1, 122, 180, 3)
    assert error(found, 0.0) > 0.01
    assert error(images.resize(found, 61, 90), 0.0) < 0.02


@pytest.mark.parametrize("size", [(65, 97), (86, 130), (116, 176)])
def test_bands_have_no_borders(size, scan, monkeypatch):
    reduced = images.resize(scan, 43, 65)
    whole = find_detail(reduced, scan, size=size, used=65)
    monkeypatch.setattr(details, "_BAND", 1000)
    np.testing.assert_array_equal(find_detail(reduced, scan, size=size, used=65), whole)
    assert whole.shape == (1, *size, 3)


def test_half_of_a_ramp_gives_detail(scan):
    reduced = images.resize(scan, 60, 90)
    ramp = np.broadcast_to(np.linspace(1.0, 0.0, 180, dtype=np.float32)[None, None, :, None], (1, 120, 180, 1))
    found = find_detail(reduced, scan, size=(120, 180), used=90, mask=ramp)
    left = images.resize(reduced, 120, 180)[:, :, :80]
    assert error(left + found[:, :, :80], scan[:, :, :80]) < 0.3 * error(left, scan[:, :, :80])


def test_a_painting_one_pixel_longer_is_not_resampled(scan, monkeypatch):
    asked = []
    fit = images.fit
    monkeypatch.setattr(details.images, "fit", lambda image, side: asked.append(side) or fit(image, side))
    find_detail(images.resize(scan, 60, 91), scan, size=(120, 182), used=90)
    assert asked == [90]


def test_what_is_masked_out_gives_no_detail(scan, rng):
    """The detail of the masked half, noise, is nowhere in that of the other one, which is even."""
    halves = np.array(scan)
    halves[:, :, 90:] = images.resize(images.resize(halves[:, :, 90:], 12, 9), 120, 90)
    halves[:, :, :90] = rng.uniform(size=(1, 120, 90, 3))
    mask = np.zeros((1, 120, 180, 1), np.float32)
    mask[:, :, 100:] = 1.0
    reduced = images.resize(halves, 60, 90)
    noisy = find_detail(reduced, halves, size=(120, 180), used=90)
    even = find_detail(reduced, halves, size=(120, 180), used=90, mask=mask)
    assert error(noisy[:, :, :80], 0.0) > 0.1
    assert error(even, 0.0) < 0.02
