"""What one collection and the updates on it cost, counted before anything runs. Pure arithmetic, no torch.

Rows follow from the task, everything else from rows. Two things are assumed and printed with the result: how
fast a GPU is, and how long prompts and answers are on average. GPU-hours are hours of work; that the trainer
waits while rollouts are written, and they wait while it trains, comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from memalpha.tasks.data import files
from memalpha.tasks.ledger import ledger
from memalpha_trainer.config import Config
from memalpha_trainer.grpo.packing import pack
from memalpha_trainer.scale.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Stream:
    """A mean stream of the task.

    Attributes:
        chunks: One row of training each.
        questions: Asked of each rollout's memory.
        origin: How the numbers were found, for people.
    """

    chunks: float
    questions: float
    origin: str


PAPER_STREAM = Stream(10.7, 58.5, "means of Mem-alpha's training set (arXiv 2509.25911, table 7)")


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What cannot be counted. Speeds are of one H100 with bf16; measure yours and put them here.

    Attributes:
        peak_tflops: Of a GPU.
        training_share: Of the peak that forward and backward passes reach.
        reading_share: Of the peak that reading a prompt reaches.
        policy_decoding: Tokens per second and GPU that the policy writes in large batches.
        reader_decoding: Tokens per second and GPU of the model that answers and judges.
        reader_parameters: Its size.
        prompt_share: Mean prompt of a row, as a share of the longest, where the configuration has no mean.
        completion_share: Mean completion of a row, likewise.
        reader_prompt: Tokens of a question with its memories; reader_answer: of its answer.
        judge_prompt: Tokens of a call to be judged; judge_answer: of the verdict.
        writes: Calls of a row whose content a judge looks at.
    """

    peak_tflops: float = 989.0
    training_share: float = 0.35
    reading_share: float = 0.40
    policy_decoding: float = 8000.0
    reader_decoding: float = 1500.0
    reader_parameters: float = 32e9
    prompt_share: float = 0.5
    completion_share: float = 0.2
    reader_prompt: float = 3000.0
    reader_answer: float = 50.0
    judge_prompt: float = 600.0
    judge_answer: float = 8.0
    writes: float = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One collection and its optimizer steps.

    Attributes:
        rollouts: Streams read.
        rows: Rows of training that they give.
        micro_rows: Most rows of one forward pass of a rank.
        filled: Share of rows passed over that only fill up, which is work for nothing.
        prompt_tokens: Of all rows.
        completion_tokens: Of all rows; these are trained on.
        reader_calls: Questions to a reader that is a model.
        judge_calls: Writes that a judge looks at.
        gpu_hours: Work of each part: writing, training, answering, judging.
    """

    stream: Stream
    rollouts: int
    rows: int
    updates: int
    micro_rows: int
    filled: float
    prompt_tokens: int
    completion_tokens: int
    reader_calls: int
    judge_calls: int
    gpu_hours: dict[str, float]

    @property
    def tokens(self) -> int:
        """Tokens that pass through the trained model."""
        return self.prompt_tokens + self.completion_tokens


def plan(config: Config, architecture: Architecture, assumed: Assumptions | None = None) -> Plan:
    """Counts a collection.

    Args:
        config: The run.
        architecture: Of the model that is trained.
        assumed: Speeds and lengths; None means an H100's.

    Raises:
        DatasetError: `task.file` is there and holds no instances.
    """
    assumed = assumed or Assumptions()
    stream = mean_stream(config)
    rollouts = config.rollouts.groups * config.rollouts.group_size
    rows = round(rollouts * stream.chunks)
    passes = _passes(config, rows)
    total = sum(passes) * config.scale.world
    prompts, completions = (round(rows * mean) for mean in _means(config, assumed))
    asked = round(rollouts * stream.questions) if config.task.reader == "policy" else 0
    # The ledger knows what is sound.
    judged = round(rows * assumed.writes) if config.rewards.content and config.task.kind == "data" else 0
    work = Work(architecture, assumed, rows, prompts, completions)
    hours = {
        "writing": work.writing(),
        "training": work.training(config) * total / rows,
        "answering": work.reading(asked, assumed.reader_prompt, assumed.reader_answer),
        "judging": work.reading(judged, assumed.judge_prompt, assumed.judge_answer),
    }
    return Plan(
        stream=stream,
        rollouts=rollouts,
        rows=rows,
        updates=config.optim.updates,
        micro_rows=max(passes),
        filled=1 - rows / total,
        prompt_tokens=prompts,
        completion_tokens=completions,
        reader_calls=asked,
        judge_calls=judged,
        gpu_hours=hours,
    )


def _means(config: Config, assumed: Assumptions) -> tuple[float, float]:
    """Mean tokens of a row's prompt and completion: measured if the configuration has them, else assumed."""
    scale, longest = config.scale, config.agent.max_new_tokens
    prompt = min(scale.mean_prompt_tokens, scale.prompt_tokens) or assumed.prompt_share * scale.prompt_tokens
    return prompt, min(scale.mean_completion_tokens, longest) or assumed.completion_share * longest


