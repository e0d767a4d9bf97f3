import json
import subprocess
import sys
from pathlib import Path

import pytest

from memalpha.errors import InvalidInputError
from memalpha.tasks.data import files
from memalpha.tasks.instance import Chunk, Instance, Question
from memalpha_trainer.config import Config, resolve
from memalpha_trainer.scale.architecture import QWEN3_4B, Architecture
from memalpha_trainer.scale.plan import Assumptions, plan

CONFIGS = Path(__file__).parents[1] / "configs"
PUBLISHED = Architecture(QWEN3_4B, "published")


def test_a_plan_loads_no_torch() -> None:
    code = "import sys, memalpha_trainer.scale.plan; sys.exit('torch' in sys.modules or 'trl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_published_model_has_as_many_parameters_as_its_card_says() -> None:
    # 36 layers of 2 * 2560 * 4096 (queries, output) + 2 * 2560 * 1024 (keys, values) + 3 * 2560 * 9728.
    assert PUBLISHED.decoder == 36 * (20_971_520 + 5_242_880 + 74_711_040)
    # The card: 4.0B, of which 3.6B are not embedding.
    assert round(PUBLISHED.decoder / 1e9, 1) == 3.6
    assert round((PUBLISHED.decoder + PUBLISHED.head) / 1e9, 1) == 4.0


def test_rows_are_rollouts_by_chunks_and_calls_follow_from_them() -> None:
    found = plan(_config("memalpha-qwen3-4b"), PUBLISHED)

    # 32 * 8 rollouts; of 10.7 chunks and 58.5 questions each in the mean, as no file is there.
    assert (found.rollouts, found.rows) == (256, 2739)
    assert found.reader_calls == 14_976
    assert found.judge_calls == 2 * 2739
    # 2,739 rows in 85 windows are 32 or 33 each; 33 on 8 ranks need 5 rows a pass.
    assert found.micro_rows == 5
    # 19 windows of 33 rows take 40 places each, the other 66 are full.
    assert found.filled == pytest.approx(19 * 7 / (2739 + 19 * 7))


def test_a_deterministic_reader_and_a_reward_without_content_cost_no_calls() -> None:
    found = plan(resolve(None, ["policy.model=Qwen3-4B"]), PUBLISHED)

    assert (found.reader_calls, found.judge_calls) == (0, 0)
    assert found.gpu_hours["answering"] == found.gpu_hours["judging"] == 0


def test_what_was_measured_of_prompts_stands_for_what_is_assumed() -> None:
    # 4 * 8 rollouts of one chunk, of 139 and 16 tokens; 6 * 8 of six, of 148 and 27.
    for name, prompts, completions in (
        ("bandit", 32 * 139, 32 * 16),
        ("ledger-tiny", 288 * 148, 288 * 27),
    ):
        found = plan(_config(name), PUBLISHED)
        assert (found.prompt_tokens, found.completion_tokens) == (prompts, completions)
        assert found.stream.origin == "a generated stream of 1 unit"
    # No mean is above the longest, and without one a share of it is assumed: half, and a fifth.
    shorter = plan(_config("bandit", "agent.max_new_tokens=8", "scale.mean_prompt_tokens=0"), PUBLISHED)
    assert (shorter.prompt_tokens, shorter.completion_tokens) == (32 * 70, 32 * 8)
    assert plan(_config("bandit", "scale.mean_completion_tokens=0"), PUBLISHED).completion_tokens == round(
        32 * 16 * 0.2
    )


def test_instances_that_are_there_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "two.jsonl"
    files.write(file, [_instance(2), _instance(5)])
    config = _config("memalpha-qwen3-4b", f"task.file='{file}'")

    # 2 and 5 chunks, one question.
    assert plan(config, PUBLISHED).rows == 256 * 3.5
    assert plan(config, PUBLISHED).reader_calls == 256
    capped = _config("memalpha-qwen3-4b", f"task.file='{file}'", "task.most_chunks=3")
    assert plan(capped, PUBLISHED).rows == 256 * 2.5


