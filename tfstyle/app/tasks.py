"""What a job of the page or the API makes: its files and options, the command line that does the same, and the run.

Files have names within the job's folder. Only `make` loads TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfstyle import files, images
from tfstyle.errors import UsageError
from tfstyle.faces import check_protect, is_word
from tfstyle.feedforward.options import Options
from tfstyle.pictures import decoding
from tfstyle.recipes.catalog import get_recipe
from tfstyle.recipes.parts import ColorTransfer
from tfstyle.recipes.recipe import OPTIONS
from tfstyle.styles import RAMPS, Style, check_one_pass, check_styles

FAST_FIELDS = ("size", "strength", "color", "color_strength")
"""Fields that one pass of a network has as well."""

FIELDS = tuple(name for name in OPTIONS if name not in ("weights", "init"))
"""Fields of a recipe that a task may replace; the others name files of this machine."""

NETWORKS = ("starry-night",)
"""Networks of one style that a task may name."""

MOST_STEPS = 10_000
"""Steps of a run, for which others wait."""

CHECKPOINT, COMMAND = "checkpoint", "command.txt"
"""Names within the folder of a job: its checkpoints, and the command line in an archive of its files."""


@dataclass(frozen=True, kw_only=True)
class Painting:
    """A style image of a task.

    Attributes:
        picture: its file.
        weight: as for `styles.Style`.
        mask: file of the mask, or one of `styles.RAMPS`; None for none.
    """

    picture: str
    weight: float = 1.0
    mask: str | None = None

    def as_style(self, folder: Path) -> Style:
        """Returns the style image, with its files in a folder."""
        mask = self.mask if self.mask is None or self.mask in RAMPS else folder / self.mask
        return Style(folder / self.picture, weight=self.weight, mask=mask)

    def as_word(self) -> str:
        """Returns the word of the command line."""
        facts = ([f"weight={repr(self.weight).removesuffix('.0')}"] if self.weight != 1.0 else []) + (
            [f"mask={self.mask}"] if self.mask else []
        )
        return f"{self.picture}:{','.join(facts)}" if facts else self.picture


@dataclass(frozen=True, kw_only=True)
class Task:
    """A picture to be made.

    Attributes:
        content: file of the content image.
        paintings: the style images.
        protect: file of a mask, or a word, as for `api.stylize`.
        recipe: name of a recipe; not used in one pass.
        fast: one pass of a network.
        model: the network, one of `NETWORKS`; None for AdaIN's.
        fields: fields of the recipe to replace, those of `FIELDS`; in one pass those of `FAST_FIELDS`.
    """

    content: str
    paintings: tuple[Painting, ...] = ()
    protect: str | None = None
    recipe: str = "balanced"
    fast: bool = False
    model: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """Name of the result's file."""
        names = "+".join(Path(painting.picture).stem for painting in self.paintings) or self.model or "fast"
        stem = f"{Path(self.content).stem}.{names}"
        return files.shorten_name(stem, ".json").removesuffix(".json") + ".png"  # The record has the same stem.

    @property
    def side(self) -> int:
        """Long side of the result in pixels, or the limit to it; 0 is the content image's own."""
        return int(self.fields.get("size", 0)) if self.fast else self._recipe().pyramid.size

    def _recipe(self) -> Any:
        return get_recipe(self.recipe, **self.fields)

    def check(self, folder: Path, *, largest: int) -> None:
        """Makes every check that needs no TensorFlow.

        Args:
            folder: the folder with the files.
            largest: largest long side of a result in pixels.

        Raises:
            UsageError: if options are not valid, or cannot be used together.
            InputError: if a file is no picture that can be used.
        """
        styles = [painting.as_style(folder) for painting in self.paintings]
        protect = self._protect(folder)
        check_protect(protect)
        allowed = FAST_FIELDS if self.fast else FIELDS
        if other := [name for name in self.fields if name not in allowed]:
            kind = "one pass of a network" if self.fast else "a recipe"
            raise UsageError(f"`{other[0]}` is no option of {kind}; leave it out.")
        if self.fast:
            self._check_fast(styles)
        else:
            check_styles(styles, self._recipe(), protect=protect, feather=0.0)
        named = [painting.mask for painting in self.paintings if painting.mask and painting.mask not in RAMPS]
        named += [self.protect] if self.protect and not is_word(self.protect) else []
        for name in (self.content, *(painting.picture for painting in self.paintings), *named):
            decoding.probe(folder / name, long_side=max(1, self.side))
        if self.fields.get("steps", 0) > MOST_STEPS:
            raise UsageError(f"`steps` should be at most {MOST_STEPS} here, not {self.fields['steps']}.")
        side = self.side or max(decoding.probe(folder / self.content, long_side=1))
        if side > largest:
            raise UsageError(f"`size` should be at most {largest} here, not {side}.")
        if (scale := self.fields.get("style_scale", 1.0)) * side > 2 * largest:
            most = math.floor(200 * largest / side) / 100
            raise UsageError(f"`style_scale` should be at most {most:g} at this `size`, not {scale:g}.")

    def _check_fast(self, styles: list[Style]) -> None:
        """Raises UsageError if one pass of the network cannot be made so."""
        if self.model is not None and self.model not in NETWORKS:
            raise UsageError(f"`model` should be {', '.join(NETWORKS)}, not {self.model!r}.")
        if bool(styles) == (self.model is not None):
            raise UsageError("one pass needs a painting, or a network with `model`, and not both.")
        check_one_pass(styles)
        Options(strength=self.fields.get("strength", 1.0))
        colors = {name: self.fields[name] for name in ("color", "color_strength") if name in self.fields}
        ColorTransfer(**colors)

    def command(self) -> str:
        """Returns the command line that makes the same picture in a folder that has the files."""
        words = ["tfstyle", "fast" if self.fast else "stylize", self.content]
        words += [painting.as_word() for painting in self.paintings]
        words += ["--recipe", self.recipe] if not self.fast and self.recipe != "balanced" else []
        words += ["--model", self.model] if self.model else []
        for name, value in self.fields.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        words += ["--protect", self.protect] if self.protect else []
        return shlex.join(words)

    def make(self, folder: Path, *, callbacks: Iterable[Callable[[Any], Any]] = (), memory: Any = None) -> tuple:
        """Makes the picture, as the command line does; goes on from the checkpoint of an earlier run.

        Args:
            folder: the folder with the files, where the result, the record and checkpoints are written.
            callbacks: as for `api.stylize`; not called in one pass.
            memory: as for `api.stylize`.

        Returns:
            (height, width) of the result.

        Raises:
            TfstyleError: as `api.stylize` and `one_pass.stylize_fast`.
        """
        styles = [painting.as_style(folder) for painting in self.paintings]
        shared: dict[str, Any] = {"protect": self._protect(folder), "output": folder / self.result, "overwrite": True}
        if self.fast:
            from tfstyle import one_pass

            image = one_pass.stylize_fast(folder / self.content, styles, model=self.model, **shared, **self.fields)
        else:
            from tfstyle import api, checkpoint

            image = api.stylize(
                folder / self.content,
                styles,
                recipe=self.recipe,
                callbacks=callbacks,
                record=(folder / self.result).with_suffix(".json"),
                checkpoint=folder / CHECKPOINT,
                resume=checkpoint.holds_one(folder / CHECKPOINT),
                memory=memory,
                **shared,
                **self.fields,
            )
        return tuple(image.shape[1:3])

    def _protect(self, folder: Path) -> Any:
        """Returns what is protected, as `api.stylize` takes it."""
        return self.protect if self.protect is None or is_word(self.protect) else folder / self.protect

    def record(self) -> dict[str, Any]:
        """Returns the task as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Task:
        """Returns the task that `record` described."""
        paintings = tuple(Painting(**painting) for painting in record["paintings"])
        return cls(**{**record, "paintings": paintings})


_LONGEST_STEM = 100
"""Longest name of an uploaded file without its suffix, in bytes; results are named by two of them or more."""


def clean_name(name: str | None, default: str) -> str:
    """Returns the name of an uploaded file as one that is safe in a folder and on a command line.

    Args:
        name: as the browser gave it, perhaps with a path of another system.
        default: the name in place of one without letters or digits.
    """
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter if letter.isalnum() or letter in " ._-+()" else "_" for letter in last).strip(" .-_")
    stem, dot, suffix = kept.rpartition(".")
    if not any(letter.isalnum() for letter in kept):
        return default
    short = os.fsencode(stem if dot else kept)[:_LONGEST_STEM].decode(errors="ignore")
    return f"{short}.{suffix[:10].lower()}" if dot else short


def find_samples(gallery: Path | None = None) -> dict[str, Path]:
    """Finds the sample pictures, and those of a folder of the operator's; the latter are paintings.

    Returns:
        Name of the file → path.
    """
    named = {path.name: path for path in sorted(images.SAMPLES.glob("*.jpg"))}
    if gallery is not None:
        named |= {path.name: path for path in sorted(gallery.iterdir()) if path.is_file() and images.is_picture(path)}
    return named


PHOTOGRAPHS = ("chelsea.jpg", "colosseum.jpg", "neuschwanstein.jpg")
"""The photographs among the sample pictures; the others are paintings."""
