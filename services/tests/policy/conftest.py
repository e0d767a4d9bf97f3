"""Tiny checkpoints, made once in a run, for the tests that have the model libraries."""

import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from memalpha.agent import AgentSettings, packs, wire
from memalpha.agent.prompts import DEFAULT_CORE_TOKENS
from memalpha.policy.checkpoint import Training
from memalpha.policy.tiny.corpus import texts
from memalpha.policy.tiny.make import Shape, tiny

from .engines import PLACE

# A corner of a GPU will do: others may be at work on it.
_SMALL: dict[str, Any] = {} if PLACE["device"] == "cpu" else {"gpu_memory": 0.05, "cache_gib": 1}
LEFT_OPEN = ".*nclosed (context|socket) <zmq"
TRAINING = Training(
    packs.load("default").digest(wire.get("lines")), "lines", AgentSettings().view_name, DEFAULT_CORE_TOKENS
)


def pytest_configure(config: pytest.Config) -> None:
    """Lets vLLM leave sockets open, which warn whenever they are collected."""
    config.addinivalue_line("filterwarnings", f"ignore:{LEFT_OPEN}:ResourceWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has those come last that leave other weights behind: tests of the first ones would cost a start."""
    names = ("test_vllm_chaos", "test_new_weights_are_served_once_their_probe_holds_or_said_not_to_be")
    items.sort(key=lambda item: item.path.stem in names or item.name.partition("[")[0] in names)


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure() -> None:
    """Lets it at the very end too, where lines that were added do not count."""
    warnings.filterwarnings("ignore", LEFT_OPEN, ResourceWarning)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes, or finds, a checkpoint of some shape."""
    if find_spec("torch") is None or find_spec("transformers") is None:
        pytest.skip("needs torch and transformers: uv sync --group train")
    made: dict[Shape, Path] = {}

    def folder(*, tied: bool = True, seed: int = 0, vocabulary: int = 512) -> Path:
        shape = Shape(layers=2, hidden=64, vocabulary=vocabulary, context=4096, tied=tied, seed=seed)
        if shape not in made:
            out = tmp_path_factory.mktemp("tiny") / f"tiny-{'tied' if tied else 'untied'}-{seed}"
            tiny(out, shape, TRAINING, texts(0, 200))
            made[shape] = out
        return made[shape]

    return folder


@pytest.fixture(scope="session")
def vllm_core(tiny_folder: Any) -> Iterator[Callable[..., tuple[Path, Any]]]:
    """A checkpoint's folder and vLLM running on it: shared, and one at a time, as it is slow to start.

    A fresh one has the weights it was started with.
    """
    if find_spec("vllm") is None:
        pytest.skip("needs vllm: uv sync --group vllm")
    from memalpha.config import PolicySettings
    from memalpha.policy.served import Served
    from memalpha.policy.vllm.engine import started
    from memalpha.policy.vllm.process import prepare

    running: dict[bool, tuple[Path, Any]] = {}

    def close() -> None:
        for _, core in running.values():
            core.close()
        running.clear()

    def of(*, tied: bool = True, fresh: bool = False) -> tuple[Path, Any]:
        if tied not in running or (fresh and running[tied][1].version != 1):
            close()
            settings = PolicySettings.model_validate(
                {"model": str(tiny_folder(tied=tied)), **PLACE, **_SMALL}
            )
            prepare(settings)
            served = Served(settings, "lines")
            served.has(vocabulary=512, context=4096)
            running[tied] = tiny_folder(tied=tied), started(settings, served)
        return running[tied]

    yield of
    close()
