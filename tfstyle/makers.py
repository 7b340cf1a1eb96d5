"""How a picture of a batch is made: by a run of a recipe, or in one pass of a network.

A `RecipeWork` or `FastWork` says what is to be done and can be sent to another machine; its `start` loads TensorFlow
and returns the functions that do it there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tfstyle import batch, files, images, records
from tfstyle.errors import OutputError
from tfstyle.pictures.decoding import Picture
from tfstyle.recipes.parts import BUILT_IN, STARTS
from tfstyle.recipes.recipe import Recipe, replace

UNFINISHED = ".unfinished"
"""What follows the stem of the image that a run that breaks off leaves, so that it is not taken for the result."""


class Maker(NamedTuple):
    """The functions that make the pictures of a batch on this machine, as `batch.run` takes them.

    Attributes:
        read: job → content image.
        make: (job, content image) → result.
        write: (job, result); writes the file, unless `make` has.
    """

    read: Callable[[batch.Job], Picture]
    make: Callable[[batch.Job, Picture], Any]
    write: Callable[[batch.Job, Any], None]


@dataclass(frozen=True, kw_only=True)
class RecipeWork:
    """Runs of a recipe.

    Attributes:
        recipe: the recipe.
        overrides: fields that `api.stylize` replaces.
        memory, background, quality, overwrite: as for `api.stylize`.
    """

    recipe: Recipe
    overrides: Mapping[str, Any]
    memory: str | None = None
    background: str = "white"
    quality: int = 95
    overwrite: bool = False

    def files(self) -> dict[str, str]:
        """Returns the files that every picture needs, by the fields of the recipe that name them."""
        named = {"weights": self.recipe.network.weights, "init": self.recipe.start.init}
        words = {*BUILT_IN, *STARTS}
        return {name: path for name, path in named.items() if path not in words}

    def moved(self, places: Mapping[str, str]) -> RecipeWork:
        """Returns the same work with the files of `files` in other places."""
        return dataclasses.replace(self, recipe=replace(self.recipe, dict(places)))

    def start(self) -> Maker:
        """Loads what the work needs, and returns the functions that do it."""
        from tfstyle import api, environment

        environment.grow_gpu_memory()

        def read(job: batch.Job) -> Picture:
            picture = _read(job.content, self.background, self.recipe.pyramid.size)
            return dataclasses.replace(picture, source=records.identify(job.content))  # As in that of a single run.

        def make(job: batch.Job, content: Picture) -> None:
            files.make_folders(job.output.parent)
            name = files.shorten_name(job.output.stem, f"{UNFINISHED}{job.output.suffix}")
            unfinished = job.output.with_name(name)  # Of this batch, or of one that broke off.
            api.stylize(
                content,
                job.style,
                recipe=self.recipe,
                output=unfinished,
                memory=self.memory,
                background=self.background,
                quality=self.quality,
                overwrite=True,
                **self.overrides,
            )
            try:
                files.save_result(job.output, unfinished.read_bytes(), overwrite=self.overwrite)
            except OutputError as error:
                if error.saved is not None:
                    unfinished.unlink()
                raise
            unfinished.unlink()

        return Maker(read, make, lambda job, made: None)


@dataclass(frozen=True, kw_only=True)
class FastWork:
    """Passes of a network.

    Attributes:
        model: its name or file; None is AdaIN.
        options: further arguments of `one_pass.stylize_fast`.
        background, quality, overwrite: as for `one_pass.stylize_fast`.
    """

    model: str | None
    options: Mapping[str, Any]
    background: str = "white"
    quality: int = 95
    overwrite: bool = False

    def files(self) -> dict[str, str]:
        """Returns the files that every picture needs, by the attributes that name them."""
        return {"model": self.model} if self.model is not None and os.path.isfile(self.model) else {}

    def moved(self, places: Mapping[str, str]) -> FastWork:
        """Returns the same work with the files of `files` in other places."""
        return dataclasses.replace(self, model=places.get("model", self.model))

    def start(self) -> Maker:
        """Loads what the work needs, and returns the functions that do it.

        Raises:
            WeightsError: if the network cannot be used.
        """
        from tfstyle import environment, one_pass
        from tfstyle.feedforward import serialization

        environment.grow_gpu_memory()
        network = serialization.load(self.model) if self.model else None
        read_style = functools.lru_cache(maxsize=8)(functools.partial(_read, background=self.background))

        def read(job: batch.Job) -> Picture:
            return _read(job.content, self.background, self.options.get("size", 0))

        def make(job: batch.Job, content: Picture) -> Any:
            styles = [dataclasses.replace(job.style, picture=read_style(job.style.picture))] if job.style else []
            return one_pass.stylize_fast(content, styles, model=network, **self.options)

        def write(job: batch.Job, image: Any) -> None:
            with contextlib.suppress(OutputError):  # The picture is then written elsewhere.
                files.make_folders(job.output.parent)
            images.write_result(image, job.output, quality=self.quality, overwrite=self.overwrite)

        return Maker(read, make, write)


def _read(path: Path, background: str, long_side: int = 0) -> Picture:
    """Reads a picture; what was converted is logged now, and not when the picture is used."""
    picture = images.read_and_log(path, background=background, long_side=long_side)
    return dataclasses.replace(picture, notes=(), warnings=())
