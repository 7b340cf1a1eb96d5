"""Words, options and the messages that name them."""

import logging

import pytest

from tfstyle import cli
from tfstyle.cli.parser import parse, with_options

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
        raise cli.OutputError("p.png: exists; replace it with `overwrite`.")

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
    assert "unknown command 'zzz'; known: stylize, demo, fast" in capsys.readouterr().err


def test_help_groups_and_values_are_named_plainly(capsys):
    with pytest.raises(SystemExit):
        parse(["stylize", "--help"])
    text = capsys.readouterr().out
    assert "\nmessages:\n" in text
    assert "--init {content,noise,adain,FILE}" in text
    assert "--weights {embedded,imagenet,FILE}" in text
    assert "or standard output closed by its reader (no message), 2 usage" in " ".join(text.split())
    assert "--json prints one JSON object a line, each with an event: start" in " ".join(text.split())
