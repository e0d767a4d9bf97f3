import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="needs torch: uv sync --group train")
pytest.importorskip("trl")

import torch.distributed as dist  # noqa: E402
from accelerate.commands.config.config_args import load_config_from_file  # noqa: E402
from accelerate.utils import FullyShardedDataParallelPlugin  # noqa: E402
from accelerate.utils.fsdp_utils import fsdp2_prepare_model  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.distributed.fsdp import FSDPModule  # noqa: E402

from memalpha.errors import InvalidInputError, UnsupportedError  # noqa: E402
from memalpha_trainer import cli  # noqa: E402
from memalpha_trainer.config import Config, resolve  # noqa: E402
from memalpha_trainer.runs import toml  # noqa: E402
from memalpha_trainer.scale import written  # noqa: E402
from memalpha_trainer.scale.architecture import QWEN3_4B, Architecture  # noqa: E402
from memalpha_trainer.scale.dry_run import dry_run, two_digits  # noqa: E402
from memalpha_trainer.scale.meter import Meter  # noqa: E402
from memalpha_trainer.scale.network import build  # noqa: E402
from memalpha_trainer.scale.step import Memory, fake_ranks, measure, shard  # noqa: E402

from .grpo_support import checkpoint  # noqa: E402

CONFIGS = Path(__file__).parents[1] / "configs"
REPORTS = Path(__file__).parents[1] / "reports"
SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "vocab_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
ARCHITECTURE = Architecture({**QWEN3_4B, **SMALL}, "small")
# Embedding 512 * 64; two layers of queries and output 2 * 64 * 64, keys and values 2 * 64 * 32, three of 64
# by 128, norms 2 * 64 + 2 * 16; the last norm.
PARAMETERS = 32_768 + 2 * (8192 + 4096 + 24_576 + 160) + 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(params=[False, True], ids=["real", "fake"])
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.param:
        yield
        return
    with FakeTensorMode():
        yield


@pytest.mark.usefixtures("mode")
def test_a_meter_counts_storages_and_not_views_until_they_are_gone() -> None:
    given = torch.zeros(100)
    with Meter([given]) as meter:
        first = given + 1
        view = first[:50]
        assert meter.live == 800
        del first
        assert meter.live == 800, "the view holds it"
        del view
        assert (meter.live, meter.peak) == (400, 800)
        meter.restart()
        assert meter.peak == 400


@pytest.mark.usefixtures("mode")
def test_a_meter_sees_what_is_kept_for_the_backward_pass() -> None:
    given = torch.zeros(1000, requires_grad=True)
    with Meter([given]) as meter:
        # Each exp keeps its output.
        made = given.exp().exp().exp()
        assert meter.live == 4 * 4000
        del made
        assert meter.live == 4000


def test_a_meter_sees_a_storage_that_is_resized_in_place() -> None:
    before = torch.UntypedStorage.resize_
    with Meter() as meter:
        made = torch.zeros(100)
        made.untyped_storage().resize_(0)
        assert (meter.live, meter.peak) == (0, 400)
    assert torch.UntypedStorage.resize_ is before


@pytest.mark.parametrize("world", [1, 2, 8])
def test_a_rank_has_its_share_of_weights_gradients_and_moments(world: int) -> None:
    found = _measured(f"scale.world={world}")

    # Every dimension that is cut divides by eight.
    assert found.parameters == found.gradients == PARAMETERS * 4 // world
    # Two moments, and one number for each of 24 tensors.
    assert found.optimizer == 2 * found.parameters + 24 * 4


def test_a_peak_holds_what_stays_and_what_is_kept_for_the_backward_pass() -> None:
    found = _measured("scale.world=2")

    assert found.peak > found.parameters + found.optimizer + found.forward
    assert found.forward > 4 * 2 * 40 * 64 * 2, "a state of each layer for each token"


def test_recomputed_activations_are_not_kept() -> None:
    kept, recomputed = (_measured("scale.prompt_tokens=400", checkpointing=each) for each in (False, True))

    assert recomputed.forward < kept.forward / 2
    assert recomputed.peak < kept.peak
    assert recomputed.parameters == kept.parameters


def test_activations_grow_with_rows_and_what_stays_does_not() -> None:
    one, four = (_measured("scale.world=2", "scale.prompt_tokens=400", rows=rows) for rows in (1, 4))

    gathered = 4 * (512 * 64 + 64)
    assert four.forward - gathered == pytest.approx(4 * (one.forward - gathered), rel=0.01)
    assert (one.parameters, one.optimizer) == (four.parameters, four.optimizer)


def test_gradients_that_wait_for_the_last_micro_batch_are_whole_on_every_rank() -> None:
    one, two, three = (_measured("scale.world=8", f"optim.micro_batches={each}") for each in (1, 2, 3))

    assert two.peak - one.peak > PARAMETERS * 4 * 0.8
    assert (two.gradients, two.forward) == (one.gradients, one.forward)
    assert three.peak == two.peak