def test_gpu_hours_are_the_work_over_the_speed() -> None:
    raw = {
        **QWEN3_4B,
        "num_hidden_layers": 1,
        "hidden_size": 100,
        "intermediate_size": 100,
        "vocab_size": 1000,
    }
    raw |= {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 100}
    config = resolve(
        None,
        [
            "policy.model=x",
            "task.kind=bandit",
            "rollouts.groups=1",
            "rollouts.group_size=2",
            "agent.max_new_tokens=100",
            "scale.prompt_tokens=300",
            "optim.micro_batches=1",
        ],
    )
    assumed = Assumptions(
        peak_tflops=1e-6,
        training_share=1.0,
        reading_share=1.0,
        policy_decoding=10,
        prompt_share=1,
        completion_share=1,
    )

    found = plan(config, Architecture(raw, "small"), assumed)

    # Two rows of 400 tokens. A token takes 2 * 70,000 for 7 matrices of 100 x 100, 2 * 100 * 400 to attend.
    forward = 2 * 400 * (140_000 + 80_000)
    # Three times that, and the head for 200 completion tokens, at a million operations a second.
    assert found.gpu_hours["training"] == pytest.approx(3 * (forward + 200 * 200_000) / 1e6 / 3600)
    assert found.gpu_hours["writing"] == pytest.approx((600 * 220_000 / 1e6 + 200 / 10) / 3600)


def test_recomputing_and_a_reference_cost_one_forward_pass_each_and_adapters_save_one() -> None:
    base = ("optim.kl=0", "optim.gradient_checkpointing=false")
    hours = [
        plan(_config("memalpha-qwen3-4b", *base, *more), PUBLISHED).gpu_hours["training"]
        for more in [(), ("optim.kl=0.1",), ("optim.gradient_checkpointing=true",), ("optim.lora_rank=8",)]
    ]
    assert [each / hours[0] for each in hours] == pytest.approx([1, 4 / 3, 4 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "mamba"}, "UNKNOWN_ARCHITECTURE"),
        ({"hidden_size": "big"}, "UNKNOWN_ARCHITECTURE"),
        (None, "MODEL_NOT_FOUND"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(
    tmp_path: Path, changes: dict[str, object] | None, reason: str
) -> None:
    text = "{" if changes is None else json.dumps({**QWEN3_4B, **changes})
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(InvalidInputError) as refused:
        Architecture.of(tmp_path)
    assert refused.value.reason == reason


def test_only_the_published_model_may_be_missing(tmp_path: Path) -> None:
    assert Architecture.of(tmp_path / "Qwen3-4B").raw == QWEN3_4B
    with pytest.raises(InvalidInputError, match=r"config\.json"):
        Architecture.of(tmp_path / "Qwen3-8B")


def test_the_two_configurations_differ_in_credit_alone() -> None:
    paper, evidence = _config("memalpha-qwen3-4b"), _config("memalpha-qwen3-4b-evidence")

    assert (paper.credit.mode, evidence.credit.mode) == ("mem_alpha", "evidence")
    credit = evidence.credit.model_copy(update={"mode": "mem_alpha"})
    assert evidence.model_copy(update={"name": paper.name, "credit": credit}) == paper


def test_the_configuration_is_the_preset_of_the_paper() -> None:
    from memalpha.agent.presets import PRESETS

    config, paper = _config("memalpha-qwen3-4b"), PRESETS["paper"]
    shared = set(type(config.agent).model_fields) & set(paper)
    assert shared == {
        "wire_format", "prompt_pack", "view", "semantic", "episodic", "core_tokens", "max_new_tokens",
    }  # fmt: skip
    assert {name: getattr(config.agent, name) for name in shared} == {name: paper[name] for name in shared}
    assert config.scale.prompt_tokens == paper["most_prompt_tokens"]


def _config(name: str, *overrides: str) -> Config:
    return resolve(CONFIGS / f"{name}.toml", overrides)


def _instance(chunks: int) -> Instance:
    question = Question("what?", ("that",), "f1")
    return Instance(f"i{chunks}", "fake", tuple(Chunk(f"text {each}") for each in range(chunks)), (question,))
