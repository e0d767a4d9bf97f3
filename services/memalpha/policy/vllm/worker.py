"""What is loaded into vLLM's own processes: weights out of folders, scores by parts, and the end of orphans.

vLLM mixes `Worker` into its workers, which imports this module in each of their processes. Weights travel as
safetensors files that both sides can read, through vLLM's registry of weight transfers; no network, no GPU.
A prompt's logprobs, which vLLM's older runner (on a CPU, or without Triton) makes of all its tokens at once,
are made of some at a time: 8,000 tokens by 151,936 words would take ten gibibytes and more.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.model_executor.model_loader.reload.layerwise import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from memalpha.policy.vllm.files import paths
from memalpha.policy.vllm.process import BACKEND, OWNER

# Logits of one call of the head: what bounds a score's memory.
_HEAD_LOGITS = 1 << 25


@dataclass
class NoInit(WeightTransferInitInfo):
    """There is nothing to agree on beforehand."""


@dataclass
class Update(WeightTransferUpdateInfo):
    """One update: all tensors of a folder."""

    path: str = ""


class FolderTransfer(WeightTransferEngine[NoInit, Update]):
    """Loads a folder's tensors in place, layer by layer."""

    init_info_cls = NoInit
    update_info_cls = Update

    def init_transfer_engine(self, init_info: NoInit) -> None:
        """Does nothing."""

    def start_weight_update(self) -> None:
        """Layers take tensors as checkpoints have them from here on."""
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Loads one folder; as inherited, but for a machine without an accelerator."""
        self.receive_weights(self.parse_update_info(update_info))
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: Update) -> None:
        """Reads the tensors and hands them to the model, one at a time."""
        self.model.load_weights(_tensors(Path(update_info.path)))

    def finish_weight_update(self) -> None:
        """Layers compute with their new tensors from here on."""
        finalize_layerwise_reload(self.model, self.model_config)
        if self.device.type == "cpu":
            repack_heads(self.model)

    def shutdown(self) -> None:
        """Does nothing."""


def repack_heads(model: torch.nn.Module) -> None:
    """Has output heads packed for the CPU again.

    A tied head is computed with a packed copy of its embedding, which vLLM's reload leaves as it was: what is
    read would be of the new weights, and what is said of the old ones.
    """
    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


class Scorer:
    """Stands for a runner's model and sampler while it makes a prompt's logprobs.

    The runner has the model make logits, and the sampler logprobs and a choice of them; of these calls only
    the last one works. It makes no ranks, which nobody reads.
    """

    def __init__(self, model: Any, vocabulary: int) -> None:
        """Over the runner's own model."""
        self._model = model
        self._step = max(1, _HEAD_LOGITS // vocabulary)

    def compute_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Puts it off."""
        return states

    def compute_logprobs(self, states: torch.Tensor) -> torch.Tensor:
        """Puts it off."""
        return states

    def gather_logprobs(self, states: torch.Tensor, most: int, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Ids (tokens, 1), their logprobs (tokens, 1) and ranks (tokens) of states (tokens, size)."""
        if most:
            raise ValueError(f"logprobs of a prompt are of its own tokens alone, not of {most} others")
        parts = zip(states.split(self._step), ids[:, None].split(self._step), strict=True)
        return ids[:, None].int(), torch.cat([self._part(*each) for each in parts]), torch.zeros_like(ids)

    def _part(self, states: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        logits = self._model.compute_logits(states).float()
        return logits.gather(-1, ids) - logits.logsumexp(-1, keepdim=True)


def by_parts(make: Callable[..., Any]) -> Callable[..., Any]:
    """A runner's way to make prompts' logprobs, over a `Scorer`."""

    @wraps(make)
    def made(runner: Any, *given: Any) -> Any:
        kept = runner.model, runner.sampler
        runner.model = runner.sampler = Scorer(runner.model, runner.model_config.get_vocab_size())
        try:
            return make(runner, *given)
        finally:
            runner.model, runner.sampler = kept

    return made


class Worker:
    """What vLLM's workers can do besides; nothing, but importing this is what counts."""


def _tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for path in paths(folder):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dict
                yield name, file.get_tensor(name)


def _end_with(owner: int) -> None:
    """Ends this process and the engine's process above it once the owner is gone, however it died."""
    parent = os.getppid()
    try:
        handle = os.pidfd_open(owner)
    except ProcessLookupError:
        pass
    else:
        select.select([handle], [], [])
    if parent not in (owner, 1):
        os.kill(parent, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


GPUModelRunner._get_prompt_logprobs_dict = by_parts(GPUModelRunner._get_prompt_logprobs_dict)
WeightTransferEngineFactory.register_engine(BACKEND, FolderTransfer)
if OWNER in os.environ:
    threading.Thread(target=_end_with, args=(int(os.environ[OWNER]),), daemon=True).start()
