"""A checkpoint as it is served: who it is, how prompts and replies are read, which other weights may follow.

What all engines with a model of their own have in common, whatever computes; no library of models is needed
but for the tokenizer's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.errors import (
    ConflictError,
    InternalError,
    InvalidInputError,
    OutOfRangeError,
    UnsupportedError,
    make,
)
from memalpha.policy import checks
from memalpha.policy.architecture import not_loaded
from memalpha.policy.checkpoint import Manifest, tokenizer_digest, verified
from memalpha.policy.local.job import Job, Piece
from memalpha.policy.local.sampling import Sampling
from memalpha.policy.local.tokens import Tokenizer
from memalpha.policy.marks import Stamps, stamps

# What a probe may be off where it does not say; float32 on other hardware stays a tenth of it below.
_TOLERANCE = 1e-3
# Characters of a path that an error repeats.
_SHOWN_PATH = 200


class Served:
    """A checkpoint's folder and what is known of it; `version` and `manifest` change with the weights.

    `stamps` are of its files before any was read.
    """

    def __init__(self, settings: PolicySettings, wire_format: str) -> None:
        """Checks the folder and loads its tokenizer.

        Raises:
            InvalidInputError: WIRE_FORMAT_DIFFERS.
            CorruptionError, UnsupportedError: The folder is no checkpoint that can be served.
        """
        folder = model_folder(settings)
        self.stamps = self.seen(folder.resolve())
        self.manifest = verified(folder)
        _check_wire_format(folder, self.manifest, wire_format)
        self.folder = folder.resolve()
        self.settings = settings
        self.digest = tokenizer_digest(folder)
        self.tokenizer = Tokenizer(folder, thinking=settings.thinking)
        self.version = self.manifest.policy_version if self.manifest else 1
        self.vocabulary = 0
        self.context = 0
        self._wire_format = wire_format

    def has(self, *, vocabulary: int, context: int) -> None:
        """Is told what the model can: ids below `vocabulary`, and most tokens."""
        self.vocabulary = vocabulary
        self.context = min(context, self.settings.context_tokens or context)

    @property
    def name(self) -> str:
        """The checkpoint's, and that of the adapter on it if there is one."""
        above = self.settings.adapter
        return f"{self.folder.name}+{above.resolve().name}" if above else self.folder.name

    def identity(self, version: int) -> pb.PolicyIdentity:
        """The policy under weights of that number."""
        return pb.PolicyIdentity(policy_id=self.name, policy_version=version)

    def description(self, engine: str) -> pb.GetPolicyResponse:
        """What `GetPolicy` says."""
        return pb.GetPolicyResponse(
            policy=self.identity(self.version),
            engine=engine,
            max_context_tokens=self.context,
            wire_format=self._wire_format,
            model=self.name,
            tokenizer_digest=self.digest,
            scores=True,
            loads_weights=self.settings.weights_root is not None,
            trained_with=self.manifest.trained_with.message() if self.manifest else None,
        )

    def prompt(self, request: pb.GenerateRequest) -> list[int]:
        """A request's prompt as ids.

        Raises:
            InvalidInputError: INVALID_PROMPT.
        """
        if request.HasField("tokens"):
            return self.known(request.tokens.token_ids)
        return self.tokenizer.chat(checks.messages(request), request.chat.tools_json)

    def known(self, ids: Sequence[int]) -> list[int]:
        """Ids, each of which the model has.

        Raises:
            InvalidInputError: INVALID_PROMPT.
        """
        most = self.vocabulary
        if not ids or max(ids) >= most:
            message = f"token_ids must be at least one, each below {most}"
            raise make(InvalidInputError, "INVALID_PROMPT", message, vocabulary=most)
        return list(ids)

    def sampling(self, asked: pb.SamplingParams) -> Sampling:
        """How to sample, the policy's own defaults filled in."""
        own = self.settings
        return Sampling(
            temperature=checks.chosen(asked, "temperature", own.temperature),
            top_p=checks.chosen(asked, "top_p", own.top_p),
            top_k=checks.chosen(asked, "top_k", own.top_k),
            min_p=checks.chosen(asked, "min_p", own.min_p),
        )

    def room(self, prompt: Sequence[int], sampling: pb.SamplingParams) -> int:
        """Most new tokens; see `checks.room`."""
        return checks.room(len(prompt), self.context, sampling, self.settings.max_tokens)

    def reply(self, job: Job, piece: Piece, *, tokens: bool, first: bool) -> pb.GenerateResponse:
        """A piece as it goes out."""
        reply = pb.GenerateResponse(
            text=piece.text, finish_reason=piece.reason, policy=self.identity(piece.version)
        )
        if piece.reason:
            reply.usage.prompt_tokens = len(job.prompt)
            reply.usage.completion_tokens = len(job.new)
            reply.usage.cached_tokens = job.cached
        if tokens:
            reply.token_ids.extend(piece.ids)
            reply.logprobs.extend(piece.logprobs)
            reply.prompt_token_ids.extend(job.prompt if first else ())
        return reply

    def sequences(self, request: pb.ScoreRequest) -> list[list[int]]:
        """What is to be scored, as ids.

        Raises:
            InvalidInputError: INVALID_PROMPT.
            OutOfRangeError: PROMPT_TOO_LONG.
        """
        found = [self.known(each.token_ids) for each in request.sequences]
        longest = max(map(len, found))
        if longest > self.context:
            message = f"sequences: at most {self.context} tokens each; there is one of {longest}"
            raise make(OutOfRangeError, "PROMPT_TOO_LONG", message, limit=self.context, actual=longest)
        return found

    def probed(self, probe: pb.WeightProbe) -> list[list[int]]:
        """A probe's sequences as ids; none if there is no probe.

        Raises:
            InvalidInputError: INVALID_SEQUENCES or INVALID_PROMPT.
        """
        if not probe.sequences:
            return []
        checks.check_sequences(probe.sequences)
        longest = max(len(each.token_ids) for each in probe.sequences)
        if longest > self.context:
            message = f"probe: at most {self.context} tokens a sequence; there is one of {longest}"
            raise make(InvalidInputError, "INVALID_SEQUENCES", message, limit=self.context, actual=longest)
        return [self.known(each.token_ids) for each in probe.sequences]

    def is_served(self, version: int) -> bool:
        """Whether weights of that number are served already.

        Raises:
            UnsupportedError: POLICY_VERSION_OLD.
        """
        if version < self.version:
            message = f"policy_version {version}: version {self.version} is served, and it only goes up"
            raise make(UnsupportedError, "POLICY_VERSION_OLD", message, served=self.version)
        return version == self.version

    def below_root(self, path: str) -> Path:
        """The folder that a request for other weights names.

        Raises:
            InvalidInputError: PATH_OUTSIDE_ROOT.
        """
        assert self.settings.weights_root is not None
        root = self.settings.weights_root.expanduser().resolve()
        folder = _folder(root, path)
        if folder is None:
            # An error travels in a header, which has little room.
            shown = path[:_SHOWN_PATH]
            message = f"path must be a folder below {root}; it is {shown!r}"
            raise make(InvalidInputError, "PATH_OUTSIDE_ROOT", message, path=shown, root=root)
        return folder

    def named_again(self, request: pb.LoadWeightsRequest) -> Path | None:
        """The folder in a request for the weights that are served already; None if a probe alone can tell.

        Raises:
            InvalidInputError: PATH_OUTSIDE_ROOT: there is neither a folder nor a probe.
        """
        try:
            return self.below_root(request.path)
        except InvalidInputError:
            if not request.probe.sequences:
                raise
            return None

    def seen(self, folder: Path) -> Stamps:
        """Stamps of a folder's files, to be taken before it is checked; see `marks.check_untouched`.

        Raises:
            UnsupportedError: MODEL_NOT_LOADED.
        """
        try:
            return stamps(folder)
        except OSError as error:
            raise not_loaded(folder, str(error)) from None

    def successor(self, folder: Path) -> Manifest:
        """What a folder of other weights says of itself, if they may be served in this one's place.

        Raises:
            CorruptionError, UnsupportedError, InvalidInputError: They may not.
        """
        manifest = verified(folder)
        if manifest is None or manifest.tokenizer_digest != self.digest:
            found = manifest.tokenizer_digest if manifest else "without a memalpha.json"
            message = (
                f"checkpoint {folder}: its tokenizer must be the served one, {self.digest}; it is {found}"
            )
            raise make(UnsupportedError, "TOKENIZER_DIFFERS", message, path=folder)
        _check_wire_format(folder, manifest, self._wire_format)
        return manifest

    def serves(self, manifest: Manifest, version: int) -> None:
        """Is told that other weights are served."""
        self.manifest, self.version = manifest, version


