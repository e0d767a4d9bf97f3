"""Tiny checkpoints, made once in a run, for the tests that have the model libraries."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from memalpha.agent import AgentSettings, packs, wire
from memalpha.agent.prompts import DEFAULT_CORE_TOKENS
from memalpha.policy.checkpoint import Training
from memalpha.policy.tiny.corpus import texts
from memalpha.policy.tiny.make import Shape, tiny

TRAINING = Training(
    packs.load("default").digest(wire.get("lines")), "lines", AgentSettings().view_name, DEFAULT_CORE_TOKENS
)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes, or finds, a checkpoint of some shape."""
    if find_spec("torch") is None or find_spec("transformers") is None:
        pytest.skip("needs torch and transformers: pip install 'memalpha[transformers]'")
    made: dict[Shape, Path] = {}

    def folder(*, tied: bool = True, seed: int = 0, vocabulary: int = 512) -> Path:
        shape = Shape(layers=2, hidden=64, vocabulary=vocabulary, context=4096, tied=tied, seed=seed)
        if shape not in made:
            out = tmp_path_factory.mktemp("tiny") / f"tiny-{'tied' if tied else 'untied'}-{seed}"
            tiny(out, shape, TRAINING, texts(0, 200))
            made[shape] = out
        return made[shape]

    return folder
