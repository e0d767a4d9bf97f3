"""The dry run: everything about a run on many GPUs that one CPU can find out, on one screen.

A checkpoint or adapter that does not fit the network is an error. A rank that does not fit its GPU is a
finding: the report says so and is printed all the same, and `fits` is False.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import floor, log10
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from memalpha.errors import InvalidInputError, make
from memalpha_trainer.config import Config, ScaleTable
from memalpha_trainer.models import starting_model
from memalpha_trainer.scale.architecture import Architecture
from memalpha_trainer.scale.network import Network, bare, build, check_checkpoint, is_tied
from memalpha_trainer.scale.plan import Assumptions, Plan, plan
from memalpha_trainer.scale.step import Memory, measure

Say = Callable[[str], None]
"""Is told what is done next, since each part may take its time."""
_GIB = 1 << 30
_TINY = "a tiny untrained model, as the run makes it"


@dataclass(frozen=True, slots=True)
class Model:
    """What was found about the model.

    Attributes:
        origin: Where its architecture comes from.
        parameters: All, a tied head once.
        trained: Those that get gradients.
        tied: Whether the head is the embedding.
        adapted: Linear layers with an adapter.
        checked: Tensors of the checkpoint whose name and shape were held against the network; 0 without one.
    """

    origin: str
    parameters: int
    trained: int
    tied: bool
    adapted: int
    checked: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a dry run found.

    Attributes:
        memories: As configured first, then with activations handled the other way.
        usable: Bytes of a GPU that a rank may use.
    """

    config: Config
    model: Model
    plan: Plan
    assumed: Assumptions
    memories: tuple[Memory, Memory]
    usable: int

    @property
    def fits(self) -> bool:
        """Whether a rank of the run as configured fits its GPU."""
        return self.memories[0].peak <= self.usable

    def render(self) -> str:
        """The report as text."""
        return "\n".join(
            [*_model(self.model), "", *_work(self), "", *_memory(self), "", *_hours(self), "", self.verdict()]
        )

    def verdict(self) -> str:
        """One line: whether it fits, and what would help."""
        peak, scale = self.memories[0].peak, self.config.scale
        need = f"a rank needs {gib(peak)} of {gib(self.usable)} ({scale.gpu_gib:g} GiB less the reserve)"
        if self.fits:
            return f"Fits: {need}."
        help_ = "raise scale.world or optim.micro_batches, or train adapters (optim.lora_rank)"
        if peak <= scale.gpu_gib * _GIB:
            help_ = f"the reserve is {scale.reserve_gib:g} GiB (scale.reserve_gib); or {help_}"
        if not self.memories[0].checkpointing and self.memories[1].peak <= self.usable:
            help_ = "set optim.gradient_checkpointing"
        return f"DOES NOT FIT: {need}; {help_}."


def dry_run(
    config: Config,
    model_folder: Path | None = None,
    world: int | None = None,
    gpu_gib: float | None = None,
    assumed: Assumptions | None = None,
    say: Say = lambda sentence: None,
) -> Report:
    """Builds, checks, measures and counts; takes a minute or two for four billion parameters.

    Args:
        config: The run.
        model_folder: In place of `policy.model`; a folder named Qwen3-4B need not be there. A tiny model is
            made for it, and thrown away.
        world: In place of `scale.world`.
        gpu_gib: In place of `scale.gpu_gib`.
        assumed: Speeds and lengths for the plan.
        say: Is told what is done.

    Raises:
        InvalidInputError: INVALID_CONFIG, MODEL_NOT_FOUND, UNKNOWN_ARCHITECTURE, CHECKPOINT_UNREADABLE,
            CHECKPOINT_MISMATCH or LORA_TARGET_NOT_FOUND.
        UnsupportedError: ALREADY_DISTRIBUTED.
    """
    config = _sized(config, world, gpu_gib)
    folder = model_folder or config.policy.model
    if folder is not None:
        return _run(config, folder, Architecture.of(folder), assumed or Assumptions(), say)
    say("making the tiny model")
    with TemporaryDirectory() as scratch:
        made = starting_model(config, Path(scratch))
        architecture = replace(Architecture.of(made), origin=_TINY)
        return _run(config, made, architecture, assumed or Assumptions(), say)


def _run(config: Config, folder: Path, architecture: Architecture, assumed: Assumptions, say: Say) -> Report:
    say("building the network on the meta device, and looking at the checkpoint")
    checked = check_checkpoint(folder, bare(architecture)) if folder.exists() else 0
    model = _found(build(architecture, config), architecture, checked)
    say("counting the rows of a collection")
    counted = plan(config, architecture, assumed)
    say("one step under fake tensors, with and without gradient checkpointing")
    first = config.optim.gradient_checkpointing
    memories = [
        measure(architecture, config, counted.micro_rows, checkpointing=each) for each in (first, not first)
    ]
    usable = max(0, int((config.scale.gpu_gib - config.scale.reserve_gib) * _GIB))
    return Report(config, model, counted, assumed, (memories[0], memories[1]), usable)


