"""VGG-19: its layers, their filters and the usual style layers. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable

VGG19_BLOCKS = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
"""Filters of VGG-19's sixteen convolutions, block by block (Simonyan & Zisserman 2015, table 1, column E)."""


def layer_names(blocks: tuple[tuple[int, ...], ...] = VGG19_BLOCKS) -> tuple[str, ...]:
    """Returns Keras' names of the convolutions, in order: block1_conv1, block1_conv2, block2_conv1, and so on."""
    return tuple(f"block{b}_conv{c}" for b, block in enumerate(blocks, 1) for c, _ in enumerate(block, 1))


def block_of(layer: str) -> int:
    """Returns the number of a layer's block, from 1."""
    return int(layer[len("block") : layer.index("_")])


def smallest_side(layers: Iterable[str]) -> int:
    """Returns the smallest side in pixels that reaches the deepest of some layers; each block halves an image."""
    return 1 << (max(map(block_of, layers)) - 1)


def stride(layer: str) -> int:
    """Returns the pixels between positions of a layer: 1 in block 1, 2 in block 2, 4 in block 3, and so on."""
    return smallest_side((layer,))


def reach(layer: str) -> int:
    """Returns how many pixels around a position of a layer its convolutions see."""
    names = layer_names()
    return sum(map(stride, names[: names.index(layer) + 1]))


def filters(layer: str) -> int:
    """Returns the number of VGG-19's filters at a layer."""
    return dict(zip(layer_names(), (count for block in VGG19_BLOCKS for count in block), strict=True))[layer]


STYLE_LAYERS = tuple(f"block{block}_conv1" for block in range(1, 6))
"""The five style layers of Gatys, Ecker & Bethge (2016), section 2.2."""