def test_half_precision_halves_activations_and_no_weights() -> None:
    single, half = (_measured("scale.prompt_tokens=400", f"optim.dtype={d}") for d in ("float32", "bfloat16"))

    assert half.forward < 0.85 * single.forward
    assert half.parameters == single.parameters


def test_adapters_have_gradients_and_moments_alone() -> None:
    found = _measured("optim.lora_rank=8")

    # 8 * (in + out) for seven targets of two layers.
    adapters = 2 * 8 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128))
    assert found.gradients == adapters * 4
    assert found.parameters == (PARAMETERS + adapters) * 4


def test_a_reference_model_is_counted_where_weights_are_trained() -> None:
    without, with_kl = _measured(), _measured("optim.kl=0.1")

    assert with_kl.reference == with_kl.parameters
    assert with_kl.peak == without.peak + with_kl.reference
    # An adapter's reference is the network below it.
    assert _measured("optim.kl=0.1", "optim.lora_rank=8").reference == 0


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_grouped_as_accelerate_groups_them(tied: bool) -> None:
    architecture = Architecture({**ARCHITECTURE.raw, "tie_word_embeddings": tied}, "small")
    ours, theirs = (build(architecture, _config()) for _ in range(2))
    launched = _launched().fsdp_config
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=launched["fsdp_version"],
        auto_wrap_policy=launched["fsdp_auto_wrap_policy"].lower(),
        transformer_cls_names_to_wrap=[launched["fsdp_transformer_layer_cls_to_wrap"]],
        reshard_after_forward=launched["fsdp_reshard_after_forward"],
        cpu_ram_efficient_loading=False,
    )
    accelerator: Any = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin),
        parallelism_config=SimpleNamespace(fsdp_dim_names=["ranks"]),
        mixed_precision="no",
        device="cpu",
        is_main_process=True,
    )
    with fake_ranks(2) as mesh, FakeTensorMode(allow_non_fake_inputs=True):
        for each in (ours, theirs):
            each.causal.to_empty(device="cpu")
            each.causal.tie_weights()
        shard(ours, mesh, _config())
        accelerator.torch_device_mesh = {("ranks",): mesh}
        fsdp2_prepare_model(accelerator, theirs.causal)
        assert _groups(ours.causal) == _groups(theirs.causal)
        assert len(_groups(ours.causal)) == (3 if tied else 4)


@pytest.mark.parametrize("name", ["memalpha-qwen3-4b", "memalpha-qwen3-4b-evidence"])
def test_the_launcher_starts_what_the_configuration_is_sized_for(name: str) -> None:
    launched, config = _launched(), resolve(CONFIGS / f"{name}.toml")

    assert launched.num_processes == config.scale.world
    assert (launched.mixed_precision, config.optim.dtype) == ("bf16", "bfloat16")


def test_a_rank_that_fits_is_said_to_fit(model: Path) -> None:
    report = dry_run(_config(f"policy.model='{model}'"), gpu_gib=17)

    assert report.fits
    assert report.verdict().startswith("Fits: a rank needs 0.0")
    assert report.model.checked == 24
    assert "24 tensors have the right names and shapes" in report.render()
    assert not dist.is_initialized()


def test_a_model_that_a_run_makes_itself_is_made_for_the_dry_run_and_costed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli._dry_run(resolve(CONFIGS / "bandit.toml")) == 0
    said, told = capsys.readouterr()

    assert "Model       a tiny untrained model, as the run makes it" in said
    # 4 groups of 8, one chunk each.
    assert "32 rollouts x 1.0 chunks = 32 rows" in said
    # As they are in fact, which is what the file has.
    assert "4,448 prompt and 512 completion tokens" in said
    assert "mean prompt 139 tokens (as configured), mean completion 16 tokens (as configured);" in said
    # What is small is not shown as nothing.
    assert "training 0.00," not in said
    assert "rows of 156 tokens" in said  # 140 of the prompt, 16 that are written
    assert "Fits: a rank needs" in said
    first, *others = told.splitlines()
    assert first == "loading torch …"
    assert "making the tiny model …" in others


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.00001234, "0.000012"), (0.099, "0.099"), (1.26, "1.3"), (26.4, "26"), (1234.5, "1234")],
)
def test_hours_have_two_digits_at_least(value: float, shown: str) -> None:
    assert two_digits(value) == shown


def test_a_rank_that_does_not_fit_is_said_not_to_and_what_would_help(model: Path) -> None:
    config = _config(f"policy.model='{model}'", "scale.reserve_gib=0", "scale.prompt_tokens=400")
    needed = dry_run(config).memories[0].peak
    below = (needed - 1) / (1 << 30)

    assert dry_run(config, gpu_gib=needed / (1 << 30)).fits
    report = dry_run(config, gpu_gib=below)
    assert not report.fits
    assert "DOES NOT FIT" in report.render()
    assert "set optim.gradient_checkpointing" in report.verdict()