def model_folder(settings: PolicySettings) -> Path:
    """The folder that the settings name.

    Raises:
        InvalidInputError: MODEL_NOT_FOUND.
    """
    folder = Path(settings.model).expanduser()
    if not settings.model or not (folder / "config.json").is_file():
        where = f"it is {settings.model!r} (--model FOLDER)"
        message = f"policy.model must be the folder of a checkpoint, with a config.json; {where}"
        raise make(InvalidInputError, "MODEL_NOT_FOUND", message, path=folder)
    return folder


def scored(found: list[list[float]]) -> list[pb.SequenceScore]:
    """Logprobs of sequences as they go out.

    Raises:
        InternalError: GENERATION_FAILED: one is not finite.
    """
    wrong = [each for logprobs in found for each in logprobs if not math.isfinite(each)]
    if wrong:
        message = f"the model failed: a token's logprob must be finite; it is {wrong[0]}"
        raise make(InternalError, "GENERATION_FAILED", message)
    return [pb.SequenceScore(logprobs=logprobs) for logprobs in found]


def probe_error(probe: pb.WeightProbe, found: list[list[float]]) -> float:
    """How far logprobs are from those of a probe.

    Raises:
        ConflictError: PROBE_FAILED: further than it allows.
    """
    error = _distance(found, [list(each.logprobs) for each in probe.scores])
    allowed = probe.tolerance or _TOLERANCE
    # What cannot be compared is off, whatever is allowed.
    if not error <= allowed or math.isinf(error):
        message = f"the new weights are off the probe by {error:.3g}; allowed is {allowed:.3g}"
        raise make(ConflictError, "PROBE_FAILED", message, error=error, tolerance=allowed)
    return error


def duration(seconds: float) -> Duration:
    """Seconds as the API has them."""
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))


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


def _distance(found: list[list[float]], expected: list[list[float]]) -> float:
    """Largest difference; infinite if the shapes differ or something is no number."""
    if [len(each) for each in found] != [len(each) for each in expected]:
        return math.inf
    pairs = (pair for rows in zip(found, expected, strict=True) for pair in zip(*rows, strict=True))
    return largest(abs(one - other) for one, other in pairs)


def largest(differences: Iterable[float]) -> float:
    """The largest; infinite if one is no number, which `max` would keep or drop by its place."""
    off = list(differences)
    return math.inf if any(map(math.isnan, off)) else max(off, default=0.0)
