"""Types as a user's type checker sees them: mistakes are found, correct programs pass."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tfstyle

pytest.importorskip("mypy", reason="mypy is in the extra `test`")
PACKAGE = Path(tfstyle.__file__).parent

MISTAKES = {
    "a_number_is_no_tensor": (
        "from tfstyle.environment import tf\nimage: tf.Tensor = 3",
        r'\(expression has type "int", variable has type "Tensor"\)  \[assignment\]',
    ),
    "misspelt_override": (
        'import tfstyle\ntfstyle.stylize("a.jpg", "b.jpg", stile_weight=2.0)',
        r'Unexpected keyword argument "stile_weight".*\[call-arg\]',
    ),
    "misspelt_override_of_a_recipe": (
        'import tfstyle\ntfstyle.get_recipe("balanced", stile_weight=1)',
        r'Unexpected keyword argument "stile_weight".*\[call-arg\]',
    ),
    "misspelt_override_of_a_sweep": (
        'import tfstyle\ntfstyle.sweep("a.jpg", "b.jpg", vary={"seed": [1, 2]}, stile_weight=2.0)',
        r'Unexpected keyword argument "stile_weight".*\[call-arg\]',
    ),
    "override_of_another_type": (
        'import tfstyle\ntfstyle.stylize("a.jpg", "b.jpg", style_weight="high")',
        r'Argument "style_weight" to "stylize" has incompatible type "str".*\[arg-type\]',
    ),
    "misspelt_function": (
        'import tfstyle\ntfstyle.stylise("a.jpg", "b.jpg")',
        r'Module has no attribute "stylise".*\[attr-defined\]',
    ),
    "misspelt_attribute_of_a_step": (
        "import tfstyle\n\n\ndef show(step: tfstyle.Step) -> None:\n    print(step.loses)",
        r'"Step" has no attribute "loses".*\[attr-defined\]',
    ),
    "misspelt_field_of_a_loss": (
        'import tfstyle\ntfstyle.recipes.Loss(content_layers={"block4_conv2": 1.0}, statistics="gram")',
        r'Unexpected keyword argument "statistics".*\[call-arg\]',
    ),
}
"""Name → (program, what mypy says of its last line)."""

PROGRAMS = {
    "stylize": """
        import tfstyle

        image = tfstyle.stylize("a.jpg", "b.jpg", size=256, style_weight=2.0)
        print(image.shape, image.numpy().mean())
        tfstyle.write(image, "c.png")
        """,
    "sweep": """
        import tfstyle

        for run in tfstyle.sweep("a.jpg", "b.jpg", vary={"seed": [1, 2]}, size=128, background="white"):
            tfstyle.write(run.image, f"{run.label}.png")
        """,
    "steps": """
        import tfstyle
        from tfstyle.environment import tf

        recipe = tfstyle.get_recipe("balanced", size=256, style_weight=2.0)
        content, style = (tf.constant(tfstyle.read(name).image) for name in ("a.jpg", "b.jpg"))
        image = content
        for step in tfstyle.Transfer(recipe).steps(content, style):
            print(step.index, step.losses["total"])
            image = step.image
        tfstyle.write(image, "c.png")
        """,
    "own_recipe": """
        from collections.abc import Mapping
        from typing import Any

        import tfstyle
        from tfstyle.environment import tf


        def target(content: Any, style: Any) -> tf.Tensor:
            return tf.reduce_mean(content.image, axis=(1, 2))


        def sums(features: Mapping[str, tf.Tensor], target: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(features["block1_conv1"])


        def loss(sums: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
            return sums * tf.reduce_sum(target)


        def peaks(sums: tfstyle.statistics.SufficientStatistics) -> tf.Tensor:
            return sums.total / sums.positions[:, None]


        term = tfstyle.recipes.Term(name="own", layers=("block1_conv1",), target=target, sums=sums, loss=loss)
        compared = tfstyle.recipes.Loss(content_layers={"block4_conv2": 1.0}, statistic=peaks, terms=(term,))
        recipe = tfstyle.Recipe(loss=compared, optimizer=tfstyle.recipes.Adam(learning_rate=0.05))
        for step in tfstyle.Transfer(recipe).steps(tf.zeros([1, 64, 64, 3]), tf.zeros([1, 64, 64, 3])):
            print(step.losses)
        """,
}
"""Name → a correct program."""


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """Name of a program → the errors that mypy finds in it, of all programs in one run."""
    folder = tmp_path_factory.mktemp("programs")
    for name, (text, _) in MISTAKES.items():
        (folder / f"{name}.py").write_text(text + "\n")
    for name, text in PROGRAMS.items():
        (folder / f"{name}.py").write_text(re.sub("^ {8}", "", text, flags=re.M))
    options = ["--config-file=", "--strict", "--ignore-missing-imports", "--follow-imports=silent"]
    options += [f"--cache-dir={folder / 'cache'}", "--no-pretty", "--no-color-output", "--hide-error-context"]
    command = [sys.executable, "-m", "mypy", *options, *sorted(os.listdir(folder))]
    environment = {**os.environ, "MYPYPATH": str(PACKAGE.parent)}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 1, result.stdout + result.stderr  # 0: no mistake found; 2: mypy failed.
    found = {name: [] for name in (*MISTAKES, *PROGRAMS)}
    for line in result.stdout.splitlines():
        if match := re.match(r"(\w+)\.py:(\d+): error: (.*)", line):
            found[match[1]].append((int(match[2]), match[3]))
    return found


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found(messages, name):
    text, expected = MISTAKES[name]
    ((line, message),) = messages[name]
    assert line == len(text.splitlines())
    assert re.search(expected, message)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_correct_program_passes_strictly(messages, name):
    assert messages[name] == []


def test_every_public_name_has_its_type():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    typed = {alias.asname: node.module for node in block.body for alias in node.names}
    homes = {name: f"tfstyle.{home}" for name, home in tfstyle._HOMES.items()}
    assert typed == homes | dict.fromkeys(tfstyle._MODULES, "tfstyle")
