"""What engines say of their own tokens, against a full pass of the library's model.

Engines by precision, by head (tied to the embedding or not), before and after weights were exchanged, and
with an empty and a warm prefix cache: most prompts begin with some blocks of the cache, which prompts with
other ends have left there.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.policy.checkpoint import Training, seal
from memalpha.policy.engine import InProcessPolicy, opened
from memalpha.policy.local.libraries import torch, transformers
from memalpha.policy.tiny.corpus import texts
from memalpha.policy.tiny.make import Shape, tiny
from parity_bench.rows import Row

TRAINING = Training("0" * 64, "lines", "relevant(4,4)", 96)
VOCABULARY = 512
PROMPTS, LONGEST, NEW = 24, 300, 40
# Two blocks of the prefix cache on a CPU; every sixth prompt is too short to have any.
BEGINNING, SHORT = 256, 6
# Noise on the weights that are exchanged for the first ones: far beyond what parity allows.
NOISE = 0.02


@dataclass(frozen=True, slots=True)
class Scale:
    """Which cells of the table are made."""

    engines: Sequence[str] = ("transformers", "vllm")
    dtypes: Sequence[str] = ("float32", "bfloat16")
    heads: Sequence[str] = ("tied", "untied")


QUICK = Scale(engines=("transformers",), heads=("tied",))


async def table(scale: Scale, folder: Path) -> AsyncIterator[Row]:
    """All lines; the models lie in the folder."""
    pairs = [_made(folder, head) for head in scale.heads]
    for engine in scale.engines:
        for dtype in scale.dtypes:
            for pair in pairs:
                async for row in _rows(engine, dtype, folder, pair):
                    yield row


def _made(folder: Path, head: str) -> tuple[Path, Path]:
    """Two checkpoints of one shape, the second with noise on its weights."""
    first, second = folder / f"{head}-1", folder / f"{head}-2"
    shape = Shape(layers=2, hidden=64, vocabulary=VOCABULARY, context=4096, tied=head == "tied")
    tiny(first, shape, TRAINING, texts(0, 200))
    shutil.copytree(first, second)
    model, chance = _reference(first), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance), alpha=NOISE)
    model.save_pretrained(second)
    seal(second, TRAINING, policy_version=2)
    return first, second


def _reference(folder: Path) -> Any:
    """The library's model in float32."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    ).eval()


async def _rows(engine: str, dtype: str, root: Path, folders: tuple[Path, Path]) -> AsyncIterator[Row]:
    """The lines of one engine on one pair of checkpoints."""
    head = folders[0].name.partition("-")[0]
    settings = PolicySettings.model_validate(
        {"model": str(folders[0]), "dtype": dtype, "weights_root": root, "rows": 16}
    )
    async with opened(engine, wire_format="lines", settings=settings) as running:
        policy = InProcessPolicy(running)
        for number, (weights, folder) in enumerate(zip(("before", "after"), folders, strict=True), 1):
            if number == 2:
                load = pb.LoadWeightsRequest(policy_version=2, path=folder.name)
                await running.load_weights(load)  # pyright: ignore[reportAttributeAccessIssue]
            model = _reference(folder)
            # The same prompts after the exchange: an old cache would show.
            for seed, cache in enumerate(("cold", "warm") if engine == "vllm" else ("none",)):
                found = await asyncio.gather(*map(policy.generate, _requests(seed)))
                yield Row.of(
                    (engine, dtype, head, weights, cache),
                    off=_differences(model, found),
                    prompt_tokens=sum(len(each.prompt_token_ids) for each in found),
                    cached_tokens=sum(each.usage.cached_tokens for each in found if each.usage),
                )


def _requests(seed: int) -> Iterator[pb.GenerateRequest]:
    """Prompts and answers of many lengths, at temperature 1; seeds differ in how prompts end, not begin."""
    begins, chance = random.Random(0), random.Random(seed)
    known = range(3, VOCABULARY)
    for number in range(PROMPTS):
        ids = begins.choices(known, k=BEGINNING if number % SHORT else 0)
        ids += chance.choices(known, k=chance.choice([1, 9, 80, LONGEST]))
        sampling = pb.SamplingParams(seed=number, temperature=1, max_tokens=chance.randint(1, NEW))
        yield pb.GenerateRequest(
            tokens=pb.TokenizedPrompt(token_ids=ids), sampling=sampling, return_tokens=True
        )


def _differences(model: Any, found: list[Completion]) -> list[float]:
    """How far each new token's logprob is from that of a pass over its whole sequence, alone."""
    off: list[float] = []
    for each in found:
        prompt, new = each.prompt_token_ids, torch.tensor(each.token_ids)
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *each.token_ids]]), use_cache=False).logits
        table = torch.log_softmax(logits[0, len(prompt) - 1 : -1], dim=-1)
        expected = table.gather(-1, new[:, None])[:, 0].tolist()
        off += [abs(one - other) for one, other in zip(each.logprobs, expected, strict=True)]
    return off
