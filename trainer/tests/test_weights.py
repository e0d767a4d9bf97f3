"""Folders of weights: whole or not there, as few as were asked for, and the same to a policy service."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: uv sync --group train")
pytest.importorskip("trl")

import grpc
import torch
from safetensors.torch import load_file

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.api.policy.v1alpha1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server
from memalpha.client import AsyncPolicyClient
from memalpha.config import PolicySettings
from memalpha.errors import ConflictError, CorruptionError, InternalError, InvalidInputError
from memalpha.policy.checkpoint import MANIFEST, manifest, seal, verified
from memalpha.policy.engine import opened
from memalpha.services.policy import PolicyServicer
from memalpha_trainer import probes
from memalpha_trainer.grpo.collate import collate, weigh
from memalpha_trainer.weights import WeightFolders, probe, servable

from .grpo_support import VOCABULARY, Made, checkpoint, configured, row
from .grpo_trainers import model, trainer

PARITY = 1e-4
# vLLM takes its time to start, and its libraries warn of one another.
_VLLM = [
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs vllm: uv sync --group train --group vllm"),
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),
]
ENGINES = pytest.mark.parametrize("engine", ["transformers", pytest.param("vllm", marks=_VLLM)])
BOTH = pytest.mark.parametrize(
    ("engine", "tied"),
    [
        pytest.param("transformers", True, id="tied"),
        pytest.param("transformers", False, id="untied"),
        pytest.param("vllm", True, id="vllm", marks=_VLLM),
    ],
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    root = tmp_path_factory.mktemp("model")
    return {tied: checkpoint(root / f"tiny-{tied}", tied=tied) for tied in (True, False)}


def written(root: Path, base: Path, version: int, *, keep: int = 2) -> WeightFolders:
    made = WeightFolders(root, base, keep)
    made.write(servable(model(base).state_dict(), tied=True), version)
    return made


def test_a_folder_is_a_whole_checkpoint_under_its_number(folders: dict[bool, Path], tmp_path: Path) -> None:
    base = folders[True]
    made = written(tmp_path, base, 5)
    folder = made.path(5)
    found = verified(folder)
    assert folder.name == "v000005"
    assert found is not None
    assert found.policy_version == 5
    assert found.trained_with == made.started_from.trained_with
    assert {path.name for path in folder.iterdir()} == {path.name for path in base.iterdir()}
    stored, first = load_file(folder / "model.safetensors"), load_file(base / "model.safetensors")
    assert stored.keys() == first.keys()
    assert all(torch.equal(stored[name], first[name]) for name in first)


def test_as_many_are_kept_as_were_asked_for_and_none_of_a_run_that_got_further(
    folders: dict[bool, Path], tmp_path: Path
) -> None:
    for version in (2, 3, 9, 4):
        made = written(tmp_path, folders[True], version)
    assert made.versions() == [3, 4]
    assert written(tmp_path, folders[True], 5, keep=0).versions() == [3, 4, 5]


def test_what_was_being_written_when_a_run_was_killed_has_no_number(
    folders: dict[bool, Path], tmp_path: Path
) -> None:
    draft = tmp_path / ".v000002.draft"
    draft.mkdir()
    (draft / "rubbish.safetensors").write_bytes(b"half of it")
    made = WeightFolders(tmp_path, folders[True])
    assert made.versions() == []
    again = written(tmp_path, folders[True], 2)
    assert again.versions() == [2]
    assert verified(again.path(2)) is not None
    assert not draft.exists()


def test_a_folder_is_written_over_one_of_the_same_number(folders: dict[bool, Path], tmp_path: Path) -> None:
    made = written(tmp_path, folders[True], 2)
    (made.path(2) / "config.json").write_text("{}")
    assert verified(written(tmp_path, folders[True], 2).path(2)) is not None


def test_the_checkpoint_itself_stands_there_without_a_number_and_takes_no_room(
    folders: dict[bool, Path], tmp_path: Path
) -> None:
    made = WeightFolders(tmp_path / "weights", folders[True], keep=1)
    first = made.first()
    assert (made.first(), made.versions()) == (first, [])
    assert verified(first) == verified(folders[True])
    assert (first / "model.safetensors").samefile(folders[True] / "model.safetensors")
    # Numbered ones come and go beside it.
    written(made.root, folders[True], 2, keep=1)
    assert made.versions() == [2]
    assert verified(first) is not None


def test_a_folder_keeps_what_its_weights_say_and_no_other_weights(
    folders: dict[bool, Path], tmp_path: Path
) -> None:
    network, made = model(folders[True]), WeightFolders(tmp_path, folders[True])
    asked = probe(network, 2)
    folder = made.write(servable(network.state_dict(), tied=True), 2, asked)
    sealed = verified(folder)
    assert sealed is not None
    assert probes.kept(folder, sealed, "float32") == asked
    of_bfloat16 = probes.kept(folder, sealed, "bfloat16")
    assert of_bfloat16 is not None
    assert (of_bfloat16.scores, of_bfloat16.tolerance) == (asked.scores, 0.25)
    # What was started from has a probe, and new weights without one do not take it for theirs.
    later = WeightFolders(tmp_path / "later", folder)
    without = manifest(later.write(servable(network.state_dict(), tied=True), 3))
    assert without is not None
    assert probes.kept(later.path(3), without, "float32") is None
    (folder / probes.PROBE).write_text("{}")
    with pytest.raises(CorruptionError, match=r"'probe\.json' is missing or not the file"):
        probes.kept(folder, sealed, "float32")


def test_a_head_that_is_not_its_embedding_is_refused(folders: dict[bool, Path]) -> None:
    state = {name: value.clone() for name, value in model(folders[True]).state_dict().items()}
    assert "lm_head.weight" not in servable(state, tied=True)
    state["lm_head.weight"] += 1
    with pytest.raises(InternalError, match=r"lm_head\.weight must be the embedding"):
        servable(state, tied=True)
    assert "lm_head.weight" in servable(model(folders[False]).state_dict(), tied=False)


def test_a_base_without_a_manifest_is_refused(folders: dict[bool, Path], tmp_path: Path) -> None:
    shutil.copytree(folders[True], tmp_path / "open")
    (tmp_path / "open" / MANIFEST).unlink()
    with pytest.raises(InvalidInputError, match=r"policy\.model must be a sealed checkpoint"):
        written(tmp_path, tmp_path / "open", 2)


def test_a_probe_has_other_ids_for_other_weights_and_says_what_they_may_be_off(
    folders: dict[bool, Path],
) -> None:
    network = model(folders[True])
    first, again, other = (probe(network, version) for version in (2, 2, 3))
    assert first == again
    assert first.sequences[0] != other.sequences[0]
    assert [len(each.logprobs) for each in first.scores] == [31] * 4
    assert first.tolerance == pytest.approx(1e-3)
    assert probe(network, 2, torch.bfloat16).tolerance == pytest.approx(0.25)


@asynccontextmanager
async def service(engine: str, folder: Path, root: Path) -> AsyncIterator[AsyncPolicyClient]:
    settings = PolicySettings.model_validate(
        {"model": str(folder), "weights_root": root, "threads": 1, "rows": 8}
    )
    async with opened(engine, wire_format="lines", settings=settings) as policy:
        server = grpc.aio.server()
        add_PolicyServiceServicer_to_server(PolicyServicer(policy), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with AsyncPolicyClient.connect(f"127.0.0.1:{port}") as client:
            yield client
        await server.stop(1)


async def gap(client: AsyncPolicyClient, made: Any, *, temperature: float = 1.0) -> float:
    """Largest difference between the service's logprobs and the trainer's, in one padded batch."""
    chance = random.Random(4)
    asked = [
        pb.GenerateRequest(
            tokens=pb.TokenizedPrompt(
                token_ids=chance.choices(range(3, VOCABULARY), k=chance.choice([1, 9, 80]))
            ),
            sampling=pb.SamplingParams(seed=n, temperature=temperature, max_tokens=chance.randint(1, 30)),
            return_tokens=True,
        )
        for n in range(16)
    ]
    found = await asyncio.gather(*(client.generate(each) for each in asked))
    rows = [row(each.prompt_token_ids, each.token_ids, logprobs=each.logprobs) for each in found]
    inputs = collate(rows, weigh(rows), 0)
    ids, mask = (
        torch.cat([inputs[f"prompt_{part}"], inputs[f"completion_{part}"]], 1) for part in ("ids", "mask")
    )
    with torch.no_grad():
        scores, _, _ = made._get_per_token_logps_and_entropies(
            made.model, ids, mask, inputs["completion_ids"].shape[1]
        )
    off = (scores - inputs["old_per_token_logps"])[inputs["completion_mask"] == 1]
    assert len(off) > 100
    return float(off.abs().max())


@BOTH
async def test_service_and_trainer_have_the_same_logprobs_before_and_after_new_weights(
    folders: dict[bool, Path], tmp_path: Path, engine: str, tied: bool
) -> None:
    config = configured(folders[tied], tmp_path, optim={"lr": 3e-3}, rollouts={"temperature": 0.7})
    source = Made()
    made = trainer(config, source=source, folders=WeightFolders(config.folder / "weights", folders[tied]))
    async with service(engine, folders[tied], tmp_path) as client:
        assert await gap(client, made, temperature=0.7) <= PARITY
        made.train()
        assert await gap(client, made, temperature=0.7) > PARITY
        made.publish()
        weights = source.published[-1]
        reply = await client.load_weights(
            pb.LoadWeightsRequest(
                policy_version=weights.version, path=str(weights.folder), probe=weights.probe
            )
        )
        assert reply.policy.policy_version == weights.version == 5
        assert reply.probe_error <= PARITY
        assert await gap(client, made, temperature=0.7) <= PARITY
        with torch.no_grad():
            for weight in made.model.parameters():
                weight.add_(torch.randn_like(weight), alpha=1e-3)
        assert await gap(client, made, temperature=0.7) > PARITY


async def test_other_weights_of_the_served_number_are_found_out(
    folders: dict[bool, Path], tmp_path: Path
) -> None:
    network = model(folders[True])
    async with service("transformers", folders[True], tmp_path) as client:
        reply = await client.load_weights(pb.LoadWeightsRequest(policy_version=1, probe=probe(network, 1)))
        assert reply.probe_error <= PARITY
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn_like(weight), alpha=1e-2)
        with pytest.raises(ConflictError, match="off the probe"):
            await client.load_weights(pb.LoadWeightsRequest(policy_version=1, probe=probe(network, 1)))


@ENGINES
async def test_weights_that_are_not_the_probed_ones_are_not_served(
    folders: dict[bool, Path], tmp_path: Path, engine: str
) -> None:
    base = folders[True]
    network = model(base)
    asked = probe(network, 2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight), alpha=1e-2)
    made = WeightFolders(tmp_path / "weights", base)
    folder = made.write(servable(network.state_dict(), tied=True), 2)
    seal(folder, made.started_from.trained_with, policy_version=2)
    async with service(engine, base, tmp_path) as client:
        with pytest.raises(ConflictError, match="off the probe"):
            await client.load_weights(pb.LoadWeightsRequest(policy_version=2, path=str(folder), probe=asked))
        assert (await client.describe()).policy.policy_version == 1
