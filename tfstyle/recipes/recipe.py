"""The `Recipe`, a frozen value made of parts, and the replacement of fields by name. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict

from tfstyle.errors import UsageError, unknown_name
from tfstyle.fields import check_fields, option_fields
from tfstyle.recipes.loss import Loss, Term, TermWeights
from tfstyle.recipes.parts import LBFGS, SGD, Adam, ColorTransfer, Decay, Network, Parametrization, Start, StyleSize
from tfstyle.recipes.pyramid import Pyramid


class GraphKey(NamedTuple):
    """Everything that a compiled train step depends on; runs with equal keys share the step."""

    network: Network
    loss: Loss
    terms: frozenset[str]
    optimizer: Hashable
    parametrization: Parametrization


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines a result, apart from the content image and the style image.

    Attributes:
        name: its name for `--recipe`.
        summary: one line that helps to choose a recipe.
        source: where its values were published.
        departures: its differences from the source, one sentence each; `Network.difference` describes the network's.
        loss: what is compared, and how.
        term_weights: factors of the loss terms.
        network: the network whose features are compared.
        optimizer: `Adam`, `SGD`, `LBFGS`, or an `optimizers.Optimizer` of your own.
        parametrization: how the image is represented while it is optimized.
        pyramid: levels, coarse to fine, and the number of steps at each.
        start: the image a run starts from.
        style_size: the size of the style image.
        color_transfer: how far colors are moved to the style image's.

    Raises:
        UsageError: if a value is not valid, or two parts are incompatible.
    """

    name: str = "custom"
    summary: str = ""
    source: str = ""
    departures: tuple[str, ...] = ()
    loss: Loss
    term_weights: TermWeights = field(default_factory=TermWeights)
    network: Network = field(default_factory=Network)
    optimizer: Any = field(default_factory=Adam)
    parametrization: Parametrization = field(default_factory=Parametrization)
    pyramid: Pyramid = field(default_factory=Pyramid)
    start: Start = field(default_factory=Start)
    style_size: StyleSize = field(default_factory=StyleSize)
    color_transfer: ColorTransfer = field(default_factory=ColorTransfer)

    def __post_init__(self) -> None:
        """Checks that each part has the right type, and that the parts are compatible."""
        check_fields(self)
        for name, part in PARTS.items():
            if not isinstance(getattr(self, name), part):
                raise UsageError(f"`{name}` should be a recipes.{part.__name__}, not {getattr(self, name)!r}.")
        methods = (getattr(self.optimizer, name, None) for name in ("init", "update", "resize"))
        if not isinstance(self.optimizer, OPTIMIZERS) and not all(map(callable, methods)):
            raise UsageError(
                f"`optimizer` should be recipes.Adam, SGD or LBFGS, or have the methods init, update and resize of an "
                f"optimizers.Optimizer; received {self.optimizer!r}."
            )
        factors = self.term_weights.by_term()
        for kind in ("content", "style"):
            if kind in factors and not getattr(self.loss, f"{kind}_layers"):
                raise UsageError(f"`{kind}_layers` is empty; name at least one layer.")
        if "neighbor" in factors and not self.loss.neighbor_layers:
            raise UsageError(
                f"`neighbor_weight` is {factors['neighbor']:g}, but the recipe {self.name!r} has no `neighbor_layers`; "
                "use balanced or nnst, or name layers."
            )
        if not factors.keys() - {"total_variation"} and not any(term.weight for term in self.loss.terms):
            raise UsageError(
                "`content_weight`, `style_weight` and `neighbor_weight` are all 0; give one a positive weight."
            )
        try:
            hash(self.graph_key)
        except TypeError as error:
            raise UsageError(
                f"an object of your own in a recipe has to be hashable; freeze its class ({error})."
            ) from None

    @property
    def graph_key(self) -> GraphKey:
        """The values that the compiled train step depends on."""
        terms = frozenset(self.term_weights.by_term())
        return GraphKey(self.network, self.loss, terms, self.optimizer, self.parametrization)

    def record(self) -> dict[str, Any]:
        """Returns the recipe as JSON values, with functions and custom objects as their qualified names."""
        record: dict[str, Any] = plain(self)
        return record


PARTS: Mapping[str, type] = MappingProxyType(
    {
        "loss": Loss,
        "term_weights": TermWeights,
        "network": Network,
        "parametrization": Parametrization,
        "pyramid": Pyramid,
        "start": Start,
        "style_size": StyleSize,
        "color_transfer": ColorTransfer,
    }
)
"""Field of `Recipe` → type of the part; without `optimizer`, which may also be a custom object."""

OPTIMIZERS = (LBFGS, Adam, SGD)
"""The types that hold the hyperparameters of the built-in optimizers."""

OPTIONS: Mapping[str, dataclasses.Field] = MappingProxyType(
    {
        item.name: item
        for part in (Pyramid, TermWeights, Loss, StyleSize, ColorTransfer, Start, Network)
        for item in option_fields(part)
    }
)
"""Name → field, for the fields that are command-line options, in the order of the command line."""


