"""The parser: commands, options, their help, usage errors, and messages that name options."""

import importlib
import inspect
import logging
import re
import shlex
import subprocess
import sys

import pytest
from conftest import assert_one_line

from tfstyle import cli
from tfstyle.cli.command_line import parse, with_options
from tfstyle.cli.parser import make_parser
from tfstyle.errors import OutputError
from tfstyle.recipes import RECIPES
from tfstyle.recipes.recipe import OPTIONS

WORDS = {
    "stylize": ["stylize", "a", "b"],
    "fast": ["fast", "a", "b"],
    "train": ["train", "fast", "p.png", "--photos", "d", "-o", "o"],
    "doctor": ["doctor"],
}


@pytest.mark.parametrize(
    ("command", "text", "expected"),
    [
        ("stylize", "choose a smaller `size`, or `keep_alpha`.", "choose a smaller --size, or --keep-alpha."),
        ("stylize", "replace it with `overwrite`, or name an `output`", "replace it with --overwrite, or name an -o"),
        ("train", "`batch_size` and `batch` differ; `output`", "batch_size and --batch differ; -o"),
        ("fast", "`tile` or `size`, not `style_weight`", "--tile or --size, not style_weight"),
        ("stylize", "the `content` and the `style` are arguments", "the content and the style are arguments"),
        ("doctor", "a smaller `size`", "a smaller size"),
        ("doctor", "`two words`, ``, `a.b`", "`two words`, ``, `a.b`"),
    ],
)
def test_arguments_in_backquotes_become_options_of_the_command(command, text, expected):
    assert with_options(text, parse(WORDS[command])) == expected


def test_log_lines_and_errors_name_options(monkeypatch, capsys):
    def run(options):
        logging.getLogger("tfstyle").warning("%s: a smaller `style_scale` is better.", "p.png")
        raise OutputError("p.png: exists; replace it with `overwrite`.")

    monkeypatch.setattr(cli, "_run", run)
    assert cli.main(WORDS["stylize"]) == 4
    assert capsys.readouterr().err.splitlines() == [
        "tfstyle: p.png: a smaller --style-scale is better.",
        "tfstyle: error: p.png: exists; replace it with --overwrite.",
    ]


def test_a_file_without_an_ending_is_still_taken_for_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo").touch()
    with pytest.raises(SystemExit):
        parse(["photo", "painting"])
    assert "did you mean tfstyle stylize photo painting?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["zzz"])
    assert "unknown command 'zzz'; known: stylize, demo, recipes, fast" in capsys.readouterr().err


def test_every_option_field_of_a_recipe_is_an_option():
    options = make_parser().parse_args(["stylize", "a", "b"])
    assert not set(vars(options)) & set(OPTIONS)
    for item in OPTIONS.values():
        word = str(item.metadata["choices"][0] if item.metadata["choices"] else item.default)
        typed = make_parser().parse_args(["stylize", "a", "b", f"--{item.name.replace('_', '-')}", word])
        assert getattr(typed, item.name) == item.metadata["kind"](word)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["stilize"], "unknown command 'stilize'; did you mean 'stylize'?"),
        (["my photo.jpg", "b.jpg", "-q"], "is not a command; did you mean tfstyle stylize 'my photo.jpg' b.jpg -q?"),
        (["stylize", "a.jpg"], "the following arguments are required: STYLE"),
        (["stylize", "a.jpg", "b.jpg", "--steps", "many"], "invalid int value: 'many'"),
        (["stylize", "a.jpg", "b.jpg", "--pooling", "avg"], "invalid choice: 'avg'"),
        (["stylize", "a.jpg", "b.jpg", "--stile-weight", "3"], "--stile-weight 3; did you mean --style-weight?"),
        (["train", "adain", "--photos", "p", "--styles", "s", "-o", "o", "--bach", "3"], "did you mean --batch?"),
        (["regions", "a.jpg", "b.jpg", "c.jpg"], "unrecognized arguments: c.jpg (see tfstyle regions --help)"),
        (["stylize", "a.jpg", "b.jpg", "--lr", "3"], "unrecognized arguments: --lr 3"),
    ],
)
def test_a_usage_error_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert_one_line(capsys, caught.value.code, 2, message)


