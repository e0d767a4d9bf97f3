"""GRPO on rows of chunks, over TRL's trainer: its optimizer, loss and checkpoints, our rollouts and rows.

Two of TRL's private methods are replaced, as they stand in version 1.16.0. `_prepare_inputs` hands out
micro-batches: it asks a `RolloutSource` instead of generating, and packs rows itself, because TRL drops what
does not divide. `_get_per_token_logps_and_entropies` passes over rows without gaps (`forward`). What a step
trains on is decided by its number, the weights and the seed, so that a run that was killed and resumed ends
at the same bits.

The weights of step s have the number s above that of the checkpoint that training started from. A collection
whose rows all have no advantage leaves the weights as they are, momentum or not.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from memalpha.api.policy.v1alpha1.policy_service_pb2 import WeightProbe
from memalpha.errors import InternalError, InvalidInputError, make
from memalpha_trainer.config import Config
from memalpha_trainer.credit.rows import Batch, Row, rows
from memalpha_trainer.grpo.arguments import lora, training_arguments
from memalpha_trainer.grpo.collate import Packed, Tensors, counts, packed
from memalpha_trainer.grpo.forward import scores
from memalpha_trainer.grpo.metrics import Clip, Passes
from memalpha_trainer.grpo.observer import Key, Observer, Silent
from memalpha_trainer.grpo.packing import PADDING
from memalpha_trainer.grpo.ranks import joined, listed, on_main
from memalpha_trainer.grpo.resume import Checkpoints
from memalpha_trainer.grpo.turns import Turns
from memalpha_trainer.records import Rollout
from memalpha_trainer.rollouts.source import RolloutSource, Weights
from memalpha_trainer.weights import WeightFolders, probe, servable

Credit = Callable[..., Batch]
"""`credit.rows.rows` with its configuration: called with rollouts, step and `version=`."""


class ChunkGRPOTrainer(GRPOTrainer):
    """Trains a policy on the rollouts of a source."""

    def __init__(
        self,
        config: Config,
        model: Any,
        tokenizer: Any,
        source: RolloutSource,
        *,
        folders: WeightFolders | None = None,
        observer: Observer | None = None,
        credit: Credit | None = None,
        args: GRPOConfig | None = None,
    ) -> None:
        """Ready to `train`.

        Args:
            config: The run's.
            model: A causal language model in float32; an adapter is put on it if the configuration says so.
            tokenizer: Its tokenizer.
            source: Makes rollouts, and is given new weights.
            folders: Where weights are written; None: nowhere, and the source is given none.
            observer: Hears of the run.
            credit: Makes rows of rollouts.
            args: TRL's arguments; None: those of the configuration.

        Raises:
            InvalidInputError: INVALID_CONFIG, or CHECKPOINT_NOT_SEALED.
        """
        self._config = config
        self._source = source
        self._folders = folders
        self._observer = observer or Silent()
        self._credit = credit or partial(rows, config=config)
        self._first = folders.started_from.policy_version if folders else 1
        self._published = 0
        self._collection: Packed[Row] | None = None
        self._collected_at = 0
        self._inputs: Tensors | None = None
        self._passes = Passes()
        self._scored: list[tuple[int, list[float]]] = []
        self._numbers: dict[str, float] = {}
        self._stopping = False
        _check_reference(config, model)
        args = args or training_arguments(config)
        super().__init__(
            model=model,
            reward_funcs=[_no_reward],
            args=args,
            train_dataset=_placeholders(args),
            processing_class=tokenizer,
            callbacks=[
                Turns(self, config.optim.updates),
                Checkpoints(config.save.keep, config.optim.updates),
            ],
            peft_config=lora(config),
        )
        self.remove_callback(PrinterCallback)

    @property
    def version(self) -> int:
        """Number of the weights as they are."""
        return self._first + self.state.global_step

    @property
    def idle(self) -> bool:
        """Whether no row of the optimizer step at hand can move the weights; see `packing.pack`."""
        if self._collection is None:
            return False
        return self.state.global_step - self._collected_at >= len(self._collection.rows)

    @property
    def stopping(self) -> bool:
        """Whether training is to end before the next collection."""
        return self._stopping

    def stop_soon(self) -> None:
        """Ends training with a checkpoint before the next collection; a signal's handler may call it."""
        self._stopping = True

    def check_first(self) -> None:
        """Has the source compare the weights that it serves with those that training starts from.

        Called before `train`, by the main process alone.

        Raises:
            MemalphaError: They are others.
        """
        if self._folders is not None:
            with self.accelerator.autocast():
                asked = probe(self.model, self.version, self._folders.dtype)
            self._source.publish(Weights(self._folders.base, self.version, asked))

    def publish(self) -> None:
        """Gives the source the weights as they are, unless it has them. Called on all ranks.

        Raises:
            MemalphaError: They are not served.
        """
        if self._folders is None or self.version == self._published:
            return
        begin = time.perf_counter()
        # The first weights are the checkpoint's, and stand where it stands.
        state = {} if self.version == self._first else self._state()
        with self.accelerator.autocast():
            asked = probe(self.model_wrapped, self.version, self._folders.dtype)
        on_main(self.accelerator, lambda: self._serve(state, asked))
        self._published = self.version
        self._numbers["seconds/publish"] = time.perf_counter() - begin

    def _prepare_inputs(self, generation_batch: Any) -> Tensors:
        place = self._step % self.args.steps_per_generation
        if place == 0:
            self._collection = self._collect()
        assert self._collection is not None
        inputs = self._collection.tensors[place]
        return {name: value.to(self.accelerator.device) for name, value in inputs.items()}

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's loss of a micro-batch, looked at."""
        self._inputs = inputs
        try:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        finally:
            self._inputs = None

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *_: Any, **__: Any
    ) -> tuple[Any, Any, None]:
        with self.accelerator.autocast():
            logprobs, entropies = scores(model, input_ids, attention_mask, logits_to_keep)
        if self._inputs is not None:
            self._passes.add(self._inputs, logprobs, entropies)
            self._scored += zip(self._inputs["row"].tolist(), logprobs.detach().tolist(), strict=True)
        return logprobs, entropies, None

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs the numbers of an optimizer step, ours in the place of TRL's."""
        if "loss" in logs:
            seconds = sum(self._metrics["train"]["step_time"])
            self._metrics["train"] = defaultdict(
                list, {name: [value] for name, value in self._step_numbers(seconds).items()}
            )
        super().log(logs, start_time)
        if "loss" in logs:
            self._tell(logs)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Writes none: a run has a report of its own."""

    def _send_telemetry(self) -> None:
        """Tells nobody."""

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Says what a checkpoint lacks, among which a tied head, which stands in no file, is not counted."""
        if self._tied():
            missing = [name for name in load_result.missing_keys if not name.endswith("lm_head.weight")]
            load_result = load_result._replace(missing_keys=missing)
        super()._issue_warnings_after_load(load_result)

    def _collect(self) -> Packed[Row]:
        self.publish()
        step = self.state.global_step
        begin = time.perf_counter()
        batch = on_main(self.accelerator, lambda: self._batch(step))
        self._numbers["seconds/collect"] = time.perf_counter() - begin
        collection = packed(
            batch.rows,
            updates=self._config.optim.updates,
            micro_batches=self._config.optim.micro_batches,
            pad=self._tokenizer.pad_token_id,
            ranks=self.accelerator.num_processes,
            rank=self.accelerator.process_index,
            seed=self._config.seed * 1_000_003 + step,
            kl=self.beta > 0,
        )
        self._numbers |= _counted(batch, collection)
        self._collected_at, self._scored = step, []
        return self._referred(collection) if self.beta else collection

    def _batch(self, step: int) -> Batch:
        rollouts: Sequence[Rollout] = self._source.collect(step)
        batch = self._credit(rollouts, seed_step=step, version=self.version)
        self._observer.collected(step, rollouts, batch)
        return batch

    def _referred(self, collection: Packed[Row]) -> Packed[Row]:
        """The collection with the logprobs of the checkpoint that training started from, for the KL term."""
        for inputs in collection.tensors:
            moved = {name: value.to(self.accelerator.device) for name, value in inputs.items()}
            inputs["ref_per_token_logps"] = self._reference(moved).cpu()
        return collection

    def _reference(self, inputs: Tensors) -> torch.Tensor:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        model = self.model_wrapped if self.ref_model is None else self.ref_model
        # An adapter's reference is the network below it.
        below = (
            self.accelerator.unwrap_model(self.model).disable_adapter()
            if self.ref_model is None
            else nullcontext()
        )
        with torch.no_grad(), below, self.accelerator.autocast():
            return scores(model, ids, mask, inputs["completion_ids"].shape[1])[0]

    def _all_scored(self) -> dict[Key, list[float]]:
        """The trainer's logprobs of all rows of the collection, each of which went through the loss once.

        Raises:
            InternalError: ROWS_LOST.
        """
        assert self._collection is not None
        rows, passed = self._collection.rows, [each for each in listed(self._scored) if each[0] != PADDING]
        if sorted(place for place, _ in passed) != list(range(len(rows))):
            message = (
                f"step {self._collected_at} trained on {len(passed)} rows of {len(rows)}, or on one twice"
            )
            raise make(InternalError, "ROWS_LOST", message, planned=len(rows), trained=len(passed))
        return {
            (*rows[place].rollout, rows[place].sample): values[: len(rows[place].completion_ids)]
            for place, values in passed
        }

    def _state(self) -> dict[str, torch.Tensor]:
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        state = self.accelerator.get_state_dict(self.model) if sharded else self.model.state_dict()
        if not self.accelerator.is_main_process:
            return {}
        optim = self._config.optim
        return servable(
            state,
            tied=self._tied(),
            scaling=optim.lora_alpha / optim.lora_rank if optim.lora_rank else None,
        )

    def _tied(self) -> bool:
        """Whether the head is the embedding."""
        return bool(self.model.config.get_text_config().tie_word_embeddings)

    def _serve(self, state: dict[str, torch.Tensor], asked: WeightProbe) -> None:
        assert self._folders is not None
        if self.version == self._first:
            self._source.publish(Weights(self._folders.base, self.version, asked))
            return
        folder = self._folders.write(state, self.version, asked)
        self._numbers["publish/bytes"] = float(sum(path.stat().st_size for path in folder.iterdir()))
        self._source.publish(Weights(folder, self.version, asked))

    def _step_numbers(self, seconds: float) -> dict[str, float]:
        """All numbers of the optimizer step that has ended, which are then forgotten."""
        fresh = self.state.global_step == self._collected_at + 1
        clip = Clip(self.epsilon_low, self.epsilon_high)
        numbers = self._numbers | self._passes.numbers(clip, joined, fresh=fresh)
        waited = sum(self._numbers.get(name, 0.0) for name in ("seconds/collect", "seconds/publish"))
        numbers |= {"seconds/train": seconds - waited, "version/trained": float(self.version)}
        self._passes, self._numbers = Passes(), {}
        return numbers

    def _tell(self, logs: dict[str, float]) -> None:
        step = self.state.global_step
        if step - self._collected_at == self._config.optim.updates:
            scored = self._all_scored()
            if self.accelerator.is_main_process:
                self._observer.scored(self._collected_at, scored)
        if self.accelerator.is_main_process:
            self._observer.stepped(
                step, {name: float(value) for name, value in logs.items() if value is not None}
            )


