"""One rank of two, started by `test_two_ranks`: trains on its share of the rows, saves what came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from transformers import TrainerCallback
from trl.trainer.utils import add_fused_lm_head

from memalpha_trainer.config import Config
from memalpha_trainer.grpo import trainer as grpo
from memalpha_trainer.grpo.collate import packed
from memalpha_trainer.grpo.forward import scores
from memalpha_trainer.scale.network import Network
from memalpha_trainer.scale.step import shard

from .grpo_support import Given, Made, configured, ragged

ROWS = 7
STEPS = 3


class Gradients(TrainerCallback):
    """Keeps the gradients of the first optimizer step."""

    def __init__(self) -> None:
        self.first: dict[str, Any] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        if not self.first:
            named = model.named_parameters()
            self.first = {name.removeprefix("module."): each.grad.clone() for name, each in named}


class Counting(grpo.ChunkGRPOTrainer):
    """Counts the rows with tokens that this rank has passed over."""

    real = 0

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **settings: Any) -> Any:
        self.real += int((inputs["tool_mask"].sum(1) > 0).sum())
        return super().compute_loss(model, inputs, *args, **settings)


def trained(model: Path, out: Path) -> dict[str, Any]:
    """The trainer's: gradients of the first step, weights after the last, this rank's rows of a step."""
    network = _network(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    credit = Given(ragged(ROWS, masked=0))
    trainer = Counting(_config(model, out), network, tokenizer, Made(), credit=credit)
    gradients = Gradients()
    trainer.add_callback(gradients)
    trainer.train()
    weights = {name: each.clone() for name, each in network.state_dict().items()}
    return {"gradients": gradients.first, "weights": weights, "rows": trainer.real / STEPS}


def sharded(model: Path, *, ranks: int = 1, rank: int = 0) -> dict[str, Any]:
    """Gradients of one pass over all rows, parameters cut over the ranks as the dry run cuts them."""
    network = _network(model)
    add_fused_lm_head(network)
    if ranks > 1:
        mesh: DeviceMesh = init_device_mesh("cpu", (ranks,))
        shard(Network(network, network), mesh, _config(model, model))
    rows = ragged(ROWS, masked=0)
    part = packed(rows, updates=1, micro_batches=1, pad=0, ranks=ranks, rank=rank).tensors[0]
    ids = torch.cat([part["prompt_ids"], part["completion_ids"]], dim=1)
    mask = torch.cat([part["prompt_mask"], part["completion_mask"]], dim=1)
    logprobs, _ = scores(network, ids, mask, part["completion_ids"].shape[1])
    # FSDP2 takes the mean over ranks.
    (ranks * (logprobs * part["advantages"][:, None] * part["tool_mask"]).sum()).backward()
    return {name: _whole(each.grad) for name, each in network.named_parameters()}


def without_filling() -> None:
    """The control: ranks get their real rows and nothing else."""
    pack = grpo.packed.__globals__["pack"]

    def real(*args: Any, **settings: Any) -> list[list[list[int]]]:
        made = pack(*args, **settings)
        return [[[place for place in part if place >= 0] for part in rank] for rank in made]

    grpo.packed.__globals__["pack"] = real


def _network(model: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)


def _config(model: Path, out: Path) -> Config:
    optim = {"steps": STEPS, "micro_batches": 2, "max_grad_norm": 1e6}
    return configured(model, out, optim=optim, save={"every": 1000})


def _whole(gradient: Any) -> Any:
    return gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient


def main() -> None:
    """`two_ranks.py MODEL FOLDER RANK`: all that must work, then the control, which must not."""
    model, folder, rank = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    found = trained(model, folder / f"run{rank}")
    found["sharded"] = sharded(model, ranks=2, rank=rank)
    torch.save(found, folder / f"{rank}.pt")
    without_filling()
    (folder / f"{rank}.control").touch()
    trained(model, folder / f"control{rank}")
    (folder / f"{rank}.ended").touch()


if __name__ == "__main__":
    main()