def test_a_rank_that_only_the_reserve_keeps_out_is_told_so(model: Path) -> None:
    said = dry_run(
        _config(f"policy.model='{model}'", "optim.gradient_checkpointing=true"), gpu_gib=7
    ).verdict()
    assert said.startswith("DOES NOT FIT")
    assert "the reserve is 16 GiB (scale.reserve_gib)" in said


def test_a_world_that_is_given_replaces_the_configured_one(model: Path) -> None:
    config = _config(f"policy.model='{model}'")
    one, four = (dry_run(config, world=world).memories[0].parameters for world in (1, 4))

    assert one == 4 * four
    with pytest.raises(InvalidInputError, match=r"world.*it is 0"):
        dry_run(config, world=0)


def test_the_dry_runs_of_the_report_are_told_as_the_code_tells_them_now(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(toml.dumps(_config(f"policy.model='{model}'", "scale.world=2")), "utf-8")
    page = written.write(file, 4, tmp_path, print).read_text("utf-8")
    made = json.loads(next(tmp_path.glob("dry-run-*.json")).read_bytes())
    kept = json.loads(max(REPORTS.glob("dry-run-*.json")).read_bytes())

    assert set(made) == set(kept)
    assert _fields(made["runs"]) == _fields(kept["runs"])
    now = written.variants(CONFIGS / "memalpha-qwen3-4b.toml", 16)
    assert {each["name"]: tuple(each["overrides"]) for each in kept["runs"]} == now
    for run in made["runs"]:
        assert f"--dry-run {' '.join(run['overrides'])}".strip() in page
        assert run["verdict"] in page
    # The control: one number less.
    del kept["runs"][0]["plan"]["rows"]
    assert _fields(made["runs"]) != _fields(kept["runs"])


def test_all_weights_are_trained_where_they_are_said_to_be_and_the_page_says_what_wrote_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "adapted.toml"
    settings = _config(f"policy.model='{model}'", "scale.world=2", "optim.lora_rank=8")
    file.write_text(toml.dumps(settings), "utf-8")
    named = written.variants(file, 4).items()
    ranks = [(name, resolve(file, list(each)).optim.lora_rank) for name, each in named]
    assert ranks == [
        *(("all weights, 2 ranks", 0), ("all weights, 1 rank", 0)),
        *(("adapters of rank 4, 2 ranks", 4), ("adapters of rank 4, 1 rank", 4)),
    ]
    report = dry_run(settings)
    monkeypatch.setattr(written, "dry_run", lambda config, say: report)
    page = written.write(file, 4, tmp_path, print).read_text("utf-8")
    assert f"`just dry-run --config {file} --lora-rank 4`" in page


def test_one_rank_passes_over_as_many_rows_at_once_as_each_of_many() -> None:
    file = CONFIGS / "memalpha-qwen3-4b.toml"
    found = [resolve(file, list(each)) for each in written.variants(file, 16).values()]
    assert [each.scale.world for each in found] == [8, 1, 8, 1]
    assert {each.scale.world * each.optim.micro_batches for each in found} == {8}


def test_a_damaged_checkpoint_stops_a_dry_run(model: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((model / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-4])

    with pytest.raises(InvalidInputError, match="cannot be read"):
        dry_run(_config(f"policy.model='{tmp_path}'"))


def test_a_process_that_is_a_rank_takes_no_dry_run() -> None:
    with fake_ranks(2), pytest.raises(UnsupportedError, match="without a launcher"):
        _measured()


def _fields(told: Any) -> Any:
    """Names, and nothing of the numbers; of a list what its entries have."""
    if isinstance(told, dict):
        return {name: _fields(each) for name, each in told.items()}
    if isinstance(told, list):
        return [each for each in map(_fields, told) if each is not None]
    return None


def _launched() -> Any:
    return load_config_from_file(str(CONFIGS / "fsdp2.yaml"))


def _groups(network: Any) -> set[frozenset[str]]:
    """Names of the parameters that are gathered together."""
    names = {id(each): name for name, each in network.named_parameters()}
    found = set()
    for module in network.modules():
        if isinstance(module, FSDPModule):
            group = module._get_fsdp_state()._fsdp_param_group
            if group:
                found.add(frozenset(names[id(each.sharded_param)] for each in group.fsdp_params))
    return found


def _measured(*overrides: str, rows: int = 2, checkpointing: bool = False) -> Memory:
    return measure(ARCHITECTURE, _config(*overrides), rows, checkpointing=checkpointing)


def _config(*overrides: str) -> Config:
    base = [
        "policy.model=x",
        "optim.micro_batches=1",
        "agent.max_new_tokens=8",
        "scale.prompt_tokens=32",
        "task.kind=bandit",
    ]
    return resolve(None, [*base, "rollouts.groups=1", "rollouts.group_size=2", *overrides])
