"""The `transformers` engine: the policy's contract over a model in this process.

Weights are exchanged without a gap: new ones are read, checked against the probe and only then handed to the
worker, which takes them between two steps; until that moment the old ones are served as if nothing were.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.errors import ConflictError, InvalidInputError, OutOfRangeError, UnsupportedError, make
from memalpha.policy import checks
from memalpha.policy.checkpoint import Manifest, tokenizer_digest, verified
from memalpha.policy.local import libraries
from memalpha.policy.local.job import Job, Piece
from memalpha.policy.local.libraries import torch
from memalpha.policy.local.model import Model
from memalpha.policy.local.sampling import Sampling
from memalpha.policy.local.tokens import Decoder, Tokenizer
from memalpha.policy.local.worker import Worker
from memalpha.policy.stops import StopWatch

# What a probe may be off where it does not say; float32 on other hardware stays a tenth of it below.
_TOLERANCE = 1e-3
# Characters of a path that an error repeats.
_SHOWN_PATH = 200


class TransformersEngine:
    """One model, loaded and ready. Belongs to one event loop."""

    def __init__(self, settings: PolicySettings, wire_format: str) -> None:
        """Loads the model, which takes its time.

        Raises:
            InvalidInputError: ENGINE_NOT_INSTALLED, MODEL_NOT_FOUND or WIRE_FORMAT_DIFFERS.
            CorruptionError, UnsupportedError: The folder is no checkpoint that can be served.
        """
        folder = Path(settings.model).expanduser()
        if not (folder / "config.json").is_file():
            message = f"policy.model must be the folder of a checkpoint, with a config.json; it is {folder}"
            raise make(InvalidInputError, "MODEL_NOT_FOUND", message, path=folder)
        libraries.prepare(settings.threads)
        self._manifest = verified(folder)
        _check_wire_format(folder, self._manifest, wire_format)
        self._wire_format = wire_format
        self._folder = folder.resolve()
        self._root = settings.weights_root
        self._digest = tokenizer_digest(folder)
        self._tokenizer = Tokenizer(folder, thinking=settings.thinking)
        self._model = Model.load(folder, _device(settings.device), settings.dtype)
        self._version = self._manifest.policy_version if self._manifest else 1
        self._context = min(self._model.context, settings.context_tokens or self._model.context)
        self._settings = settings
        self._ends = self._model.ends()
        self._worker = Worker(self._model, self._version, rows=settings.rows, waiting=settings.waiting)
        # Scores and loads; one at a time, beside the generation.
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="policy-beside")
        self._loading = asyncio.Lock()

    @property
    def load(self) -> tuple[int, int]:
        """Completions in work, and completions that wait."""
        return self._worker.load

    def describe(self) -> pb.GetPolicyResponse:
        """See `Engine`."""
        return pb.GetPolicyResponse(
            policy=self._identity(self._version),
            engine="transformers",
            max_context_tokens=self._context,
            wire_format=self._wire_format,
            model=self._folder.name,
            tokenizer_digest=self._digest,
            scores=True,
            loads_weights=self._root is not None,
            trained_with=self._manifest.trained_with.message() if self._manifest else None,
        )

    async def generate(self, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        """See `Engine`.

        Raises:
            InvalidInputError: INVALID_PROMPT.
            OutOfRangeError: PROMPT_TOO_LONG.
            BusyError: POLICY_OVERLOADED.
            UnsupportedError: UNIMPLEMENTED, for a JSON schema.
        """
        if request.sampling.json_schema:
            raise checks.unimplemented("engine transformers: has no grammars")
        job = self._job(request, self._prompt(request))
        self._worker.submit(job)
        first = True
        try:
            async for piece in job.pieces():
                yield self._reply(job, piece, request.return_tokens, first=first)
                first = False
        finally:
            job.cancel()

    async def score(self, request: pb.ScoreRequest) -> pb.ScoreResponse:
        """See `ScoringEngine`.

        Raises:
            InvalidInputError: INVALID_PROMPT.
            OutOfRangeError: PROMPT_TOO_LONG.
        """
        model, version = self._model, self._version
        sequences = [self._known(sequence.token_ids) for sequence in request.sequences]
        longest = max(map(len, sequences))
        if longest > self._context:
            message = f"sequences: at most {self._context} tokens each; there is one of {longest}"
            raise make(OutOfRangeError, "PROMPT_TOO_LONG", message, limit=self._context, actual=longest)
        temperature = request.temperature if request.HasField("temperature") else 1.0
        run = asyncio.get_running_loop().run_in_executor
        scores = await run(self._beside, model.score, sequences, temperature)
        replies = [pb.SequenceScore(logprobs=found) for found in scores]
        return pb.ScoreResponse(scores=replies, policy=self._identity(version))

    async def load_weights(self, request: pb.LoadWeightsRequest) -> pb.LoadWeightsResponse:
        """See `LoadingEngine`.

        Raises:
            InvalidInputError: PATH_OUTSIDE_ROOT, WIRE_FORMAT_DIFFERS, INVALID_PROMPT or INVALID_SEQUENCES.
            UnsupportedError: POLICY_VERSION_OLD, or a folder that cannot be served in this model's place.
            CorruptionError: CHECKPOINT_DAMAGED.
            ConflictError: PROBE_FAILED.
        """
        # A caller who goes away does not stop an exchange half-way.
        return await asyncio.shield(asyncio.ensure_future(self._load_weights(request)))

    async def close(self) -> None:
        """Ends what is in work, and the threads."""
        await asyncio.to_thread(self._worker.close)
        self._beside.shutdown(wait=False, cancel_futures=True)

    async def _load_weights(self, request: pb.LoadWeightsRequest) -> pb.LoadWeightsResponse:
        async with self._loading:
            wanted = request.policy_version
            if wanted == self._version:
                return pb.LoadWeightsResponse(policy=self._identity(wanted))
            if wanted < self._version:
                message = f"policy_version {wanted}: version {self._version} is served, and it only goes up"
                raise make(UnsupportedError, "POLICY_VERSION_OLD", message, served=self._version)
            folder = self._below_root(request.path)
            run = asyncio.get_running_loop().run_in_executor
            manifest, model, error = await run(self._beside, self._checked_weights, folder, request.probe)
            pause = await asyncio.wrap_future(self._worker.exchange(model, wanted))
            self._manifest, self._model, self._version = manifest, model, wanted
            return pb.LoadWeightsResponse(
                policy=self._identity(wanted), pause=_duration(pause), probe_error=error
            )

    def _prompt(self, request: pb.GenerateRequest) -> list[int]:
        if request.HasField("tokens"):
            return self._known(request.tokens.token_ids)
        return self._tokenizer.chat(checks.messages(request), request.chat.tools_json)

    def _known(self, ids: Sequence[int]) -> list[int]:
        most = self._model.vocabulary
        if not ids or max(ids) >= most:
            message = f"token_ids must be at least one, each below {most}"
            raise make(InvalidInputError, "INVALID_PROMPT", message, vocabulary=most)
        return list(ids)

    def _job(self, request: pb.GenerateRequest, prompt: list[int]) -> Job:
        sampling = request.sampling
        seed = checks.chosen(sampling, "seed", secrets.randbits(63))
        return Job(
            prompt,
            _sampling(sampling, self._settings),
            torch.Generator(self._model.device).manual_seed(seed),
            most=checks.room(len(prompt), self._context, sampling, self._settings.max_tokens),
            ends=self._ends,
            decoder=Decoder(self._tokenizer),
            stops=StopWatch(sampling.stop),
        )

    def _reply(self, job: Job, piece: Piece, tokens: bool, *, first: bool) -> pb.GenerateResponse:
        reply = pb.GenerateResponse(
            text=piece.text, finish_reason=piece.reason, policy=self._identity(piece.version)
        )
        if piece.reason:
            reply.usage.prompt_tokens = len(job.prompt)
            reply.usage.completion_tokens = len(job.new)
        if tokens:
            reply.token_ids.extend(piece.ids)
            reply.logprobs.extend(piece.logprobs)
            reply.prompt_token_ids.extend(job.prompt if first else ())
        return reply

    def _identity(self, version: int) -> pb.PolicyIdentity:
        return pb.PolicyIdentity(policy_id=self._folder.name, policy_version=version)

    def _below_root(self, path: str) -> Path:
        assert self._root is not None
        root = self._root.expanduser().resolve()
        folder = _folder(root, path)
        if folder is None:
            # An error travels in a header, which has little room.
            shown = path[:_SHOWN_PATH]
            message = f"path must be a folder below {root}; it is {shown!r}"
            raise make(InvalidInputError, "PATH_OUTSIDE_ROOT", message, path=shown, root=root)
        return folder

    def _checked_weights(self, folder: Path, probe: pb.WeightProbe) -> tuple[Manifest, Model, float]:
        """What a folder says of itself, a model with its weights, and how far that is from the probe."""
        manifest = verified(folder)
        if manifest is None or manifest.tokenizer_digest != self._digest:
            found = manifest.tokenizer_digest if manifest else "without a memalpha.json"
            message = (
                f"checkpoint {folder}: its tokenizer must be the served one, {self._digest}; it is {found}"
            )
            raise make(UnsupportedError, "TOKENIZER_DIFFERS", message, path=folder)
        _check_wire_format(folder, manifest, self._wire_format)
        model = self._model.with_weights(folder)
        return manifest, model, self._probe_error(model, probe)

    def _probe_error(self, model: Model, probe: pb.WeightProbe) -> float:
        if not probe.sequences:
            return 0.0
        checks.check_sequences(probe.sequences)
        longest = max(len(each.token_ids) for each in probe.sequences)
        if longest > self._context:
            message = f"probe: at most {self._context} tokens a sequence; there is one of {longest}"
            raise make(InvalidInputError, "INVALID_SEQUENCES", message, limit=self._context, actual=longest)
        found = model.score([self._known(each.token_ids) for each in probe.sequences])
        error = _distance(found, [list(each.logprobs) for each in probe.scores])
        allowed = probe.tolerance or _TOLERANCE
        # What cannot be compared is off, whatever is allowed.
        if not error <= allowed or math.isinf(error):
            message = f"the new weights are off the probe by {error:.3g}; allowed is {allowed:.3g}"
            raise make(ConflictError, "PROBE_FAILED", message, error=error, tolerance=allowed)
        return error


def _sampling(asked: pb.SamplingParams, settings: PolicySettings) -> Sampling:
    return Sampling(
        temperature=checks.chosen(asked, "temperature", settings.temperature),
        top_p=checks.chosen(asked, "top_p", settings.top_p),
        top_k=checks.chosen(asked, "top_k", settings.top_k),
        min_p=checks.chosen(asked, "min_p", settings.min_p),
    )


def _check_wire_format(folder: Path, manifest: Manifest | None, wire_format: str) -> None:
    if manifest is None or manifest.trained_with.wire_format == wire_format:
        return
    trained = manifest.trained_with.wire_format
    message = f"checkpoint {folder} writes {trained!r}; wire_format must be that, not {wire_format!r}"
    raise make(InvalidInputError, "WIRE_FORMAT_DIFFERS", message, trained=trained, wire_format=wire_format)


def _folder(root: Path, path: str) -> Path | None:
    """The folder at a path below a root; None if there is none."""
    try:
        folder = (root / path).resolve()
        return folder if path and folder.is_relative_to(root) and folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # no file can have this name, or its links go in circles
        return None


def _device(wanted: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


def _distance(found: list[list[float]], expected: list[list[float]]) -> float:
    """Largest difference; infinite if the shapes differ or something is no number."""
    if [len(each) for each in found] != [len(each) for each in expected]:
        return math.inf
    pairs = (pair for rows in zip(found, expected, strict=True) for pair in zip(*rows, strict=True))
    off = [abs(one - other) for one, other in pairs]
    # Of NaN, `max` would keep or drop it by its place.
    return math.inf if any(map(math.isnan, off)) else max(off, default=0.0)


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