class Overrides(TypedDict, total=False):
    """Fields of a recipe and of its parts that `replace` accepts by name; the classes of the parts describe them."""

    name: str
    summary: str
    source: str
    departures: tuple[str, ...]
    loss: Loss
    term_weights: TermWeights
    network: Network
    optimizer: Any
    parametrization: Parametrization
    pyramid: Pyramid
    start: Start
    style_size: StyleSize
    color_transfer: ColorTransfer

    content_layers: Mapping[str, float] | tuple[str, ...] | list[str]
    style_layers: Mapping[str, float] | tuple[str, ...] | list[str]
    neighbor_layers: Mapping[str, float] | tuple[str, ...] | list[str]
    statistic: str | Callable[..., Any]
    distance: str | Callable[..., Any]
    reduction: str
    total_variation: str | Callable[..., Any]
    terms: tuple[Term, ...] | list[Term]
    regions: str | int
    orientation: str | int
    drawn_regions: int
    recurrence: float

    content_weight: float
    style_weight: float
    neighbor_weight: float
    tv_weight: float
    strength: float

    weights: Any
    pooling: str
    precision: str
    flip_kernels: str
    input_scale: str
    activation: str
    padding_mode: str
    ceil_mode: bool
    trained_on: str
    published_scale: str

    learning_rate: float
    decay: Decay | None
    beta_1: float
    beta_2: float
    epsilon: float
    history: int
    history_precision: str
    store_projected_step: bool
    max_step_rms: float
    first_step_rms: float
    max_step_peak: float

    space: str
    clip: bool
    ema_decay: float

    size: int
    steps: int
    scale_start: int
    scale_factor: float
    scale_steps: tuple[int, ...] | list[int]
    first_steps: int
    add_detail: bool
    add_style_detail: bool
    warm_start: bool

    init: Any
    noise: float
    seed: int

    style_scale: float
    style_resize: str
    style_crop: float
    style_enlarge: bool

    color: str
    color_strength: float
    palette: float


def replace(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """Returns the recipe with some of its fields, or fields of its parts, replaced.

    Args:
        recipe: the recipe to change.
        overrides: field → new value, with the names of `Overrides`.

    Raises:
        UsageError: if a name is unknown, or a value is not valid.
    """
    whole: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in overrides.items():
        if name in _OWN:
            whole[name] = value
        else:
            parts.setdefault(_part_with(name, recipe, overrides), {})[name] = value
    for part, changes in parts.items():
        whole[part] = dataclasses.replace(whole.get(part, getattr(recipe, part)), **changes)
    return dataclasses.replace(recipe, **whole)


_OWN = tuple(item.name for item in dataclasses.fields(Recipe))

_HOMES: Mapping[str, str] = MappingProxyType(
    {item.name: part for part, kind in PARTS.items() for item in dataclasses.fields(kind)}
)


def _part_with(name: str, recipe: Recipe, overrides: Mapping[str, Any]) -> str:
    """Returns the name of the part that has a field of that name."""
    optimizer = overrides.get("optimizer", recipe.optimizer)
    own = tuple(item.name for item in dataclasses.fields(optimizer)) if dataclasses.is_dataclass(optimizer) else ()
    if name in own:
        return "optimizer"
    if name in _HOMES:
        return _HOMES[name]
    if name in Overrides.__annotations__:
        raise UsageError(
            f"`{name}` is not an option of {type(optimizer).__name__}, the optimizer of {recipe.name!r}, which has "
            f"{', '.join(own) or 'none'}; give a whole `optimizer` to change it."
        )
    raise UsageError(unknown_name("recipe field", name, Overrides.__annotations__))


def plain(value: Any) -> Any:
    """Converts a value to JSON values: parts to dictionaries, functions and other objects to their qualified names."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(entry) for entry in value]
    named = value if hasattr(value, "__qualname__") else type(value)
    name = f"{named.__module__}.{named.__qualname__}"
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return name
    fields = {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return fields if type(value) in (Recipe, *PARTS.values()) else {"class": name} | fields


def recipe_from_record(record: Mapping[str, Any]) -> Recipe:
    """Returns the recipe that `Recipe.record` described.

    Raises:
        UsageError: if it is no such description, or had functions or objects of your own.
    """
    try:
        values: dict[str, Any] = {name: value for name, value in record.items() if name not in PARTS}
        optimizers = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in OPTIMIZERS}
        options = dict(values["optimizer"])
        kind = optimizers.get(options.pop("class"))
        if kind is None or record["loss"]["terms"]:
            raise UsageError("the recipe had an optimizer or terms of your own, which a record cannot hold.")
        if options.get("decay"):
            options["decay"] = Decay(**{name: value for name, value in options["decay"].items() if name != "class"})
        parts = {name: part(**record[name]) for name, part in PARTS.items()}
        return Recipe(**values | parts | {"optimizer": kind(**options)})
    except (TypeError, LookupError, AttributeError) as error:
        raise UsageError(f"the record describes no recipe of this version of tfstyle ({error}).") from None