def _passes(config: Config, rows: int) -> list[int]:
    """Rows of each forward pass of a rank, as the trainer packs them."""
    optim, ranks = config.optim, config.scale.world
    packed = pack([1] * rows, updates=optim.updates, micro_batches=optim.micro_batches, ranks=ranks)
    return [len(places) for places in packed[0]]


def mean_stream(config: Config) -> Stream:
    """The task's mean stream: generated, read from `task.file`, or the paper's if that is not there yet."""
    if config.task.kind == "data":
        return _of_file(config)
    one = ledger(config.seed, config.task.units)
    chunks = 1 if config.task.kind == "bandit" else len(one.chunks)
    units = "1 unit" if config.task.units == 1 else f"{config.task.units} units"
    return Stream(chunks, len(one.questions), f"a generated stream of {units}")


def _of_file(config: Config) -> Stream:
    file, most = config.task.file, config.task.most_chunks
    if file is None or not file.exists():
        chunks = min(PAPER_STREAM.chunks, most or PAPER_STREAM.chunks)
        return Stream(chunks, PAPER_STREAM.questions, f"{PAPER_STREAM.origin}; {file} is not there yet")
    sizes = [
        (min(len(each.chunks), most or len(each.chunks)), len(each.questions)) for each in files.read(file)
    ]
    return Stream(
        fmean(chunks for chunks, _ in sizes), fmean(asked for _, asked in sizes), f"means of {file}"
    )


@dataclass(frozen=True, slots=True)
class Work:
    """GPU-hours of the parts of a collection."""

    architecture: Architecture
    assumed: Assumptions
    rows: int
    prompts: int
    completions: int

    def writing(self) -> float:
        """Prompts are read, completions written."""
        reading = self._forward() * self.prompts / self._speed(self.assumed.reading_share)
        return (reading + self.completions / self.assumed.policy_decoding) / 3600

    def training(self, config: Config) -> float:
        """One pass over all rows: 3 forward passes' work, 2 if only adapters get gradients.

        Recomputed activations and the reference model of a KL term cost one more each.
        """
        optim = config.optim
        passes = 2 if optim.lora_rank else 3
        passes += optim.gradient_checkpointing + (optim.kl > 0)
        work = (
            self._forward() * (self.prompts + self.completions)
            + 2 * self.architecture.head * self.completions
        )
        return passes * work / self._speed(self.assumed.training_share) / 3600

    def reading(self, calls: int, prompt: float, answer: float) -> float:
        """The reader's model reads a prompt and writes an answer, so many times."""
        reading = 2 * self.assumed.reader_parameters * prompt / self._speed(self.assumed.reading_share)
        return calls * (reading + answer / self.assumed.reader_decoding) / 3600

    def _forward(self) -> float:
        """FLOPs of a token in a row of mean length: every matrix, and scores and sums over half the row."""
        length = (self.prompts + self.completions) / self.rows
        return (
            2 * self.architecture.decoder + 2 * self.architecture.layers * self.architecture.attended * length
        )

    def _speed(self, share: float) -> float:
        return share * self.assumed.peak_tflops * 1e12
