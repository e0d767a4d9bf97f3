"""What a run is: a file says it, overrides say the rest, and all is checked before anything starts.

`resolve(path, overrides)` reads a TOML file of the tables below; an override is `table.key=value`, its value
in TOML. What is missing takes its default, what is unknown is refused. Settings that would train something
else than they seem to are refused as well: truncated sampling, groups of one, saves within a generation. No
torch here, so that `--help` and `--dry-run` answer at once.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from memalpha.errors import InvalidInputError, make

Share = Annotated[float, Field(ge=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskSettings(_Table):
    """What is read, and how answers are scored."""

    # `ledger`: generated streams, answered by a reader that is no model. `bandit`: one chunk and a reward
    # that any model can raise, to see the machinery learn. `data`: instances of `file`.
    kind: Literal["ledger", "bandit", "data"] = "ledger"
    # Length of a generated stream, in units of six chunks.
    units: int = Field(default=1, ge=1, le=1000)
    # Instances as JSON lines or parquet (`memalpha data build`); for `data`.
    file: Path | None = None
    # `module:function`, called with a rollout's record and its instance; its number, 0 to 1, stands for the
    # mean score of the answers.
    reward: str = Field(default="", pattern=r"^$|^[\w.]+:\w+$")
    # Who answers: a deterministic reader of the ledger, or `policy`, a model behind `reader_address`.
    reader: Literal["literal", "grammar", "policy"] = "literal"
    # host:port of a policy service that answers, with `reader = "policy"`; empty: the policy that is trained.
    reader_address: str = ""
    # Most tokens of an answer, with `reader = "policy"`.
    answer_tokens: int = Field(default=64, ge=1, le=65_536)
    # Most chunks of an instance of `file` that are read; 0: all.
    most_chunks: int = Field(default=0, ge=0)


class AgentTable(_Table):
    """What the policy sees and how it writes; a checkpoint is bound to these."""

    wire_format: str = "lines"
    # A built-in pack or a folder; empty: the one that the checkpoint brings along, else `short`.
    prompt_pack: str = ""
    view: Literal["relevant", "recent"] = "relevant"
    # Memories of each type that it is shown.
    semantic: int = Field(default=4, ge=0, le=1000)
    episodic: int = Field(default=4, ge=0, le=1000)
    # Most o200k tokens of core memory.
    core_tokens: int = Field(default=32, ge=1, le=8192)
    # Most tokens that it writes about a chunk.
    max_new_tokens: int = Field(default=64, ge=1, le=65_536)


class TinyTable(_Table):
    """A tiny untrained model, made in the run's folder."""

    layers: int = Field(default=2, ge=1, le=64)
    hidden: int = Field(default=64, ge=64, le=4096)
    vocabulary: int = Field(default=512, ge=320, le=65_536)


class PolicyTable(_Table):
    """The policy service that writes rollouts, and the model behind it."""

    # Checkpoint that training starts from, such as `memalpha-trainer warm` makes.
    model: Path | None = None
    # In its place: a tiny model that knows nothing.
    tiny: TinyTable | None = None
    # host:port of a running service that serves `model` and can read the run's weights; empty: start one.
    address: str = ""
    # Engine of the service that is started.
    engine: Literal["transformers", "vllm"] = "transformers"
    # Threads of the service that is started, and completions that it has in work at once.
    threads: int = Field(default=1, ge=0, le=256)
    rows: int = Field(default=64, ge=1, le=1024)
    # Whether a completion has the same logprobs to the last bit beside any others, in the service that is
    # started: what makes a resumed run the same to the last bit. Each step then computes all `rows`. Engine
    # `vllm` cannot do that: it writes the same ids again, or nearly all of them.
    batch_invariant: bool = True


class RolloutTable(_Table):
    """How many rollouts a step has, and how they are sampled."""

    # Streams of a step, and rollouts of each.
    groups: int = Field(default=6, ge=1, le=4096)
    group_size: int = Field(default=8, ge=2, le=512)
    # Sampling of rollouts: the policy's own distribution and nothing left out, or the gradient is another's.
    # At any temperature nothing is left out, and engine and trainer both compute logprobs at it.
    temperature: float = Field(default=1.0, gt=0, le=2)
    top_p: float = Field(default=1.0, ge=1, le=1)
    top_k: int = Field(default=0, ge=0, le=0)
    min_p: float = Field(default=0.0, ge=0, le=0)
    # Rollouts in work at once.
    concurrency: int = Field(default=64, ge=1, le=4096)
    # Rollouts with tokens of weights more than so many versions old are dropped, their whole group with them.
    max_staleness: int = Field(default=0, ge=0, le=1000)


