"""The package works without any model library, and asks for none."""

import subprocess
import sys

import pytest

WATCH = """
import importlib, pkgutil, sys
asked = []
class Recorder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "vllm", "transformers", "sentence_transformers"}:
            asked.append(name)
sys.meta_path.insert(0, Recorder())
import memalpha
for module in pkgutil.walk_packages(memalpha.__path__, "memalpha."):
    # The one is run, the other is for vLLM's own processes to import.
    if not module.name.endswith(("__main__", "policy.vllm.worker")):
        importlib.import_module(module.name)
"""


def asked_for(extra: str = "") -> str:
    """Names of model libraries that importing all of memalpha, and then `extra`, asked for."""
    code = f"{WATCH}\n{extra}\nprint(asked)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_everything_asks_for_no_model_library() -> None:
    assert asked_for() == "[]"


def test_what_is_for_vllms_processes_is_imported_by_nothing_else() -> None:
    assert asked_for("print('memalpha.policy.vllm.worker' in sys.modules)") == "False\n[]"


@pytest.mark.parametrize("library", ["torch", "vllm", "transformers", "sentence_transformers"])
def test_the_check_notices_an_import_of_a_model_library(library: str) -> None:
    attempt = f"try:\n    import {library}\nexcept ImportError:\n    pass"
    assert asked_for(attempt) == f"['{library}']"
