"""What a recipe is: a frozen value of parts, and how its fields are replaced by name. No TensorFlow here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict

from tfstyle.errors import UsageError, unknown_name
from tfstyle.fields import check_fields, option_fields
from tfstyle.recipes.loss import Loss, Term, TermWeights
from tfstyle.recipes.parts import LBFGS, SGD, Adam, Decay, Network, Parametrization, Start, StyleSize
from tfstyle.recipes.pyramid import Pyramid


class GraphKey(NamedTuple):
    """What a compiled train step depends on: runs with equal keys share it."""

    network: Network
    loss: Loss
    terms: frozenset[str]
    optimizer: Hashable
    parametrization: Parametrization


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a result, apart from the two images it is made from.

    Attributes:
        name: what `--recipe` calls it.
        summary: one line for a person choosing.
        source: where its numbers were published.
        departures: where it differs from its source, one sentence each; `Network.difference` is about the network.
        loss: what is compared, and how.
        term_weights: factors of the loss terms.
        network: the network whose features are compared.
        optimizer: `Adam`, `SGD`, `LBFGS`, or an `optimizers.Optimizer` of your own.
        parametrization: how the image is held while it is optimized.
        pyramid: levels, coarse to fine, and the steps at each.
        start: the image a run starts from.
        style_size: how large the style image is made.

    Raises:
        UsageError: if a value is not valid, or two parts do not go together.
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

    def __post_init__(self) -> None:
        """Checks that each part is of its kind, and that the parts go together."""
        check_fields(self)
        for name, part in PARTS.items():
            if not isinstance(getattr(self, name), part):
                raise UsageError(f"`{name}` should be a recipes.{part.__name__}, not {getattr(self, name)!r}.")
        if not all(callable(getattr(self.optimizer, method, None)) for method in ("init", "update", "resize")) and (
            not isinstance(self.optimizer, OPTIMIZERS)
        ):
            raise UsageError(
                f"`optimizer` should be recipes.Adam, SGD or LBFGS, or have the methods init, update and resize of an "
                f"optimizers.Optimizer; received {self.optimizer!r}."
            )
        factors = self.term_weights.by_term()
        for kind in ("content", "style"):
            if kind in factors and not getattr(self.loss, f"{kind}_layers"):
                raise UsageError(f"`{kind}_layers` is empty; name at least one layer.")
        if not factors.keys() & {"content", "style"} and not self.loss.terms:
            raise UsageError("`content_weight` and `style_weight` are both 0; give at least one a positive weight.")
        try:
            hash(self.graph_key)
        except TypeError as error:
            raise UsageError(
                f"an object of your own in a recipe has to be hashable; freeze its class ({error})."
            ) from None

    @property
    def graph_key(self) -> GraphKey:
        """What its compiled train step depends on."""
        terms = frozenset(self.term_weights.by_term())
        return GraphKey(self.network, self.loss, terms, self.optimizer, self.parametrization)

    def record(self) -> dict[str, Any]:
        """The recipe as plain values for a file: functions and objects of your own by their qualified names."""
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
    }
)
"""Field of `Recipe` → the type of the part; an optimizer may also be an object of the user's."""

OPTIMIZERS = (LBFGS, Adam, SGD)
"""The optimizers that a recipe names by their numbers."""

OPTIONS: Mapping[str, dataclasses.Field] = MappingProxyType(
    {item.name: item for part in (Pyramid, TermWeights, StyleSize, Start, Network) for item in option_fields(part)}
)
"""Name → field, of the fields that are options of the command line, in its order."""


class Overrides(TypedDict, total=False):
    """Fields of a recipe and of its parts that `replace` takes by name; the parts' classes describe them."""

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

    content_layers: Mapping[str, float] | tuple[str, ...] | list[str]
    style_layers: Mapping[str, float] | tuple[str, ...] | list[str]
    statistic: str | Callable[..., Any]
    distance: str | Callable[..., Any]
    reduction: str
    total_variation: str | Callable[..., Any]
    terms: tuple[Term, ...] | list[Term]

    content_weight: float
    style_weight: float
    tv_weight: float

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
    store_projected_step: bool
    max_step_rms: float

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
    warm_start: bool

    init: Any
    noise: float
    seed: int

    style_scale: float
    style_resize: str
    style_crop: float


def replace(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """Returns the recipe with some of its fields, or fields of its parts, replaced.

    Args:
        recipe: to begin with.
        overrides: name → value: the names of `Overrides`.

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
    """The part that has a field of that name."""
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
    """A value as JSON holds it: parts as dictionaries, functions and other objects by their qualified names."""
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