class RewardTable(_Table):
    """Parts of the reward (Mem-alpha, arXiv 2509.25911, section 3): answers, calls, compression, content."""

    # r1, the mean score of the answers.
    answers: float = Field(default=1.0, ge=0)
    # r2, the share of a chunk's calls that were carried out.
    calls: float = Field(default=0.1, ge=0)
    # r3, 1 - memory tokens / stream tokens.
    compression: float = Field(default=0.05, ge=0)
    # r4, the share of a chunk's writes whose content is sound. The ledger knows; elsewhere a judge does, the
    # model of the policy service at `judge_address`, host:port.
    content: float = Field(default=0.0, ge=0)
    judge_address: str = ""
    # As in the paper's code: a chunk without calls has r2 = 0. Otherwise "nothing to do" is a success.
    quirks: bool = False
    # A control: the rollouts of a group exchange their rewards at random, so that nothing can be learned.
    shuffled: bool = False


class CreditTable(_Table):
    """How rewards become advantages of rows."""

    # `mem_alpha`: all rows of an instance share mean and deviation. `trajectory`: rollouts do, and all rows
    # of one have its advantage. `per_chunk`: rows of the same chunk do. `evidence`: as `per_chunk`, each
    # answer's score going to the chunks that wrote what it rests on.
    mode: Literal["mem_alpha", "trajectory", "per_chunk", "evidence"] = "evidence"
    # With `evidence`: share of r1 that goes to the chunks an answer rests on; the rest goes to all chunks.
    evidence_share: Share = 0.5
    # With `evidence`: whether a chunk that takes a question over pays the chunks before it what they are
    # worth. Without, all credit is the last writer's, as in the paper.
    handover: bool = True
    # Whether advantages are divided by their group's standard deviation (ddof 1, eps 1e-6).
    scale: bool = True
    # `token`: each trained token counts the same. `rollout`: each rollout does, however many rows it has.
    weighting: Literal["token", "rollout"] = "token"
    # What becomes of a row that was cut at the token limit: trained on as it is, or masked.
    truncated: Literal["keep", "mask"] = "keep"


