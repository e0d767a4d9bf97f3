"""Numbered weights that a policy service can load: `weights/vNNNNNN/`.

A folder is a whole checkpoint: the tensors of now, and every other file of the checkpoint that training
started from. Its `memalpha.json` marks it as stable: that file is renamed in when all others are on disk, and
the folder gets its number after that, so that a number never stands for half of something. An adapter is
merged into what is written, never into the model that is trained, whose weights would keep the rounding. A
tied head is left out, as libraries do, after it was seen to be its embedding.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.errors import InternalError, InvalidInputError, make
from memalpha.files import sync
from memalpha.policy.checkpoint import MANIFEST, PROMPT_PACK, Manifest, manifest, seal
from memalpha_trainer import probes

Tensors = Mapping[str, torch.Tensor]

_NUMBERED = re.compile(r"v(\d{6,})")
_WEIGHTS = (".safetensors", ".bin", ".index.json")
# What is of one checkpoint alone, besides its weights.
_OWN = (MANIFEST, probes.PROBE)
_HEAD = "lm_head.weight"
# Of a probe: enough to see every tensor of the network, little enough to cost nothing.
_SEQUENCES, _LENGTH = 4, 32


@dataclass(frozen=True, slots=True)
class WeightFolders:
    """The folders of a run.

    Attributes:
        root: Where they stand.
        base: The checkpoint that training started from.
        keep: How many of the newest are kept; 0: all.
        dtype: Of what is written.
    """

    root: Path
    base: Path
    keep: int = 2
    dtype: torch.dtype = torch.float32

    @property
    def started_from(self) -> Manifest:
        """What the first checkpoint says of itself.

        Raises:
            InvalidInputError: CHECKPOINT_NOT_SEALED.
        """
        found = manifest(self.base)
        if found is None:
            message = f"policy.model must be a sealed checkpoint, with a {MANIFEST}; it is {self.base}"
            raise make(InvalidInputError, "CHECKPOINT_NOT_SEALED", message, path=self.base)
        return found

    def path(self, version: int) -> Path:
        """The folder of a number."""
        return self.root / f"v{version:06d}"

    def versions(self) -> list[int]:
        """Numbers that there are folders of, in order."""
        paths = self.root.iterdir() if self.root.is_dir() else ()
        return sorted(int(found[1]) for path in paths if (found := _NUMBERED.fullmatch(path.name)))

    def first(self) -> Path:
        """A folder of the checkpoint itself, without a number; of the same files, where they can be."""
        folder = self.root / "base"
        if not folder.exists():
            draft = self._draft(self.started_from.policy_version)
            shutil.copytree(self.base, draft, copy_function=_linked)
            draft.rename(folder)
            sync(self.root)
        return folder

    def kept(self, version: int) -> Path | None:
        """The folder of a number, that of the checkpoint itself included; None if it is gone."""
        if version == self.started_from.policy_version:
            return self.first()
        return self.path(version) if self.path(version).is_dir() else None

    def write(self, tensors: Tensors, version: int, asked: pb.WeightProbe | None = None) -> Path:
        """Writes a folder, durably and at once, and lets old ones go.

        Folders of higher numbers go too: a run that was resumed from here wrote them before.

        Args:
            tensors: Of the checkpoint.
            version: Their number.
            asked: Their probe, which is kept with them.
        """
        draft, folder = self._draft(version), self.path(version)
        draft.mkdir()
        if (self.base / PROMPT_PACK).is_dir():
            shutil.copytree(self.base / PROMPT_PACK, draft / PROMPT_PACK)
        for path in self.base.iterdir():
            if path.is_file() and path.name not in _OWN and not path.name.endswith(_WEIGHTS):
                shutil.copyfile(path, draft / path.name)
        stored = {name: tensor.to(self.dtype).contiguous() for name, tensor in sorted(tensors.items())}
        save_file(stored, draft / "model.safetensors", metadata={"format": "pt"})
        if asked is not None:
            probes.keep(draft, asked)
        begun = self.started_from
        seal(draft, begun.trained_with, policy_version=version, tokenizer=begun.tokenizer_digest)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        sync(self.root)
        self._prune(version)
        return folder

    def _draft(self, version: int) -> Path:
        """Where a folder is made, which does not exist yet."""
        draft = self.root / f".v{version:06d}.draft"
        self.root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        return draft

    def _prune(self, newest: int) -> None:
        versions = self.versions()
        kept = [version for version in versions if version <= newest]
        kept = kept[-self.keep :] if self.keep else kept
        for version in set(versions) - set(kept):
            shutil.rmtree(self.path(version), ignore_errors=True)


def _linked(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def servable(state: Tensors, *, tied: bool, scaling: float | None = None) -> dict[str, torch.Tensor]:
    """A network's tensors as a checkpoint has them, on the CPU.

    Args:
        state: Its state, or, with an adapter of peft, that of the wrapped network.
        tied: Whether the output head is the embedding.
        scaling: What the adapter's product is multiplied by; None if there is no adapter.

    Raises:
        InternalError: HEAD_NOT_TIED.
    """
    tensors = {name: value.detach().cpu() for name, value in state.items()}
    if scaling is not None:
        tensors = _merged(tensors, scaling)
    head = tensors.pop(_HEAD, None) if tied else None
    if head is not None and not torch.equal(head, tensors["model.embed_tokens.weight"]):
        raise make(InternalError, "HEAD_NOT_TIED", f"{_HEAD} must be the embedding, to which it is tied")
    return tensors


def probe(model: Any, version: int, dtype: torch.dtype = torch.float32) -> pb.WeightProbe:
    """Sequences of random ids and what a model says of them at temperature 1.

    Args:
        model: A causal language model.
        version: Number of its weights; decides the ids.
        dtype: Of the weights as they are served; decides what they may be off.
    """
    chance = random.Random(version)
    vocabulary = getattr(model, "module", model).config.get_text_config().vocab_size
    ids = [chance.choices(range(vocabulary), k=_LENGTH) for _ in range(_SEQUENCES)]
    return pb.WeightProbe(
        sequences=[pb.TokenizedPrompt(token_ids=row) for row in ids],
        scores=[pb.SequenceScore(logprobs=row) for row in _scores(model, ids)],
        tolerance=probes.tolerance(str(dtype).removeprefix("torch.")),
    )


def probe_of(folder: Path, dtype: str) -> pb.WeightProbe:
    """The probe of a checkpoint, as the trainer loads it, for a service that computes with `dtype`."""
    network = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
    )
    return probe(network, 1, getattr(torch, dtype))


def _scores(model: Any, ids: list[list[int]]) -> list[list[float]]:
    was = model.training
    model.eval()
    with torch.no_grad():
        rows = torch.tensor(ids, device=next(model.parameters()).device)
        table = model(input_ids=rows, use_cache=False).logits[:, :-1].float().log_softmax(-1)
    model.train(was)
    return table.gather(-1, rows[:, 1:, None])[..., 0].tolist()


def _merged(tensors: Tensors, scaling: float) -> dict[str, torch.Tensor]:
    """W + s B A of every layer with an adapter (LoRA, arXiv 2106.09685, section 4.1), in float32."""
    merged = {}
    for name, tensor in tensors.items():
        if ".lora_" in name:
            continue
        plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
        merged[plain] = _adapted(tensors, name, scaling) if ".base_layer." in name else tensor
    return merged


def _adapted(tensors: Tensors, name: str, scaling: float) -> torch.Tensor:
    down, up = (tensors[name.replace(".base_layer.", f".lora_{side}.default.")].float() for side in "AB")
    return (tensors[name].float() + scaling * (up @ down)).to(tensors[name].dtype)
