"""What `just` passes on, and that the commands of the documentation are commands."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "evals/README.md", "trainer/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
)
# Bash reads this file before it runs a line of a recipe: what recipes call is written down, and not run.
FAKES = """
noted() { printf '%s\\0' "${UV_PROJECT_ENVIRONMENT:-}" "$@" >> "$CALLS"; printf '\\n\\0' >> "$CALLS"; }
uv() { noted uv "$@"; }
cargo() { noted cargo "$@"; }
python3() { noted python3 "$@"; }
"""
AWKWARD = ["--one", "a or b", 'it\'s "so"', "$HOME `x` *", "--two=c d", ""]


@pytest.fixture
def just(tmp_path):
    """Runs a recipe, and returns what it called, each as an environment's folder and an argv."""
    if shutil.which("just") is None:
        pytest.skip("needs just: pip install rust-just")
    (tmp_path / "fakes.sh").write_text(FAKES)

    def just(*arguments: str, **variables: str) -> list[list[str]]:
        calls = tmp_path / "calls"
        calls.write_bytes(b"")
        command = ["just", "--justfile", str(ROOT / "justfile"), *arguments]
        ours = {
            name: value for name, value in os.environ.items() if not name.startswith(("UV_", "MEMALPHA_"))
        }
        env = {**ours, "BASH_ENV": str(tmp_path / "fakes.sh"), "CALLS": str(calls), **variables}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (command, done.stderr)
        return [call.split("\0")[:-1] for call in calls.read_text().split("\n\0")[:-1]]

    return just


def recipes() -> dict[str, list[dict]]:
    """Parameters by recipe, of those that have any."""
    if shutil.which("just") is None:
        return {}
    command = ["just", "--justfile", str(ROOT / "justfile"), "--dump", "--dump-format", "json"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["recipes"]
    return {name: each["parameters"] for name, each in found.items() if each["parameters"]}


def documented() -> list[str]:
    """Commands with arguments, in a line of a block of code or between backticks."""
    found: set[str] = set()
    for page in PAGES:
        text = page.read_text("utf-8")
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
        found |= {each.strip() for each in (*lines, *re.findall(r"`([^`\n]+)`", text))}
    return sorted(each for each in found if re.match(r"([A-Z_]+=\S+ )*just \S+ \S", each))


@pytest.mark.parametrize("name", recipes() or ["(none)"])
def test_a_recipe_passes_its_arguments_on_as_they_are(name, just) -> None:
    variadic = recipes()[name][-1]["kind"] != "singular"
    given = AWKWARD if variadic else ["a or 'b'"]
    *_, argv = just(name, *given)
    assert argv[-len(given) :] == given


def test_the_recipes_with_arguments_are_found() -> None:
    if shutil.which("just") is None:
        pytest.skip("needs just: pip install rust-just")
    assert {"up", "demo", "tiny-model", "test", "test-vllm-all", "bench"} < set(recipes())


@pytest.mark.parametrize("command", documented())
def test_a_command_of_the_documentation_reaches_its_program_whole(command, just) -> None:
    words = shlex.split(command)
    start = words.index("just")
    *_, argv = just(*words[start + 1 :], **dict(word.split("=", 1) for word in words[:start]))
    arguments = words[start + 2 :]
    assert argv[-len(arguments) :] == arguments


def test_the_documentation_has_commands_with_blanks_in_an_argument() -> None:
    split = [shlex.split(command) for command in documented()]
    assert ["just", "test-vllm-all", "-k", "vllm_streams or vllm_sampling"] in split
    assert len(split) > 20


@pytest.mark.parametrize(
    ("arguments", "variables", "folder", "group"),
    [
        ([], {}, "", None),
        (["--data", "my memory"], {}, "", None),
        (["--policy", "transformers", "--model", "a b"], {}, "target/venv-train", "train"),
        (["--policy=transformers"], {}, "target/venv-train", "train"),
        (["--model", "a b", "--policy", "vllm"], {}, "target/venv-vllm", "vllm"),
        (["--policy=vllm"], {"MEMALPHA_POLICY__DEVICE": "cuda"}, "target/venv-gpu", "vllm-gpu"),
    ],
)
def test_up_takes_the_environment_of_its_engine(arguments, variables, folder, group, just) -> None:
    ((used, *argv),) = just("up", *arguments, **({"MEMALPHA_POLICY__DEVICE": "cpu"} | variables))
    assert used == folder
    groups = ["--group", group] if group else []
    assert argv == ["uv", "run", "--locked", *groups, "--no-group", "dev", "memalpha", "up", *arguments]


def test_demo_takes_the_bundled_conversation_or_a_file(just) -> None:
    ((_, *bundled),) = just("demo")
    ((_, *own),) = just("demo", "my chat.json")
    assert bundled[-3:] == ["examples/demo/conversation.json", "--questions", "examples/demo/questions.json"]
    assert own[-2:] == ["demo", "my chat.json"]


def test_what_try_install_does_is_what_the_page_says_and_what_the_workspace_overrides() -> None:
    spec = importlib.util.spec_from_file_location("try_install", ROOT / ".ci" / "try_install.py")
    assert spec
    assert spec.loader
    try_install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(try_install)
    page = try_install.PAGE.read_text("utf-8")
    overrides, lines = try_install.recipe(page)
    root = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(root["tool"]["uv"]["override-dependencies"]) <= set(overrides.splitlines())
    assert lines[-2].startswith("memalpha doctor")
    # The control: a page that ends otherwise.
    with pytest.raises(ValueError, match="must start the services"):
        try_install.recipe(page.replace(lines[-1], "memalpha health", 1))
