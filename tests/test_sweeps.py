"""Sweeps on the miniature: which runs, in which order, on how many graphs."""

import numpy as np
import pytest
from conftest import image, mini_recipe, miniature

from tfstyle import api, sweeps, train_step
from tfstyle.callbacks import History
from tfstyle.errors import OutputError, UsageError
from tfstyle.styles import Style


@pytest.fixture
def built(monkeypatch):
    """The list of recipes a network was built for."""
    networks = []

    def build_model(network, loss):
        networks.append(network)
        return miniature(pooling=network.pooling)

    monkeypatch.setattr(train_step, "build_model", build_model)
    api._cached_transfer.cache_clear()
    yield networks
    api._cached_transfer.cache_clear()


RECIPE = mini_recipe(scale_steps=(3,), size=48)


def run(rng, vary):
    return list(sweeps.sweep(image(rng, 40, 60)[0], image(rng)[0], vary=vary, recipe=RECIPE))


def test_every_combination_is_run_on_one_graph(built, rng):
    outcomes = run(rng, {"style_weight": [1.0, 10.0], "init": ["content", "noise"]})
    assert [outcome.label for outcome in outcomes] == [
        "style_weight=1 init=content",
        "style_weight=1 init=noise",
        "style_weight=10 init=content",
        "style_weight=10 init=noise",
    ]
    assert len(built) == 1
    for outcome in outcomes:
        assert outcome.image.shape == (1, 32, 48, 3)
        assert len(outcome.rows) == 3
    ratio = outcomes[2].rows[0]["style"] / outcomes[0].rows[0]["style"]
    assert ratio == pytest.approx(10.0, rel=1e-4)


def test_a_run_of_a_sweep_is_the_run_alone(built, rng):
    content, style = image(rng, 40, 60)[0], image(rng)[0]
    (_, outcome) = sweeps.sweep(content, style, vary={"style_weight": [1.0, 5.0]}, recipe=RECIPE)
    np.testing.assert_allclose(
        outcome.image, api.stylize(content, style, recipe=RECIPE, style_weight=5.0), rtol=1e-5, atol=1e-5
    )


def test_runs_that_share_a_graph_follow_one_another(built, rng):
    outcomes = run(rng, {"seed": [1, 2], "pooling": ["max", "average"]})
    assert [outcome.values["pooling"] for outcome in outcomes] == ["max", "max", "average", "average"]
    assert len(built) == 2


def test_a_wrong_value_is_found_before_the_first_run(built, rng):
    for vary, message in (
        ({"stile_weight": [1.0]}, "did you mean"),
        ({"pooling": ["max", "avg"]}, "unknown pooling"),
        ({"seed": [3, 4, 3]}, "to the same value twice: 3, 4, 3"),
    ):
        with pytest.raises(ValueError, match=message):
            next(sweeps.sweep(None, None, vary=vary, recipe=RECIPE))
    assert not built


def test_a_value_that_masks_exclude_is_found_before_the_first_run(built, rng):
    styles = [Style(image(rng)[0], mask="left")]
    with pytest.raises(UsageError, match="`orientation` needs the whole images"):
        next(sweeps.sweep(image(rng)[0], styles, vary={"orientation": ["none", "edges"]}, recipe=RECIPE))
    assert not built


def test_a_wrong_keyword_is_found_before_the_first_run(built, rng):
    content, style = image(rng)[0], image(rng)[0]
    for name in ("stile_weight", "output", "callbacks"):
        with pytest.raises(ValueError, match=f"unknown recipe field '{name}'"):
            next(sweeps.sweep(content, style, vary={"seed": [1]}, recipe=RECIPE, **{name: 1.0}))
    assert not built


def test_labels_tell_values_apart():
    assert sweeps.format_label({"style_weight": 1e6, "init": "noise"}) == "style_weight=1e+06 init=noise"
    assert sweeps.format_label({"style_weight": 100000.1}) == "style_weight=100000.1"


