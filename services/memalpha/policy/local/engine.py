"""The `transformers` engine: the policy's contract over a model in this process.

Weights are exchanged without a gap: new ones are read, checked against the probe and only then handed to the
worker, which takes them between two steps; until that moment the old ones are served as if nothing were.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.policy import checks
from memalpha.policy.checkpoint import Manifest
from memalpha.policy.local import libraries
from memalpha.policy.local.job import Job
from memalpha.policy.local.libraries import torch
from memalpha.policy.local.model import Model, check_configuration, configuration
from memalpha.policy.local.tokens import Decoder
from memalpha.policy.local.worker import Worker
from memalpha.policy.marks import Stamps, check_same, check_untouched, mark, sealed_mark
from memalpha.policy.served import Served, duration, model_folder, probe_error, scored
from memalpha.policy.stops import StopWatch


class TransformersEngine:
    """One model, loaded and ready. Belongs to one event loop."""

    def __init__(self, settings: PolicySettings, wire_format: str) -> None:
        """Loads the model, which takes its time.

        Raises:
            InvalidInputError: ENGINE_NOT_INSTALLED, MODEL_NOT_FOUND or WIRE_FORMAT_DIFFERS.
            CorruptionError, UnsupportedError: The folder is no checkpoint that can be served.
            InternalError: LOAD_FAILED: its files were changed meanwhile.
        """
        folder = model_folder(settings)
        libraries.prepare(settings.threads)
        self._served = Served(settings, wire_format)
        self._model = Model.load(folder, _device(settings.device), settings.dtype)
        self._served.has(vocabulary=self._model.vocabulary, context=self._model.context)
        self._ends = self._model.ends()
        self._configuration = configuration(folder).to_dict()
        # Only weights that are exchanged are ever compared.
        self._mark = mark(folder) if settings.weights_root else {}
        self._check_untouched(self._served.folder, self._served.version, self._served.stamps)
        self._worker = Worker(
            self._model,
            self._served.version,
            rows=settings.rows,
            waiting=settings.waiting,
            batch_invariant=settings.batch_invariant,
        )
        # Scores and loads; one at a time, beside the generation.
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="policy-beside")
        self._loading = asyncio.Lock()

    @property
    def load(self) -> tuple[int, int]:
        """Completions in work, and completions that wait."""
        return self._worker.load

    @property
    def capacity(self) -> int:
        """See `BoundedEngine`."""
        return self._served.settings.rows + self._served.settings.waiting

    def describe(self) -> pb.GetPolicyResponse:
        """See `Engine`."""
        return self._served.description("transformers")

    async def generate(self, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        """See `Engine`.

        Raises:
            InvalidInputError: INVALID_PROMPT.
            OutOfRangeError: PROMPT_TOO_LONG.
            BusyError: POLICY_OVERLOADED.
            UnsupportedError: UNIMPLEMENTED, for a JSON schema.
            InternalError: GENERATION_FAILED.
        """
        if request.sampling.json_schema:
            raise checks.unimplemented("engine transformers: has no grammars")
        job = self._job(request, self._served.prompt(request))
        self._worker.submit(job)
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
            InternalError: GENERATION_FAILED.
        """
        model, version = self._model, self._served.version
        sequences = self._served.sequences(request)
        temperature = request.temperature if request.HasField("temperature") else 1.0
        run = asyncio.get_running_loop().run_in_executor
        scores = await run(self._beside, model.score, sequences, temperature)
        return pb.ScoreResponse(scores=scored(scores), policy=self._served.identity(version))

    async def load_weights(self, request: pb.LoadWeightsRequest) -> pb.LoadWeightsResponse:
        """See `LoadingEngine`.

        Raises:
            InvalidInputError: PATH_OUTSIDE_ROOT, WIRE_FORMAT_DIFFERS, INVALID_PROMPT or INVALID_SEQUENCES.
            UnsupportedError: POLICY_VERSION_OLD, or a folder that cannot be served in this model's place.
            CorruptionError: CHECKPOINT_DAMAGED.
            ConflictError: PROBE_FAILED, or WEIGHTS_DIFFER for the number that is served.
            InternalError: LOAD_FAILED: files of the folder were changed while they were read.
        """
        # A caller who goes away does not stop an exchange half-way.
        return await asyncio.shield(asyncio.ensure_future(self._load_weights(request)))

    async def close(self) -> None:
        """Ends what is in work, and the threads."""
        await asyncio.to_thread(self._worker.close)
        self._beside.shutdown(wait=False, cancel_futures=True)

    async def _load_weights(self, request: pb.LoadWeightsRequest) -> pb.LoadWeightsResponse:
        async with self._loading:
            wanted, run = request.policy_version, asyncio.get_running_loop().run_in_executor
            if self._served.is_served(wanted):
                # Nothing is loaded, but the caller may mean other weights by the same number.
                error = await run(self._beside, self._compared, request)
                return pb.LoadWeightsResponse(policy=self._served.identity(wanted), probe_error=error)
            folder = self._served.below_root(request.path)
            manifest, model, error = await run(self._beside, self._checked_weights, folder, request)
            pause = await asyncio.wrap_future(self._worker.exchange(model, wanted))
            self._model, self._mark = model, sealed_mark(manifest)
            self._served.serves(manifest, wanted)
            return pb.LoadWeightsResponse(
                policy=self._served.identity(wanted), pause=duration(pause), probe_error=error
            )

    def _job(self, request: pb.GenerateRequest, prompt: list[int]) -> Job:
        sampling = request.sampling
        seed = checks.chosen(sampling, "seed", secrets.randbits(63))
        return Job(
            prompt,
            self._served.sampling(sampling),
            torch.Generator(self._model.device).manual_seed(seed),
            most=self._served.room(prompt, sampling),
            ends=self._ends,
            decoder=Decoder(self._served.tokenizer),
            stops=StopWatch(sampling.stop),
            whole=not self._served.settings.stream,
        )

    def _checked_weights(self, folder: Path, request: pb.LoadWeightsRequest) -> tuple[Manifest, Model, float]:
        """What a folder says of itself, a model with its weights, and how far that is from the probe."""
        seen, manifest = self._served.seen(folder), self._served.successor(folder)
        check_configuration(folder, self._configuration)
        model = self._model.with_weights(folder)
        self._check_untouched(folder, request.policy_version, seen)
        return manifest, model, self._probed(model, request.probe)

    def _check_untouched(self, folder: Path, version: int, before: Stamps) -> None:
        """Refuses weights that may not be those that were checked."""
        check_untouched(folder, version, before, self._served.seen(folder))

    def _compared(self, request: pb.LoadWeightsRequest) -> float:
        """How far the weights that are served are from the probe, once they are those of the request."""
        folder = self._served.named_again(request)
        if folder is not None:
            found = sealed_mark(self._served.successor(folder))
            check_configuration(folder, self._configuration)
            check_same(folder, request.policy_version, found, self._mark)
        return self._probed(self._model, request.probe)

    def _probed(self, model: Model, probe: pb.WeightProbe) -> float:
        sequences = self._served.probed(probe)
        return probe_error(probe, model.score(sequences)) if sequences else 0.0


def _device(wanted: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