def _counted(batch: Batch, collection: Packed[Row]) -> dict[str, float]:
    widths = [(each["prompt_mask"].sum(1) + each["completion_mask"].sum(1)) for each in collection.tensors]
    cells = sum(len(each) * int(each.max()) for each in widths)
    trained = sum(counts(row) for row in batch.rows)
    return batch.stats | {
        "rows/passed": float(len(collection.rows)),
        "rows/passed_tokens": float(sum(len(row.completion_ids) for row in collection.rows)),
        "rows/idle": float(trained - len(collection.rows)),
        "padding/share": 1 - sum(int(each.sum()) for each in widths) / cells,
    }


def _placeholders(args: GRPOConfig) -> Dataset:
    """As many prompts as TRL wants to count, for all steps of a run."""
    assert args.steps_per_generation is not None
    collections = args.max_steps * args.gradient_accumulation_steps // args.steps_per_generation
    return Dataset.from_dict({"prompt": [""] * (args.world_size * args.steps_per_generation * collections)})


def _check_reference(config: Config, model: Any) -> None:
    """Refuses a KL term without the checkpoint that it is measured from."""
    if config.optim.kl and not config.optim.lora_rank and not Path(model.config.name_or_path or "-").is_dir():
        message = "optim.kl needs a model that was loaded from a folder, which is then its reference"
        raise make(InvalidInputError, "INVALID_CONFIG", message, key="optim.kl")


def _no_reward(**_: Any) -> list[float]:
    raise make(InternalError, "NOT_CALLED", "rewards come with rows")
