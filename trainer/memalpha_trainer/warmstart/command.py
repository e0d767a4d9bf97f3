"""What `memalpha-trainer warm` does: makes a warm start, and says whether it is fit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from memalpha.client import AsyncPolicyClient
from memalpha.files import replace_json
from memalpha_trainer import tasks
from memalpha_trainer.config import Config, quoted, resolve
from memalpha_trainer.models import digest, fitted
from memalpha_trainer.served import served
from memalpha_trainer.warmstart.gates import Gate, entry
from memalpha_trainer.warmstart.make import Recipe, warm_start

Say = Callable[[str], None]
_SECONDS = 10.0


def run(out: Path, seed: int, *, gates: bool, say: Say) -> bool:
    """Makes a warm start; whether it is fit, as far as that was asked.

    Raises:
        InvalidInputError: As `warm_start`.
    """
    warm_start(out, Recipe(seed=seed), _told(say))
    say(f"{out} is ready: policy.model={out}")
    return measured(out, say) if gates else True


def measured(model: Path, say: Say) -> bool:
    """Measures the entry gates of a checkpoint, and writes them beside it; whether it passed all."""
    found = asyncio.run(_measured(fitted(resolve(None, [f"policy.model={quoted(model)}"]), model), model))
    for gate in found:
        bound = "below" if gate.stop else "at least"
        verdict = "passed" if gate.passed else "NOT PASSED"
        say(f"{gate.name}: {gate.value:.3f}, must be {bound} {gate.bar:g}: {verdict}")
    _keep(model, found, say)
    return all(gate.passed for gate in found)


def _keep(model: Path, found: Sequence[Gate], say: Say) -> None:
    """Writes gates into MODEL.gates.json: a file within would come along to all that is trained from it."""
    file = model.absolute().with_name(f"{model.absolute().name}.gates.json")
    gates = [asdict(gate) | {"passed": gate.passed} for gate in found]
    try:
        replace_json(file, {"model": digest(model), "gates": gates})
    except OSError as error:
        say(f"the gates are not written down: {error}")


async def _measured(config: Config, model: Path) -> list[Gate]:
    with TemporaryDirectory() as scratch:
        here = Path(scratch)
        with served(config, model, here, here / "policy.log") as service:
            async with AsyncPolicyClient.connect(service.address) as policy:
                return await entry(policy, tasks.setting(config, policy))


def _told(say: Say) -> Callable[[str, int, int, str], None]:
    """Says how far it is, now and then."""
    last = [0.0]

    def told(what: str, done: int, of: int, remark: str) -> None:
        if time.monotonic() - last[0] >= _SECONDS or done == of:
            last[0] = time.monotonic()
            say(f"{what}: {done} of {of}{', ' if remark else ''}{remark}")

    return told
