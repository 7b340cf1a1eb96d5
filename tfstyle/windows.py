"""Windows: the part of a tile's features that counts, where the tile is larger for the sake of context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tfstyle import neighbors
from tfstyle.boxes import cut
from tfstyle.environment import tf
from tfstyle.recipes.loss import Loss


class Window(NamedTuple):
    """The part of a tile's features that belongs to the tile; boxes are int32 [4]: top, left, height and width.

    Attributes:
        core: layer → the positions that belong to the tile.
        wide: layer of the hypercolumns → the positions from which those on their grid are computed.
        skip: layer of the hypercolumns → [2], as for `neighbors.to_grid`.
        size: [2], height and width of the tile on the grid of the hypercolumns.
    """

    core: Mapping[str, tf.Tensor]
    wide: Mapping[str, tf.Tensor]
    skip: Mapping[str, tf.Tensor]
    size: tf.Tensor


def whole(features: Mapping[str, tf.Tensor], loss: Loss) -> Window:
    """Returns the window of a whole image, whose boxes are empty: nothing is cut."""
    grid = neighbors.reference_layer(loss.neighbor_layers) if loss.neighbor_layers else next(iter(features))
    return Window({}, {}, {}, tf.shape(features[grid])[1:3])


def core(found: tf.Tensor, layer: str, window: Window) -> tf.Tensor:
    """Returns the features of a layer at the positions that belong to the tile.

    Args:
        found: [batch, height, width, channels], of the tile.
        layer: their layer.
        window: that of the tile.
    """
    return cut(found, window.core[layer]) if layer in window.core else found


def place(found: tf.Tensor, layer: str, window: Window, *, weights: Mapping[str, float]) -> tf.Tensor:
    """Brings the features of a layer to the grid of the hypercolumns, like `neighbors.to_grid`.

    Args:
        found: float32 [1, height, width, channels], of the tile.
        layer: their layer.
        window: that of the tile.
        weights: as for `neighbors.to_grid`.
    """
    seen = cut(found, window.wide[layer]) if layer in window.wide else found
    return neighbors.to_grid(seen, layer, weights=weights, size=window.size, skip=window.skip.get(layer, (0, 0)))