def test_the_overview_has_a_cell_for_each_run(built, rng):
    outcomes = run(rng, {"style_weight": [1.0, 10.0], "seed": [1, 2, 3]})
    sheet = sweeps.draw_grid(outcomes, columns=3)
    assert sheet.shape[2] == 3
    assert 1.5 < sheet.shape[1] / sheet.shape[0] < 3


def test_each_run_has_callbacks_of_its_own(built, rng, tmp_path):
    def make_callbacks(label):
        return [History(tmp_path / f"{label}.csv")]

    content, style = image(rng, 40, 60)[0], image(rng)[0]
    list(sweeps.sweep(content, style, vary={"seed": [1, 2]}, recipe=RECIPE, make_callbacks=make_callbacks))
    assert [len((tmp_path / f"seed={seed}.csv").read_text().splitlines()) for seed in (1, 2)] == [4, 4]


def test_a_varied_value_replaces_an_option_of_the_same_name(built, rng):
    content, style = image(rng, 40, 60)[0], image(rng)[0]
    outcomes = sweeps.sweep(content, style, vary={"size": [24, 48]}, recipe=RECIPE, size=32)
    assert [max(outcome.image.shape) for outcome in outcomes] == [24, 48]


def test_layers_can_be_varied(built, rng):
    vary = {"style_layers": [["block1_conv1", "block2_conv1"], ["block2_conv1", "block1_conv1"]]}
    assert len(sweeps.expand_grid(RECIPE, vary)) == 2


def test_callbacks_that_are_a_list_are_refused(built, rng):
    with pytest.raises(ValueError, match="`make_callbacks` should be a function from a run's label"):
        next(sweeps.sweep(image(rng)[0], image(rng)[0], vary={"seed": [1]}, recipe=RECIPE, make_callbacks=[print]))


def test_a_sweep_goes_on_where_it_stopped(built, rng, tmp_path):
    pictures, vary = (image(rng, 40, 60)[0], image(rng)[0]), {"style_weight": [1.0, 5.0, 9.0]}
    whole, computed = list(sweeps.sweep(*pictures, vary=vary, recipe=RECIPE)), []

    def stop_in_the_second(label):
        return [lambda step: 1 / 0 if label == "style_weight=5" and step.index == 2 else None]

    def count(label):
        return [lambda step: computed.append((label, step.index))]

    kept = {"vary": vary, "recipe": RECIPE, "checkpoint": tmp_path / "c"}
    with pytest.raises(ZeroDivisionError):
        list(sweeps.sweep(*pictures, make_callbacks=stop_in_the_second, **kept))
    with pytest.raises(OutputError, match="holds the checkpoints of another sweep; resume it"):
        list(sweeps.sweep(*pictures, **kept))
    resumed = list(sweeps.sweep(*pictures, make_callbacks=count, resume=True, **kept))
    labels = [outcome.label for outcome in whole]
    assert computed == [(labels[0], 3), *((labels[1], step) for step in (2, 3)), *((labels[2], s) for s in (1, 2, 3))]
    for again, once in zip(resumed, whole, strict=True):
        np.testing.assert_array_equal(again.image, once.image)
        assert [row["total"] for row in again.rows] == [row["total"] for row in once.rows]
    with pytest.raises(UsageError, match=r"was made with style_weight 1.0, not 2.0"):
        list(sweeps.sweep(*pictures, resume=True, **kept | {"vary": {"style_weight": [2.0]}}))


def test_a_sweep_without_checkpoints_cannot_be_resumed(built, rng, tmp_path):
    with pytest.raises(OutputError, match="holds no checkpoint to resume"):
        list(sweeps.sweep(image(rng)[0], image(rng)[0], vary={}, recipe=RECIPE, checkpoint=tmp_path, resume=True))
    with pytest.raises(UsageError, match="`resume` needs the folder"):
        list(sweeps.sweep(image(rng)[0], image(rng)[0], vary={}, recipe=RECIPE, resume=True))
