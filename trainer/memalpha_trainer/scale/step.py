"""One training step of one rank of many, with fake tensors and a fake process group: its memory, measured.

The step is the trainer's own: decoder layers, and embedding with head, each one group of FSDP2, as accelerate
cuts them; weights in single precision, gathered and passed over in the run's dtype; TRL's head in tiles; the
clipped loss; AdamW. Every row has the longest length, with a mask, as the worst micro-batch may. Shapes are
real and values are not, so a step of a model of any size and world takes seconds and no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from memalpha.errors import UnsupportedError, make
from memalpha_trainer.config import Config
from memalpha_trainer.scale.architecture import Architecture
from memalpha_trainer.scale.meter import Meter, size
from memalpha_trainer.scale.network import Network, build


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of rank 0, which has the largest shards.

    Attributes:
        checkpointing: Whether activations were recomputed.
        parameters: Its shards.
        gradients: Its shards of them.
        optimizer: AdamW's moments.
        reference: Its shards of the model that a KL term compares with.
        forward: Kept for the backward pass: activations, and the gathered embedding.
        peak: The most at any time of a step that is not the first.
    """

    checkpointing: bool
    parameters: int
    gradients: int
    optimizer: int
    reference: int
    forward: int
    peak: int


def measure(architecture: Architecture, config: Config, rows: int, *, checkpointing: bool) -> Memory:
    """Takes the step with this many rows in a micro-batch.

    Raises:
        UnsupportedError: ALREADY_DISTRIBUTED: this process is a rank already.
        InvalidInputError: LORA_TARGET_NOT_FOUND.
    """
    network = build(architecture, config)
    with fake_ranks(config.scale.world) as mesh, FakeTensorMode(allow_non_fake_inputs=True):
        network.outer.to_empty(device="cpu")
        network.causal.tie_weights()
        network.outer.train()
        if checkpointing:
            network.causal.gradient_checkpointing_enable({"use_reentrant": False})
        shard(network, mesh, config)
        return _step(network, config, rows, checkpointing)


@contextmanager
def fake_ranks(world: int) -> Iterator[DeviceMesh]:
    """A mesh of which this process is rank 0, and nobody is the rest.

    Raises:
        UnsupportedError: ALREADY_DISTRIBUTED.
    """
    if dist.is_initialized():
        message = (
            "a dry run needs a process of its own: this one is a rank already; start it without a launcher"
        )
        raise make(UnsupportedError, "ALREADY_DISTRIBUTED", message)
    dist.init_process_group("fake", rank=0, world_size=world, store=FakeStore())
    try:
        yield init_device_mesh("cpu", (world,))
    finally:
        dist.destroy_process_group()


def shard(network: Network, mesh: DeviceMesh, config: Config) -> None:
    """Cuts a network into groups as accelerate's FSDP2 does.

    Embedding and norm are gathered until the backward pass, the head with them if it is tied.
    """
    settings: dict[str, Any] = {"mesh": mesh, "mp_policy": _precision(config)}
    causal = network.causal
    decoder = causal.base_model
    for layer in decoder.layers:
        fully_shard(layer, **settings)
    embedding, head = causal.get_input_embeddings(), causal.get_output_embeddings()
    tail = [decoder.norm, head]
    if head.weight is embedding.weight:
        tail.append(embedding)
    else:
        fully_shard(embedding, **settings)
    fully_shard(tail, **settings, reshard_after_forward=False)
    fully_shard(network.outer, **settings)


def _precision(config: Config) -> MixedPrecisionPolicy:
    if config.optim.dtype == "float32":
        return MixedPrecisionPolicy()
    half = torch.bfloat16
    return MixedPrecisionPolicy(param_dtype=half, reduce_dtype=half, output_dtype=half)


def _step(network: Network, config: Config, rows: int, checkpointing: bool) -> Memory:
    optimizer = torch.optim.AdamW(network.trained, lr=config.optim.lr, weight_decay=config.optim.weight_decay)
    parameters = size(network.outer.parameters())
    meter = Meter(network.outer.parameters())
    with meter:
        forward = _passes(network, config, rows, meter) - parameters
        passes = meter.peak
        gradients = size(each.grad for each in network.trained)
        meter.restart()
        optimizer.step()
    moments = size(each for state in optimizer.state.values() for each in state.values())
    reference = parameters if config.optim.kl > 0 and not config.optim.lora_rank else 0
    # From the second step on, the moments are there during the passes too.
    peak = max(passes + moments, meter.peak) + reference
    return Memory(checkpointing, parameters, gradients, moments, reference, forward, peak)


def _passes(network: Network, config: Config, rows: int, meter: Meter) -> int:
    """Forward and backward passes of a step; returns the bytes alive between the first two.

    Until its last micro-batch a step's gradients are whole on every rank: they are cut when they are summed
    over ranks, which accelerate does once a step. So two micro-batches show what any number does.
    """
    alive = 0
    for last in [False, True] if config.optim.micro_batches > 1 else [True]:
        network.outer.set_requires_gradient_sync(last)
        loss = _loss(network, config, *_batch(config, rows))
        alive = alive or meter.live
        loss.backward()
        del loss
    return alive


def _batch(config: Config, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and labels (rows, longest); -100 where nothing is trained."""
    prompt, completion = config.scale.prompt_tokens, config.agent.max_new_tokens
    ids = torch.zeros(rows, prompt + completion, dtype=torch.long)
    labels = ids.clone()
    labels[:, :prompt] = -100
    return ids, torch.ones_like(ids), labels


def _loss(
    network: Network, config: Config, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The clipped surrogate of all completions' tokens, advantages being one."""
    with _autocast(config):
        made = network.outer(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    logprobs = made.log_probs[:, -config.agent.max_new_tokens :]
    ratio = torch.exp(logprobs - logprobs.detach())
    clipped = ratio.clamp(1 - config.optim.clip_low, 1 + config.optim.clip_high)
    return -torch.min(ratio, clipped).sum()


def _autocast(config: Config) -> AbstractContextManager[Any]:
    if config.optim.dtype == "float32":
        return nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)
