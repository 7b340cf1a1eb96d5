"""The part of a recipe that defines the loss: layers, statistic, distance and custom terms. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tfstyle.errors import UsageError, unknown_name
from tfstyle.fields import CheckedFields, check_fields, check_number, field, option
from tfstyle.vgg19 import STYLE_LAYERS, layer_names, smallest_side

TERMS = ("content", "style", "neighbor", "total_variation")
"""Names of the built-in loss terms."""

DISTANCES: Mapping[str, str | None] = MappingProxyType(
    {"squared_error": None, "wasserstein": "mean_gram", "wasserstein_newton_schulz": "mean_gram"}
)
"""Names in `losses.DISTANCES`, and the statistic that each needs; None accepts any statistic."""


DIRECTIONS = 4
"""Number of directions of strokes, 180 degrees apart in all, of which each is compared by itself (`directions`)."""

REGION_LAYERS = ("block4_conv1", "block4_conv4", "block5_conv1")
"""Layers whose features `regions.find_regions` groups."""


class LayerWeights(Mapping[str, float]):
    """A hashable mapping of layers to their weights.

    Args:
        layers: layer → weight, at least 0; or layer names, which then share a total weight of 1 equally.
        name: name of the field, for error messages.

    Raises:
        UsageError: if a layer is unknown or named twice, or a weight is not a number of at least 0.
    """

    def __init__(self, layers: Mapping[str, float] | Any, *, name: str = "layers") -> None:
        if isinstance(layers, str) or not hasattr(layers, "__iter__"):
            raise UsageError(f"`{name}` should map layers to weights, or be a list of layers, not {layers!r}.")
        names = [str(layer) for layer in layers]
        for layer in names:
            if layer not in layer_names():
                raise UsageError(unknown_name(f"layer in `{name}`", layer, layer_names()))
        if len(set(names)) < len(names):
            raise UsageError(f"`{name}` names a layer twice; name each once.")
        weights = [layers[layer] if isinstance(layers, Mapping) else 1.0 / len(names) for layer in names]
        self._weights = {
            layer: check_number(f"{name}[{layer!r}]", weight, low=0.0)
            for layer, weight in zip(names, weights, strict=True)
        }

    def __getitem__(self, layer: str) -> float:
        return self._weights[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __hash__(self) -> int:
        return hash(frozenset(self._weights.items()))

    def __repr__(self) -> str:
        return repr(self._weights)


@dataclass(frozen=True, kw_only=True)
class Term:
    """A loss term of your own, a function of the features of some layers.

    Attributes:
        name: its key in `Step.losses`.
        layers: layers whose features it uses.
        weight: factor of the term.
        target: (content, style) → tensors in any structure, computed once per level; both arguments have `image`
            [1, height, width, 3] and `features`, layer → [1, height', width', channels]. Target tensors of rank 4 are
            maps on the grid of one of `layers`.
        sums: (features, target) → tensors in any structure that are sums over positions, so that those of the tiles
            of a large image add up to those of the whole image.
        loss: (sums, target) → scalar.
    """

    name: str
    layers: tuple[str, ...] = field((), choices=layer_names())
    weight: float = field(1.0, low=0.0)
    target: Callable[[Any, Any], Any]
    sums: Callable[[Mapping[str, Any], Any], Any]
    loss: Callable[[Any, Any], Any]

    def __post_init__(self) -> None:
        """Checks every field."""
        check_fields(self)
        if not self.layers:
            raise UsageError(f"the term {self.name!r} has no `layers`; name at least one.")
        if self.name in ("total", *TERMS) or not self.name.isidentifier():
            raise UsageError(f"a term cannot be called {self.name!r}; choose an identifier that no other term has.")
        for name in ("target", "sums", "loss"):
            if not callable(getattr(self, name)):
                raise UsageError(f"`{name}` of the term {self.name!r} should be a function.")


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss of a recipe: what is compared, and how.

    The loss is `content_weight` Σ w · content + `style_weight` Σ w · style + `neighbor_weight` · nearest neighbors +
    `tv_weight` · total variation + Σ w · your own terms, the first two sums over layers. The factors are in
    `TermWeights`.

    Attributes:
        content_layers: layer → w, for the layers whose features should stay close to the content image's.
        style_layers: layer → w, for the layers whose statistic should match the style image's.
        neighbor_layers: layer → w, for the layers whose features at a place should look like those at some place of
            the style image (`neighbors`); w multiplies their products. At least one of block 3 or deeper.
        statistic: what is compared at the style layers: a name in `statistics.STATISTICS`, or a function
            `statistics.SufficientStatistics` → tensor.
        distance: how it is compared: a name in `losses.DISTANCES`, a function (statistic, target statistic) → scalar,
            or a `losses.Distance`.
        reduction: "mean" over entries, or "sum" as in Keras' example (`losses.reduction`).
        total_variation: a name in `total_variation.FORMS`, or a function image → scalar.
        terms: custom loss terms.
        regions: number of regions of which each has a style target of its own (`regions.find_regions`), 2 to 8; "none"
            compares the whole images. "auto" is decided by `api.stylize` for the two images; elsewhere it is "none".
        orientation: direction of the strokes (`directions`): "edges" compares each of four directions of the smoothed
            edges of the content image with the places of the style image where strokes have that direction, an angle of
            0 to 165 degrees all of it with those places; "none" looks at no direction. With another than "none",
            `regions` "auto" is "none".
        drawn_regions: number of regions drawn by hand (`masks`), in place of `regions`; `api.stylize` sets it.
        recurrence: strength of `regions.recurrence`, the weights of the style image's positions; 0 weighs all equally.
    """

    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float] = LayerWeights(STYLE_LAYERS)
    neighbor_layers: Mapping[str, float] = LayerWeights(())
    statistic: str | Callable[..., Any] = field(
        "gram", choices=("gram", "summed_gram", "covariance", "mean_std", "mean_gram")
    )
    distance: str | Callable[..., Any] = field("squared_error", choices=tuple(DISTANCES))
    reduction: str = field("mean", choices=("mean", "sum"))
    total_variation: str | Callable[..., Any] = field(
        "squared", choices=("squared", "absolute", "power", "absolute_sum", "nine_point")
    )
    terms: tuple[Term, ...] = ()
    regions: str | int = option(
        "none",
        "number of regions, such as sky and ground, that take their style from their own part of the painting; auto is "
        "3 where the photograph has no place for much of what the painting shows, otherwise none",
        choices=("none", "auto", *map(str, range(2, 9))),
    )
    orientation: str | int = option(
        "none",
        "direction of the strokes: edges is that of the photograph's edges, a number an angle in degrees, "
        "counter-clockwise from horizontal",
        choices=("none", "edges", *map(str, range(0, 180, 15))),
    )
    drawn_regions: int = field(0, low=0, high=8)
    recurrence: float = option(
        0.0,
        "how much less what the painting shows only once counts than what recurs, 0 to 1",
        low=0.0,
        high=1.0,
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        object.__setattr__(self, "regions", {"1": "none"}.get(str(self.regions), str(self.regions)))
        object.__setattr__(self, "orientation", str(self.orientation))
        check_fields(self)
        if self.orientation != "none" and (self.drawn_regions or self.regions not in ("none", "auto")):
            raise UsageError("`orientation` needs the whole images; leave it or the regions and masks out.")
        for name in ("content_layers", "style_layers", "neighbor_layers"):
            object.__setattr__(self, name, LayerWeights(getattr(self, name), name=name))
        if self.neighbor_layers and smallest_side(self.neighbor_layers) < 4:
            raise UsageError("`neighbor_layers` names no layer of block 3 or deeper; name at least one.")
        needed = DISTANCES[self.distance] if isinstance(self.distance, str) else None
        if needed not in (None, self.statistic):
            message = f"`distance` {self.distance!r} needs the `statistic` {needed!r}, not {self.statistic!r}."
            raise UsageError(message)
        object.__setattr__(self, "terms", tuple(self.terms))
        names = [term.name for term in self.terms if isinstance(term, Term)]
        if len(set(names)) < len(self.terms):
            raise UsageError("`terms` should be a list of recipes.Term, each with a name of its own.")

    def layers(self) -> tuple[str, ...]:
        """Returns all layers whose features the loss uses."""
        own = (layer for term in self.terms for layer in term.layers)
        needed = REGION_LAYERS if self.finds_regions() or self.recurrence else ()
        named = (*self.style_layers, *self.content_layers, *self.neighbor_layers)
        return tuple(dict.fromkeys((*named, *own, *needed)))

    def finds_regions(self) -> bool:
        """Returns whether regions that the images share are found before the run."""
        return self.regions not in ("none", "auto") and not self.drawn_regions

    def weighs_positions(self) -> bool:
        """Returns whether the positions of the style image have weights, in regions or in all."""
        return bool(self.finds_regions() or self.drawn_regions or self.orientation != "none" or self.recurrence)

    @property
    def region_count(self) -> int:
        """The number of parts with a style target of their own, 1 for "none" and for "auto"."""
        if self.orientation == "edges":
            return DIRECTIONS
        if self.drawn_regions:
            return self.drawn_regions
        return int(self.regions) if self.finds_regions() else 1

    def smallest_side(self) -> int:
        """Returns the smallest side in pixels that an image needs to reach the deepest layer."""
        return smallest_side(self.layers())


WEAKEST = 0.4
"""Strength below which the result is mixed with the content image, which it is at strength 0."""

_DECADES, _BEND, _OPACITY = 2.1, 1.2, 1.6
"""Powers of ten by which the factors at `WEAKEST` are less than at strength 1, how much slower they change near 1, and
how much slower the opacity changes near 0. Fitted so that the content error rises evenly
(`scripts/measure_strength.py`); with smaller factors a texture appears in even areas, or does not, by chance."""


MAX_TERM_WEIGHT = 3.4e38
"""Largest weight of a loss term, near the end of float32."""


@dataclass(frozen=True, kw_only=True)
class TermWeights(CheckedFields):
    """Factors of the loss terms; a term whose factor is 0 is left out.

    `strength` multiplies all factors but the content loss's, and the palette's share: the weights of style, neighbors
    and total variation by 10^(−2.1 ((1 − strength) / 0.6)^1.2), down to strength 0.4.
    """

    content_weight: float = option(
        1.0, "weight of the content loss: how closely to follow the photograph", low=0.0, high=MAX_TERM_WEIGHT
    )
    style_weight: float = option(1.0, "weight of the style loss", low=0.0, high=MAX_TERM_WEIGHT)
    neighbor_weight: float = option(
        0.0,
        "weight of the nearest-neighbor loss, in the recipes balanced, draft, best and nnst",
        low=0.0,
        high=MAX_TERM_WEIGHT,
    )
    tv_weight: float = option(
        0.0, "weight of the total variation loss: how smooth the result is", low=0.0, high=MAX_TERM_WEIGHT
    )
    strength: float = option(1.0, "strength of the style: 0 is the photograph, 1 the whole style", low=0.0, high=1.0)

    def keeps_content(self) -> bool:
        """Returns whether a term keeps the result close to the content image."""
        return bool(self.content_weight or self.neighbor_weight)

    def has_style(self) -> bool:
        """Returns whether a term brings the style to the result."""
        return self.strength > 0.0 and bool(self.style_weight or self.neighbor_weight)

    def by_term(self) -> dict[str, float]:
        """Returns the factors that are not 0, by the name of the term."""
        weak = 10.0 ** (-_DECADES * ((1.0 - max(self.strength, WEAKEST)) / (1.0 - WEAKEST)) ** _BEND)
        styled = (weak * weight for weight in (self.style_weight, self.neighbor_weight, self.tv_weight))
        return {name: factor for name, factor in zip(TERMS, (self.content_weight, *styled), strict=True) if factor}

    def opacity(self) -> float:
        """Returns the share of the result in the image; the rest is the content image.

        Without a content loss, the factors decide nothing, and the images are mixed at any strength.
        """
        return min(1.0, self.strength / WEAKEST) ** _OPACITY if self.content_weight else self.strength