def _sized(config: Config, world: int | None, gpu_gib: float | None) -> Config:
    given = {"world": world, "gpu_gib": gpu_gib}
    changed = {name: value for name, value in given.items() if value is not None}
    try:
        scale = ScaleTable.model_validate(config.scale.model_dump() | changed)
    except ValidationError as error:
        first = error.errors()[0]
        message = f"{first['loc'][0]}: {first['msg']}; it is {first['input']!r}"
        raise make(InvalidInputError, "INVALID_CONFIG", message, key=first["loc"][0]) from None
    return config.model_copy(update={"scale": scale})


def _found(network: Network, architecture: Architecture, checked: int) -> Model:
    return Model(
        origin=architecture.origin,
        parameters=sum(each.numel() for each in network.outer.parameters()),
        trained=sum(each.numel() for each in network.trained),
        tied=is_tied(network.causal),
        adapted=len(network.adapted),
        checked=checked,
    )


def _model(model: Model) -> Iterator[str]:
    yield f"Model       {model.origin}"
    yield f"            {model.parameters:,} parameters, {model.trained:,} trained"
    yield f"            head {'tied to' if model.tied else 'apart from'} the embedding"
    if model.adapted:
        yield f"            adapters at {model.adapted} linear layers"
    checked = f"{model.checked} tensors have the right names and shapes" if model.checked else "none to check"
    yield f"            checkpoint: {checked}"


def _work(report: Report) -> Iterator[str]:
    plan, world = report.plan, report.config.scale.world
    yield f"Collection  {plan.rollouts:,} rollouts x {plan.stream.chunks:.1f} chunks = {plan.rows:,} rows"
    yield f"            ({plan.stream.origin})"
    yield f"            {plan.prompt_tokens:,} prompt and {plan.completion_tokens:,} completion tokens"
    yield f"            {plan.reader_calls:,} calls of the reader, {plan.judge_calls:,} of the judge"
    yield (
        f"            {plan.updates} optimizer steps, at most {plan.micro_rows} rows a pass on {world} ranks"
        f", {plan.filled:.0%} of rows passed over are filling"
    )


def _memory(report: Report) -> Iterator[str]:
    config, plan = report.config, report.plan
    longest = config.scale.prompt_tokens + config.agent.max_new_tokens
    yield f"Memory of a rank, measured at {plan.micro_rows} rows of {longest:,} tokens, by live tensors"
    first, other = report.memories
    names = [("as configured", first), ("otherwise", other)]
    yield f"            {'':24}{names[0][0]:>14}{names[1][0]:>14}"
    yield _line("gradient checkpointing", *("on" if each.checkpointing else "off" for _, each in names))
    for name in ("parameters", "gradients", "optimizer", "reference"):
        yield _line(name, *(gib(getattr(each, name)) for _, each in names))
    yield _line("kept for backward", *(gib(each.forward) for _, each in names))
    yield _line("peak", *(gib(each.peak) for _, each in names))


def _line(name: str, *values: str) -> str:
    return f"            {name:24}" + "".join(f"{each:>14}" for each in values)


def _hours(report: Report) -> Iterator[str]:
    hours, assumed = report.plan.gpu_hours, report.assumed
    parts = ", ".join(f"{name} {two_digits(value)}" for name, value in hours.items())
    yield f"GPU-hours   {two_digits(sum(hours.values()))} of work a collection: {parts}"
    yield (
        f"            assumed: {assumed.peak_tflops:g} TFLOPS, of which training reaches "
        f"{assumed.training_share:.0%} and reading {assumed.reading_share:.0%};"
    )
    yield (
        f"            the policy writes {assumed.policy_decoding:g} tokens/s a GPU, a reader of "
        f"{assumed.reader_parameters / 1e9:g}B {assumed.reader_decoding:g};"
    )
    plan, scale = report.plan, report.config.scale
    prompt = _mean(plan.prompt_tokens / plan.rows, scale.mean_prompt_tokens, assumed.prompt_share)
    completion = _mean(
        plan.completion_tokens / plan.rows, scale.mean_completion_tokens, assumed.completion_share
    )
    yield f"            mean prompt {prompt}, mean completion {completion};"
    yield f"            {assumed.reader_prompt:g} tokens a question"


def _mean(tokens: float, configured: int, share: float) -> str:
    return f"{tokens:.0f} tokens ({'as configured' if configured else f'{share:.0%} of the longest'})"


def two_digits(value: float) -> str:
    """Two significant digits or more, with no exponent."""
    decimals = 1 - floor(log10(value)) if value else 0
    return f"{value:.{max(0, decimals)}f}"


def gib(size: int) -> str:
    """Bytes for people."""
    return f"{size / _GIB:.2f} GiB"
