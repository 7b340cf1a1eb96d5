"""Grids, animations, loss curves and feature maps, checked by reading their pixels back."""

import io

import numpy as np
import pytest
from conftest import image
from PIL import Image

from tfstyle import plots
from tfstyle.regions import Regions

ROWS = [
    {"step": k, "level": 1 + k // 4, "style": 100.0 / k, "content": 0.0 if k == 1 else 0.1 * k} for k in range(1, 8)
]


def test_a_grid_shows_every_picture_under_its_label(rng):
    pictures = [np.full((1, 30, 50, 3), value, "float32") for value in (0.0, 0.25, 0.5, 0.75)]
    pictures[3] = np.full((1, 60, 100, 3), 0.75, "float32")
    sheet = plots.draw_grid(pictures, ["a", "b", "c", "a rather long label"], columns=3)
    assert sheet.dtype == np.uint8
    cell = (sheet.shape[1] + 4) // 3 - 4
    assert cell >= 100
    height = plots.LABEL_HEIGHT + round(0.6 * cell)
    assert sheet.shape[0] == 2 * height + 4
    for index, value in enumerate((0, 64, 128, 191)):
        row, column = divmod(index, 3)
        top, left = row * (height + 4), column * (cell + 4)
        assert np.abs(sheet[top + plots.LABEL_HEIGHT + 5, left + cell // 2].astype(int) - value).max() <= 1
        assert sheet[top : top + plots.LABEL_HEIGHT, left : left + cell].min() < 128  # The label.
    assert (sheet[height + 4 :, cell + 4 :] == 255).all()


def test_an_animation_has_every_picture_at_the_last_ones_size(rng):
    data = plots.draw_animation([image(rng, 10, 15), image(rng, 20, 30), image(rng, 20, 30)])
    with Image.open(io.BytesIO(data)) as file:
        assert (file.format, file.size, file.n_frames, file.info["loop"]) == ("GIF", (30, 20), 3, 0)
        file.seek(2)
        assert file.info["duration"] == 2000


@pytest.mark.parametrize(("format", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_curves_are_drawn_in_any_format_without_a_display(format, start, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    data = plots.draw_loss_curves({"one": ROWS, "two": ROWS[:3]}, format=format)
    assert data.startswith(start)
    if format == "svg":
        for word in (b"style", b"content", b"one", b"two"):
            assert b"<!-- " + word in data


def test_every_term_has_a_curve_and_what_is_negative_is_not_logarithmic():
    rows = [
        {"step": float(step), "level": 0.0, "fake": 3.0 - 4 * step, "real": 0.0, "a": 10.0**step} for step in range(4)
    ]
    svg = plots.draw_loss_curves({"": rows}, terms=("fake", "real", "a", "missing"), format="svg")
    for word in (b"fake", b"real", b"missing"):
        assert b"<!-- " + word in svg


def test_curves_of_a_run_without_content_are_drawn():
    assert plots.draw_loss_curves({"": [row | {"content": 0.0} for row in ROWS]}).startswith(b"\x89PNG")


def test_curves_do_not_load_matplotlibs_window_system():
    import subprocess
    import sys

    code = (
        "import sys; from tfstyle import plots; "
        "plots.draw_loss_curves({'': [{'step': 1, 'level': 1, 'style': 1.0, 'content': 1.0}]}); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_images_and_maps_are_shown_in_rows_below_their_titles(rng, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.gcf()))
    pictures = [image(rng, 30, 50), rng.uniform(size=(20, 40)), 2.0 * image(rng, 10, 30)]
    plots.show(iter(pictures), ["a", "b"], columns=2)
    axes = shown[0].axes
    assert [axis.get_title() for axis in axes] == ["a", "b", "", ""]
    assert [len(axis.images) for axis in axes] == [1, 1, 1, 0]
    np.testing.assert_allclose(axes[0].images[0].get_array(), pictures[0][0])
    np.testing.assert_allclose(axes[2].images[0].get_array(), np.minimum(pictures[2][0], 1.0))
    assert not pyplot.get_fignums()


def test_a_feature_map_is_the_mean_between_its_extremes(rng):
    features = rng.uniform(size=(1, 5, 8, 3)).astype("float32")
    found = plots.draw_feature_map(features)
    mean = features.mean(-1)
    np.testing.assert_allclose(found[..., 1], (mean - mean.min()) / (mean.max() - mean.min()), rtol=1e-5, atol=1e-6)
    assert (found.min(), found.max()) == (0.0, 1.0)


def test_a_constant_feature_map_is_black():
    np.testing.assert_array_equal(plots.draw_feature_map(np.full((1, 3, 5, 2), 7.0)), np.zeros((1, 3, 5, 3)))


def test_the_strongest_channels_come_first(rng):
    features = np.zeros((1, 60, 100, 6), "float32")
    features[0, :, 50:, 4], features[0, :30, :, 1] = 9.0, 4.0
    sheet = plots.draw_strongest_channels(features, count=2)
    cell = (sheet.shape[1] + 4) // 2 - 4
    middle = plots.LABEL_HEIGHT + cell * 6 // 20
    assert sheet[middle, cell - 5, 0] == 255 > sheet[middle, 5, 0] == 0  # Channel 4: the right half.
    assert sheet[plots.LABEL_HEIGHT + 5, cell + 4 + 9, 0] == 255 > sheet[-5, cell + 4 + 9, 0] == 0  # Channel 1.


def test_regions_have_one_color_in_both_images():
    content, style = np.full((1, 60, 90, 3), 0.5, "float32"), np.full((1, 40, 60, 3), 0.5, "float32")
    left, right = np.zeros((1, 4, 6, 2), "float32"), np.zeros((1, 2, 2, 2), "float32")
    left[:, :, :3, 0], left[:, :, 3:, 1] = 1.0, 1.0
    right[:, :, :1, 1], right[:, :, 1:, 0] = 1.0, 1.0  # The other way round.
    recurring = np.array([0.0, 1.0], "float32").reshape(1, 1, 2, 1)
    sheet = plots.draw_regions(content, style, Regions(left, right, recurring))
    width, label = (sheet.shape[1] - 4) // 2, plots.LABEL_HEIGHT
    first, second, third = (label + 20 + row * (width * 2 // 3 + label + 4) for row in range(3))
    near, far = width // 4, width - width // 4
    one, two = (255 * (0.35 * 0.5 + 0.65 * color) for color in plots.REGION_COLORS[:2])
    for row, column, color in ((first, near, one), (first, far, two), (second, near, two), (second, far, one)):
        np.testing.assert_allclose(sheet[row, width + 4 + column], color, atol=1.0)
    assert (sheet[third, near].max(), sheet[third, far].min()) == (0, 255)
