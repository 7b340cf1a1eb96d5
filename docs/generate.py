"""Writes the pages of the documentation that are made from the code: modules, commands, recipes."""

import inspect
import json
import re
from pathlib import Path

from tfstyle.cli.parser import make_parser
from tfstyle.recipes import RECIPES

FOLDER = "reference"
"""Of the generated pages, within the folder of the documentation."""

PARTS = {
    "Runs": (
        "api",
        "one_pass",
        "enlarging",
        "details",
        "patches",
        "transfer",
        "preparation",
        "steps",
        "results",
        "sweeps",
        "batch",
        "makers",
        "cluster",
        "reruns",
    ),
    "Images": ("images", "pictures", "color", "masks", "styles", "faces", "levels", "pixel_range"),
    "Recipes": ("recipes",),
    "Features and losses": (
        "vgg",
        "model",
        "magnitudes",
        "statistics",
        "losses",
        "wasserstein",
        "neighbors",
        "total_variation",
        "nearest",
        "regions",
        "directions",
        "targets",
        "objective",
    ),
    "Optimization": ("train_step", "optimizers", "lbfgs", "iterate", "divergence", "color_transfer"),
    "Large images": (
        "planning",
        "memory",
        "durations",
        "distribution",
        "layout",
        "boxes",
        "windows",
        "tiled_targets",
        "tiling",
    ),
    "Networks of one pass, and their training": ("feedforward", "training"),
    "What is written": ("callbacks", "checkpoint", "states", "records", "plots", "metrics", "serving"),
    "The page and the API": ("app",),
    "Below": (),
}
"""Titles of the reference, and the modules or packages below each; the last one has all others."""

HIDDEN = ("cli", "__main__")
"""The command line, which the page of the commands describes."""


def write_pages(docs: Path) -> None:
    """Writes all pages into a folder of the documentation."""
    modules = read_modules(docs / "architecture.md")
    pages = {f"api/{name}": api_page(name) for name in modules}
    pages["api/index"] = api_index(modules)
    pages["commands"] = commands_page()
    pages["recipes"] = recipes_page()
    for name, text in pages.items():
        path = docs / FOLDER / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # So that only changed pages are built.
            path.write_text(text, encoding="utf-8")


def read_modules(plan: Path) -> dict[str, str]:
    """Returns what each documented module does, from the table of the architecture."""
    rows = re.findall(r"^\| \d+ \| (.*?) \| (.*) \|$", plan.read_text(encoding="utf-8"), re.M)
    found = {name: text for cell, text in rows for name in re.findall(r"`([\w.]+)`", cell)}
    return {name: text for name, text in found.items() if name.split(".")[0] not in HIDDEN}


def api_page(name: str) -> str:
    """The page of a module."""
    return f"# `{name}`\n\n```{{eval-rst}}\n.. automodule:: tfstyle.{name}\n```\n"


def api_index(modules: dict[str, str]) -> str:
    """The first page of the reference: the names of the package, then the modules by subject."""
    import tfstyle

    lines = [
        "# Reference",
        "",
        "From the docstrings. `import tfstyle` offers the names of the first table, and the modules below.",
        "",
        "| name | what it is |",
        "|---|---|",
    ]
    for name, home in tfstyle._HOMES.items():
        value = getattr(tfstyle, name)
        described = inspect.isclass(value) or callable(value)
        module = value.__module__.removeprefix("tfstyle.") if described else home
        sentence = inspect.cleandoc(value.__doc__ or "").partition("\n")[0] if described else _CONSTANTS[name]
        lines.append(f"| [`{name}`](#tfstyle.{module}.{name}) | {sentence} |")
    left = dict(modules)
    for title, names in PARTS.items():
        inside = [name for name in left if name in names or name.partition(".")[0] in names] if names else list(left)
        lines += ["", f"## {title}", "", "| module | what it does |", "|---|---|"]
        lines += [f"| [`{name}`]({name}.md) | {left.pop(name)} |" for name in inside]
        lines += ["", "```{toctree}", ":hidden:", "", *inside, "```"]
    return "\n".join(lines) + "\n"


_CONSTANTS = {"SAMPLES": "The folder of the embedded samples.", "RECIPES": "The recipes by their names."}


def commands_page() -> str:
    """The help of every command, as `--help` prints it."""
    parser = make_parser()
    lines = [
        "# Every option",
        "",
        "The help of each command, as `tfstyle COMMAND --help` prints it.",
        "",
    ]
    for name, command in {"": parser, **parser.commands}.items():
        lines += [f"## `{f'tfstyle {name}'.strip()}`", "", "```text", command.format_help().rstrip(), "```", ""]
    return "\n".join(lines) + "\n"


def recipes_page() -> str:
    """Every number of every recipe, its source and its departures from the source."""
    lines = [
        "# Every number of every recipe",
        "",
        "As `tfstyle recipes NAME` prints it; [Recipes](../recipes.md) says what they are.",
        "",
    ]
    for name, recipe in RECIPES.items():
        record = json.loads(json.dumps(recipe.record(), default=str))
        lines += [f"## `{name}`", "", f"{recipe.summary}.", "", f"Source: {recipe.source}.", ""]
        lines += [f"- {departure}" for departure in recipe.departures]
        lines += ["", "| part | field | value |", "|---|---|---|"]
        for part, fields in record.items():
            if isinstance(fields, dict):
                lines += [f"| {part} | `{field}` | {_cell(value)} |" for field, value in fields.items()]
        lines.append("")
    return "\n".join(lines) + "\n"


def _cell(value) -> str:
    if isinstance(value, dict):
        return "<br>".join(f"{key}: {_cell(each)}" for key, each in value.items()) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("|", "\\|")
