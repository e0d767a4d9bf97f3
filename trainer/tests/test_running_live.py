"""Whether a service reads a run's weights, asked of a real one, of every version that it may be at."""

import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("trl")

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from memalpha.api.policy.v1alpha1.policy_service_pb2 import LoadWeightsRequest
from memalpha.client import PolicyClient
from memalpha.errors import ConflictError
from memalpha_trainer.config import Config
from memalpha_trainer.running import check_reads, check_serves
from memalpha_trainer.served import served
from memalpha_trainer.weights import WeightFolders, probe

from .grpo_support import checkpoint, configured

pytestmark = pytest.mark.timeout(600)


def version(address: str) -> int:
    with PolicyClient.connect(address) as client:
        return client.describe().policy.policy_version


def test_a_service_is_asked_where_it_reads_and_loads_nothing_for_it(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base")
    config = configured(base, tmp_path / "runs")
    folders = WeightFolders(config.folder / "weights", base)
    tensors = load_file(base / "model.safetensors")
    folders.root.mkdir(parents=True)
    with served(config, base, folders.root, tmp_path / "policy.log") as service:
        ours = named(config, service.address)
        check = partial(check_reads, ours, base, folders.root, folders.kept)
        check()
        second = folders.write({name: tensor + 1e-3 for name, tensor in tensors.items()}, 2)
        with PolicyClient.connect(service.address) as client:
            client.load_weights(LoadWeightsRequest(policy_version=2, path=str(second)))
        check()
        shutil.rmtree(second)
        check()
        assert version(service.address) == 2
        # The controls: other weights as version 2, and a run in another folder, with and without them.
        folders.write({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, 2)
        with pytest.raises(ConflictError, match="it serves other weights as version 2"):
            check()
        other = replace(folders, root=tmp_path / "elsewhere" / "weights")
        other.root.mkdir(parents=True)
        for kept in (other.kept, lambda number: other.first()):
            both = f"no weights at {other.root}: its policy.weights_root is {folders.root}."
            with pytest.raises(ConflictError, match=re.escape(both)):
                check_reads(ours, base, other.root, kept)
        assert version(service.address) == 2


def test_a_service_of_other_weights_of_the_same_number_is_refused_by_a_probe_or_by_weights(
    tmp_path: Path,
) -> None:
    ours, others = (checkpoint(tmp_path / f"seed-{seed}", seed=seed) for seed in (0, 1))
    probed = {each: with_probe(each, tmp_path / f"{each.name}-probed") for each in (ours, others)}
    config = configured(ours, tmp_path / "runs")
    with served(config, ours, tmp_path, tmp_path / "policy.log") as service:
        for model in (ours, probed[ours]):
            assert check_serves(config, model, service.address)
        # The controls: the number is the same, and so are tokenizer and training.
        for model in (others, probed[others]):
            with pytest.raises(ConflictError, match=r"does not serve .*: its logprobs are off by") as error:
                check_serves(config, model, service.address)
            assert error.value.metadata["served"] == "1"


def with_probe(model: Path, out: Path) -> Path:
    """The same checkpoint with a probe; its weights are gone since it was sealed: nothing can read them."""
    network = AutoModelForCausalLM.from_pretrained(model)
    tensors = load_file(model / "model.safetensors")
    folder = WeightFolders(out, model).write(tensors, 1, probe(network, 1))
    (folder / "model.safetensors").unlink()
    return folder


def named(config: Config, address: str) -> Config:
    return config.model_copy(update={"policy": config.policy.model_copy(update={"address": address})})