class OptimTable(_Table):
    """The optimizer and the loss."""

    # Optimizer steps of the run.
    steps: int = Field(default=150, ge=1)
    lr: float = Field(default=3e-4, gt=0)
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant_with_warmup"
    warmup_steps: int = Field(default=5, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    # Optimizer steps on the rollouts of one collection.
    updates: int = Field(default=1, ge=1, le=1024)
    # Micro-batches of an optimizer step, each with one forward and backward pass.
    micro_batches: int = Field(default=4, ge=1, le=4096)
    # The ratio of new to old probability is clipped to [1 - clip_low, 1 + clip_high].
    clip_low: float = Field(default=0.2, gt=0, le=1)
    clip_high: float = Field(default=0.2, gt=0)
    # With a negative advantage the ratio is bounded by this too (dual clip); 0: not.
    dual_clip: float = Field(default=0.0, ge=0)
    # Weight of the KL divergence from the checkpoint that training started from; 0: no such term.
    kl: float = Field(default=0.0, ge=0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    # Threads of the trainer on a CPU; 0 leaves it to torch. Another number rounds sums differently.
    threads: int = Field(default=1, ge=0, le=256)
    gradient_checkpointing: bool = False
    # LoRA rank; 0 trains all weights.
    lora_rank: int = Field(default=0, ge=0, le=1024)
    lora_alpha: int = Field(default=32, ge=1)


class SaveTable(_Table):
    """Checkpoints and evaluation."""

    # Optimizer steps between two checkpoints; a multiple of `optim.updates`.
    every: int = Field(default=25, ge=1)
    # Checkpoints and weights that are kept; 0: all.
    keep: int = Field(default=2, ge=0)


class EvalTable(_Table):
    """Held-out evaluation at the end, through the policy service."""

    # Streams of each length, and lengths in units of six chunks; for `data`, instances of each source.
    streams: int = Field(default=10, ge=1)
    units: tuple[int, ...] = (1, 4)
    # Whether the starting policy is evaluated too, before training.
    first: bool = True
    # Instances for `data`; none: every tenth instance of `task.file`, which is then not trained on.
    file: Path | None = None


class ScaleTable(_Table):
    """The GPUs that a run is sized for, which the dry run holds it against."""

    # Ranks of the trainer, one GPU each; parameters, gradients and optimizer are sharded over them (FSDP2).
    world: int = Field(default=1, ge=1, le=4096)
    # Memory of a GPU in GiB, and what of it is left to the driver, to communication and to what torch's
    # allocator keeps for later: 3 to 14 GiB were seen beyond the dry run's peak (docs/policy.md, "On a GPU").
    gpu_gib: float = Field(default=80.0, gt=0)
    reserve_gib: float = Field(default=16.0, ge=0)
    # Most tokens of a prompt; with `agent.max_new_tokens` more, the longest row that has to fit.
    prompt_tokens: int = Field(default=6144, ge=1, le=1 << 20)
    # Mean tokens of a prompt and of what is written about it, as they were measured; 0: not known, and a
    # share of the longest is assumed.
    mean_prompt_tokens: int = Field(default=0, ge=0, le=1 << 20)
    mean_completion_tokens: int = Field(default=0, ge=0, le=65_536)
    # Linear layers that get an adapter, by the last part of their names, with `optim.lora_rank`.
    lora_targets: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )


class LogTable(_Table):
    """Where numbers go besides the run folder."""

    # `auto`: trackio if it is there, which keeps numbers on this machine; without it the run goes on alike.
    tracker: Literal["auto", "none", "trackio", "tensorboard", "wandb"] = "auto"
    project: str = "memalpha"


class Config(_Table):
    """A run, whole. `seed` decides streams, sampling and initial state; the run's name decides its folder."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    # Folder of runs.
    out: Path = Path("runs")
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    task: TaskSettings = TaskSettings()
    agent: AgentTable = AgentTable()
    policy: PolicyTable = PolicyTable()
    rollouts: RolloutTable = RolloutTable()
    rewards: RewardTable = RewardTable()
    credit: CreditTable = CreditTable()
    optim: OptimTable = OptimTable()
    save: SaveTable = SaveTable()
    eval: EvalTable = EvalTable()
    scale: ScaleTable = ScaleTable()
    log: LogTable = LogTable()

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.save.every % self.optim.updates:
            raise ValueError(
                f"save.every must be a multiple of optim.updates, {self.optim.updates}, not"
                f" {self.save.every}: a checkpoint within a collection cannot be resumed exactly"
            )
        if self.optim.steps % self.optim.updates:
            raise ValueError(
                f"optim.steps must be a multiple of optim.updates, {self.optim.updates},"
                f" not {self.optim.steps}"
            )
        if 0 < self.optim.dual_clip <= 1 + self.optim.clip_high:
            least = 1 + self.optim.clip_high
            raise ValueError(f"optim.dual_clip must be 0 or above 1 + optim.clip_high, {least}")
        if (self.policy.model is None) == (self.policy.tiny is None):
            raise ValueError(
                "one of policy.model, a checkpoint's folder, and the table policy.tiny must be given"
            )
        if self.rewards.content and self.task.kind != "ledger" and not self.rewards.judge_address:
            raise ValueError(
                "rewards.judge_address must be given with rewards.content: only the ledger knows"
            )
        if self.task.kind == "data" and self.task.file is None:
            raise ValueError('task.file must be given with task.kind = "data"')
        if self.task.kind == "data" and self.task.reader != "policy":
            raise ValueError(
                'task.reader must be "policy" with task.kind = "data": other readers know the ledger only'
            )
        return self

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.out / self.name


def resolve(file: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a file with overrides on top.

    Args:
        file: TOML; None means all defaults.
        overrides: `table.key=value`, later ones win.

    Raises:
        InvalidInputError: INVALID_CONFIG; it names the key, the rule and the value.
    """
    raw = _read(file) if file else {}
    _forget_model(raw, [each.partition("=")[0].strip() for each in overrides])
    for override in overrides:
        _set(raw, override)
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "config"
        # A rule over several keys names them itself; its input would be the whole table.
        shown = "" if isinstance(first["input"], dict | BaseModel) else f"; it is {first['input']!r:.100}"
        raise _invalid(f"{key}: {first['msg'].removeprefix('Value error, ')}{shown}", key) from None


def quoted(text: object) -> str:
    """A text or path as an override's value, whatever is in it."""
    return json.dumps(str(text), ensure_ascii=False)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _invalid(f"{file}: {error}", str(file)) from None


def _forget_model(raw: dict[str, Any], keys: Sequence[str]) -> None:
    """Leaves out the model that a file has, in whose place an override names another, or has one made."""
    policy = raw.get("policy")
    if not isinstance(policy, dict):
        return
    if "policy.model" in keys:
        policy.pop("tiny", None)
    if any(f"{key}.".startswith("policy.tiny.") for key in keys):
        policy.pop("model", None)


def _set(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    *tables, last = key.strip().split(".")
    if not equals or not all([*tables, last]):
        raise _invalid(f"an override must be table.key=value, not {override!r:.100}", override)
    for table in tables:
        raw = raw.setdefault(table, {})
        if not isinstance(raw, dict):
            raise _invalid(f"{key}: {table} is no table", key)
    raw[last] = _value(value.strip())


def _value(text: str) -> Any:
    """A TOML value; a bare word is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _invalid(message: str, key: str) -> InvalidInputError:
    return make(InvalidInputError, "INVALID_CONFIG", message, key=key)
