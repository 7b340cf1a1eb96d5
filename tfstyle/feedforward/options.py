"""Options of the networks that stylize in one pass. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfstyle.fields import CheckedFields, option

TRANSFORMS = ("adain", "monge", "attention", "decorate")
"""Names of the functions in `feedforward.transforms`."""


@dataclass(frozen=True, kw_only=True)
class Options(CheckedFields):
    """The options of `inference.OnePassNetwork.stylize`, described there."""

    blend: Sequence[float] | None = None
    seed: int | None = None
    strength: float = option(1.0, "strength of the style: 0 is the photograph, 1 the whole style", low=0.0, high=1.0)
    transform: str = option("adain", "how AdaIN's network brings in the style", choices=TRANSFORMS)
    precision: str = option(
        "auto",
        "precision of the convolutions; auto is bfloat16 where that is faster",
        choices=("auto", "float32", "bfloat16"),
    )
    tile: int = option(1024, "side of a tile in pixels")
