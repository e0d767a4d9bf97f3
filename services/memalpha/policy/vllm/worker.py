"""What is loaded into vLLM's own processes: weights out of folders, and the end of orphans.

vLLM mixes `Worker` into its workers, which imports this module in each of their processes. Weights travel as
safetensors files that both sides can read, through vLLM's registry of weight transfers; no network, no GPU.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
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

from memalpha.policy.vllm.files import paths
from memalpha.policy.vllm.process import BACKEND, OWNER


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


WeightTransferEngineFactory.register_engine(BACKEND, FolderTransfer)
if OWNER in os.environ:
    threading.Thread(target=_end_with, args=(int(os.environ[OWNER]),), daemon=True).start()
