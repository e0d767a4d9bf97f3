"""The `vllm` engine: the policy's contract over a model in vLLM's processes.

Everything that does not compute is the `transformers` engine's: how chats become ids, where a completion
ends, how it becomes text and pieces. Weights are exchanged in place, behind a gate: they are checked before
that, and probed before anybody sees a token of theirs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.errors import InvalidInputError, make
from memalpha.policy import checks
from memalpha.policy.architecture import not_loaded
from memalpha.policy.checkpoint import Manifest
from memalpha.policy.local.libraries import transformers
from memalpha.policy.local.model import check_configuration, configuration, loading
from memalpha.policy.local.tokens import Decoder
from memalpha.policy.marks import Mark, Stamps, mark, sealed_mark, stamps
from memalpha.policy.served import Served, duration, model_folder, probe_error, scored
from memalpha.policy.stops import StopWatch
from memalpha.policy.vllm import adapter, files, refusals
from memalpha.policy.vllm.core import Core
from memalpha.policy.vllm.process import Process, device, prepare
from memalpha.policy.vllm.refusals import LEAST_TEMPERATURE, Case
from memalpha.policy.vllm.request import Request
from memalpha.policy.vllm.weights import Lookout, Weights

# Endings of a checkpoint's files that hold no weights: configurations, tokenizers and templates.
_WORDS = {".json", ".jinja", ".model", ".txt"}
# Characters of a schema: reading one this long takes a tenth of a second, in which nothing else is written.
_MOST_SCHEMA = 2**18


class VLLMEngine:
    """One model, loaded and ready. Belongs to one event loop."""

    def __init__(self, settings: PolicySettings, wire_format: str, core: Core | None = None) -> None:
        """Starts vLLM on the model, which takes its time.

        Args:
            settings: name the model.
            wire_format: that it writes.
            core: one that is running on this model, to be shared; it is then not closed with this engine.

        Raises:
            InvalidInputError: ENGINE_NOT_INSTALLED, MODEL_NOT_FOUND, ADAPTER_NOT_FOUND, DEVICE_DIFFERS,
                WIRE_FORMAT_DIFFERS or INVALID_SETTING.
            CorruptionError, UnsupportedError: The folder is no checkpoint that can be served, or the adapter
                none of it.
        """
        folder = model_folder(settings)
        refusals.check(Case.read(folder, settings))
        prepare(settings)
        self._served = Served(settings, wire_format)
        config = configuration(folder)
        self._served.has(vocabulary=config.vocab_size, context=config.max_position_embeddings)
        self._ends, self._config = _ends(folder, config), config.to_dict()
        self._shapes, self._tied = files.shapes(folder), files.tied(folder)
        # vLLM would serve what is no number, and leave a head out that differs from its embedding.
        files.check(folder, self._shapes, is_tied=self._tied)
        if settings.adapter is not None:
            adapter.check_finite(settings.adapter)
        self._own = core is None
        self._core = core or started(settings, self._served)
        self._served.version = self._core.version
        self._rows = _rows(settings)
        self._loading = asyncio.Lock()

    @property
    def load(self) -> tuple[int, int]:
        """Completions in work, and completions that wait."""
        count = self._core.count
        return min(count, self._rows), max(0, count - self._rows)

    @property
    def capacity(self) -> int:
        """See `BoundedEngine`: rows of all copies, and those that wait."""
        return self._rows + self._served.settings.waiting

    @property
    def serving(self) -> bool:
        """Whether completions are to be had at the moment."""
        return self._core.down is None

    def describe(self) -> pb.GetPolicyResponse:
        """See `Engine`."""
        return self._served.description("vllm")

    async def generate(self, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        """See `Engine`.

        Raises:
            InvalidInputError: INVALID_PROMPT, INVALID_SAMPLING or INVALID_SCHEMA.
            OutOfRangeError: PROMPT_TOO_LONG.
            BusyError: POLICY_OVERLOADED.
            UnavailableError: ENGINE_DIED, WEIGHTS_GONE or POLICY_CLOSED.
            InternalError: GENERATION_FAILED.
        """
        job = self._request(request.sampling, self._served.prompt(request))
        self._core.submit(job, self.capacity)
        first = True
        try:
            async for piece in job.pieces():
                yield self._served.reply(job, piece, tokens=request.return_tokens, first=first)
                first = False
        finally:
            job.cancel()

    async def score(self, request: pb.ScoreRequest) -> pb.ScoreResponse:
        """See `ScoringEngine`.

        Raises:
            InvalidInputError: INVALID_PROMPT.
            OutOfRangeError: PROMPT_TOO_LONG.
            UnsupportedError: UNIMPLEMENTED, for a temperature other than 1.
            UnavailableError: As `generate`; SCORES_INTERRUPTED.
            InternalError: GENERATION_FAILED.
        """
        if request.HasField("temperature") and request.temperature != 1:
            raise checks.unimplemented("engine vllm: scores at temperature 1 only")
        scores, version = await self._core.score(self._served.sequences(request))
        return pb.ScoreResponse(scores=scored(scores), policy=self._served.identity(version))

    async def load_weights(self, request: pb.LoadWeightsRequest) -> pb.LoadWeightsResponse:
        """See `LoadingEngine`.

        Raises:
            InvalidInputError: PATH_OUTSIDE_ROOT, WIRE_FORMAT_DIFFERS, INVALID_PROMPT or INVALID_SEQUENCES.
            UnsupportedError: POLICY_VERSION_OLD, or a folder that cannot be served in this model's place.
            CorruptionError: CHECKPOINT_DAMAGED.
            ConflictError: PROBE_FAILED, or WEIGHTS_DIFFER for the number that is served.
            InternalError: LOAD_FAILED; the old weights are served again in a while.
            UnavailableError: ENGINE_DIED, WEIGHTS_GONE or POLICY_CLOSED.
        """
        # A caller who goes away does not stop an exchange half-way.
        return await asyncio.shield(asyncio.ensure_future(self._load_weights(request)))

    async def close(self) -> None:
        """Ends what is in work, and vLLM."""
        if self._own:
            await asyncio.to_thread(self._core.close)

    async def _load_weights(self, request: pb.LoadWeightsRequest) -> pb.LoadWeightsResponse:
        async with self._loading:
            served, wanted = self._served, request.policy_version
            sequences = served.probed(request.probe)
            probe = partial(probe_error, request.probe) if sequences else _no_probe
            if served.is_served(wanted) and not self._core.bare:
                # Nothing is loaded, but the caller may mean other weights by the same number.
                await asyncio.to_thread(self._compare, request)
                found = await self._core.probe(sequences)
                return pb.LoadWeightsResponse(policy=served.identity(wanted), probe_error=probe(found))
            folder = served.below_root(request.path)
            seen, manifest = await asyncio.to_thread(self._checked, folder)
            weights = Weights(folder, wanted, sealed_mark(manifest), seen)
            pause, error = await self._core.exchange(weights, sequences, probe)
            served.serves(manifest, wanted)
            return pb.LoadWeightsResponse(
                policy=served.identity(wanted), pause=duration(pause), probe_error=error
            )

    def _compare(self, request: pb.LoadWeightsRequest) -> None:
        folder = self._served.named_again(request)
        if folder is not None:
            seen, manifest = self._served.seen(folder), self._served.successor(folder)
            check_configuration(folder, self._config)
            self._core.compare(Weights(folder, request.policy_version, sealed_mark(manifest), seen))

    def _checked(self, folder: Path) -> tuple[Stamps, Manifest]:
        """A folder's files before they were read, and what it says of itself."""
        seen, manifest = self._served.seen(folder), self._served.successor(folder)
        check_configuration(folder, self._config)
        files.check(folder, self._shapes, is_tied=self._tied)
        return seen, manifest

    def _request(self, sampling: pb.SamplingParams, prompt: list[int]) -> Request:
        chosen = self._served.sampling(sampling)
        if not chosen.greedy and chosen.temperature < LEAST_TEMPERATURE:
            message = f"sampling.temperature: must be 0 or at least {LEAST_TEMPERATURE} with engine vllm"
            raise make(InvalidInputError, "INVALID_SAMPLING", message, field="sampling.temperature")
        if len(sampling.json_schema) > _MOST_SCHEMA:
            message = (
                f"sampling.json_schema: at most {_MOST_SCHEMA} characters; it has {len(sampling.json_schema)}"
            )
            raise make(InvalidInputError, "INVALID_SCHEMA", message, field="sampling.json_schema")
        return Request(
            prompt,
            chosen,
            seed=checks.chosen(sampling, "seed", secrets.randbits(63)),
            most=self._served.room(prompt, sampling),
            ends=self._ends,
            schema=sampling.json_schema,
            decoder=Decoder(self._served.tokenizer),
            stops=StopWatch(sampling.stop),
            whole=not self._served.settings.stream,
        )


