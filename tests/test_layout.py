"""The division of a large image into tiles."""

import numpy as np
import pytest
from conftest import mini_recipe, miniature

from tfstyle import layout
from tfstyle.recipes import Term
from tfstyle.recipes.loss import Loss
from tfstyle.vgg import VGG

FIVE = tuple(f"block{block}_conv1" for block in range(1, 6))


@pytest.mark.parametrize("length", [16, 33, 47, 48, 65, 200, 1000])
@pytest.mark.parametrize("tile", [32, 48, 512])
def test_spans_cover_a_length_once_at_multiples_of_16(length, tile):
    spans = layout.make_spans(length, tile, 16)
    assert [span.core[0] for span in spans[1:]] == [span.core[1] for span in spans[:-1]]
    assert (spans[0].core[0], spans[-1].core[1]) == (0, length)
    assert all(span.core[0] % 16 == 0 for span in spans)
    lengths = np.diff([span.core for span in spans])
    assert lengths.min() >= min(16, length)
    assert lengths.max() <= tile + 8
    assert all(span.outer == (max(0, span.core[0] - 16), min(length, span.core[1] + 16)) for span in spans)


def test_the_context_of_vgg_19_worked_by_hand():
    loss = Loss(content_layers={"block4_conv2": 1.0}, style_layers=FIVE)
    groups = layout.make_groups(VGG(loss.layers()), loss)
    assert [(group.blocks[0], len(group.blocks)) for group in groups] == [(block, 1) for block in range(1, 6)]
    # Two, two, four and four convolutions before the next block and one of block 5, as even numbers.
    assert [group.context for group in groups] == [2, 2, 4, 4, 2]
    assert [group.goes_on for group in groups] == [True] * 4 + [False]
    assert [round(group.scale**2, 4) for group in groups] == [1.0, 0.5, 0.125, 0.0625, 0.0625]


def test_blocks_of_one_term_are_computed_together():
    term = Term(
        name="own",
        layers=("block2_conv1", "block4_conv1"),
        target=lambda c, s: 0,
        sums=lambda f, t: 0,
        loss=lambda s, t: 0,
    )
    loss = mini_recipe(terms=(term,)).loss
    groups = layout.make_groups(miniature(FIVE, other_layers=loss.layers()).vgg, loss)
    assert [list(group.blocks) for group in groups] == [[1], [2, 3, 4]]
    # Of the miniature's block 2 two convolutions, of block 3 one and of block 4 one: 2 + 2 + 4, as a multiple of 8.
    assert groups[1].context == 8


@pytest.mark.parametrize(("ceil_mode", "expected"), [(False, (10, 3)), (True, (11, 4))])
def test_sizes_of_grids_worked_by_hand(ceil_mode, expected):
    sizes = layout.grid_sizes(miniature(FIVE, ceil_mode=ceil_mode).vgg, 85, 30)
    assert sizes[1] == (85, 30)
    assert sizes[4] == expected


def test_rows_on_the_grid_of_hypercolumns_worked_by_hand():
    layers = ("block3_conv1", "block4_conv1")
    loss = mini_recipe(neighbor_layers=layers).loss
    vgg = miniature(FIVE, other_layers=layers).vgg
    fourth = layout.make_groups(vgg, loss)[3]
    sides = layout.make_sides(fourth, {1: 400, 2: 200, 3: 100, 4: 50}, tile=32, neighbor_layers=layers)
    assert fourth.context == 2  # One convolution and one position of interpolation.
    first, second = sides  # Of 32 and 18 positions.
    assert (first.outer, second.outer) == ((0, 34), (30, 20))
    assert second.cores["block4_conv1"] == (32, 18)
    assert second.own["block4_conv1"] == (2, 18)
    assert second.wide["block4_conv1"] == (1, 19)
    assert second.skip["block4_conv1"] == 2  # One position of block 4 is two of block 3.
    assert second.grid == (64, 36)
    assert first.skip["block4_conv1"] == 0