def help_of(capsys, *words):
    """What --help prints."""
    with pytest.raises(SystemExit) as caught:
        parse([*words, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


COMMANDS = [
    "stylize",
    "demo",
    "recipes",
    "fast",
    "batch",
    "sweep",
    "variations",
    "enlarge",
    "rerun",
    "compare",
    "features",
    "regions",
    "app",
    "train",
    "export",
    "inspect",
    "doctor",
]
LEAVES = [[name] for name in COMMANDS if name != "train"] + [["train", kind] for kind in ("fast", "adain", "gan")]


def test_the_help_lists_the_commands_with_an_example_and_the_exit_codes(capsys):
    text = help_of(capsys)
    assert re.findall(r"^    (\w+)(?: |$)", text, re.MULTILINE) == COMMANDS
    assert "\nexample:\n  tfstyle stylize photo.jpg painting.jpg\n" in text
    assert re.findall(r"^  (\d+) ", text, re.MULTILINE) == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "7",
        "8",
        "9",
        "129",
        "130",
        "143",
    ]


@pytest.mark.parametrize("words", LEAVES, ids="-".join)
def test_the_examples_in_the_help_of_a_command_are_valid(words, capsys):
    text = help_of(capsys, *words)
    assert text.startswith(f"usage: tfstyle {' '.join(words)} ")
    examples = re.findall(r"^  tfstyle (.*)$", text, re.MULTILINE)
    assert examples
    for example in examples:
        options = parse(shlex.split(example))
        assert [options.command, *words[1:]] == words


@pytest.mark.parametrize("words", LEAVES, ids="-".join)
def test_every_command_has_a_handler(words, capsys):
    (example, *_) = re.findall(r"^  tfstyle (.*)$", help_of(capsys, *words), re.MULTILINE)
    module, name = parse(shlex.split(example)).run.split(".")
    handler = getattr(importlib.import_module(f"tfstyle.cli.{module}"), name)
    assert list(inspect.signature(handler).parameters) == ["options"]


def test_the_help_of_stylize_begins_with_examples_and_the_common_options(capsys):
    text = help_of(capsys, "stylize")
    assert text.split("\n\n")[2].startswith("examples:\n  tfstyle stylize photo.jpg painting.jpg\n")
    titles = [
        "pictures",
        "common options",
        "recipe",
        "network",
        "masks",
        "files",
        "checkpoints",
        "machine",
        "record of the run",
    ]
    groups = dict(re.findall(r"^(\w[\w ]+):\n((?: .*\n|\n(?= ))+)", text, re.MULTILINE))
    assert [title for title in groups if title != "examples"][: len(titles)] == titles
    common = re.findall(r"^  (?:-o FILE, )?(--[a-z-]+)", groups["common options"], re.MULTILINE)
    assert common == ["--output", "--recipe", "--size", "--steps", "--style-weight", "--style-scale"]


def test_the_recipes_that_the_help_names_exist(capsys):
    text = " ".join(help_of(capsys, "stylize").split())
    names = re.search(r"--recipe NAME ([\w(), ]+), or another", text)[1]
    assert set(re.findall(r"(\w+)(?: \(\w+\))?(?:,|$)", names)) == {"balanced", "draft", "best"} <= set(RECIPES)


def test_values_and_events_are_named_plainly(capsys):
    text = help_of(capsys, "stylize")
    assert "--init {content,noise,adain,FILE}" in text
    assert "--weights {embedded,imagenet,FILE}" in text
    assert '--json prints one JSON object per line, each with an "event": start' in text


def test_activation_and_weights_of_features_have_defaults():
    options = parse(["features", "a.jpg"])
    assert (options.activation, options.weights) == ("post", "embedded")
    assert parse(["features", "a.jpg", "--activation", "pre"]).activation == "pre"
    options = parse(["export", "extractor", "-o", "d"])
    assert (options.weights, options.pooling, options.format) == ("embedded", "max", "savedmodel")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["stylize", "--help"], ["train", "gan", "--help"], ["--version"], ["x"]]
)
def test_help_and_usage_errors_load_nothing_heavy(arguments):
    program = (
        f"import sys; sys.argv = ['tfstyle', *{arguments!r}]; from tfstyle.cli import main\n"
        "try: main()\n"
        "finally: print('HEAVY' * any(m in sys.modules for m in ('tensorflow', 'keras', 'numpy', 'PIL')))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == (2 if arguments == ["x"] else 0)
    assert "HEAVY" not in result.stdout