def started(settings: PolicySettings, served: Served) -> Core:
    """vLLM, running on a checkpoint.

    Raises:
        InvalidInputError: DEVICE_DIFFERS.
        UnsupportedError: MODEL_NOT_LOADED.
        InternalError: LOAD_FAILED: files were changed while they were loaded.
    """
    device(settings)
    start = partial(Process.start, served.folder, settings, served.context)
    above = settings.adapter

    def marked(folder: Path) -> Mark:
        return mark(folder) | (adapter.mark(above) if above else {})

    def stamped(folder: Path) -> Stamps:
        return stamps(folder) | (stamps(above) if above else {})

    seen = served.stamps | (stamps(above) if above else {})
    known = sealed_mark(served.manifest) if served.manifest else mark(served.folder)
    base = Weights(served.folder, served.version, known | (adapter.mark(above) if above else {}), seen)
    empty = _without_weights(settings, served) if settings.weights_root else None
    return Core(start, base, Lookout(marked, stamped), empty, rows=_rows(settings))


def _without_weights(settings: PolicySettings, served: Served) -> Callable[[], Process]:
    """Starts vLLM on a copy of all but a checkpoint's weights, whatever becomes of the checkpoint.

    Raises:
        UnsupportedError: MODEL_NOT_LOADED.
    """
    try:
        found = [path for path in served.folder.iterdir() if path.is_file() and path.suffix in _WORDS]
        words = {path.name: path.read_bytes() for path in found}
    except OSError as error:
        raise not_loaded(served.folder, str(error)) from None

    def start() -> Process:
        try:
            # vLLM has read all of it once it runs.
            with TemporaryDirectory(prefix="memalpha-", ignore_cleanup_errors=True) as name:
                for file, text in words.items():
                    (Path(name) / file).write_bytes(text)
                return Process.start(Path(name), settings, served.context, weights=False)
        except OSError as error:
            raise not_loaded(served.folder, f"no copy of its configuration can be made: {error}") from None

    return start


def _rows(settings: PolicySettings) -> int:
    """Sequences that all copies work on at once."""
    return settings.rows * settings.data_parallel


def _ends(folder: Any, config: Any) -> frozenset[int]:
    """Ids that end a completion, as the `transformers` engine has them."""
    generation = config
    if (folder / "generation_config.json").is_file():  # a checkpoint may do without
        with loading(folder):
            generation = transformers.GenerationConfig.from_pretrained(folder, local_files_only=True)
    ids = config.eos_token_id if generation.eos_token_id is None else generation.eos_token_id
    return frozenset([ids] if isinstance(ids, int) else ids or ())


def _no_probe(_scores: list[list[float]]) -> float:
    return 0.0
