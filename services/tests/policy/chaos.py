"""A policy service under fire: clients that stream and leave, weights that change, an engine that is killed.

`Chaos` does to one service what a seed says, over the network, for some seconds; `faults` judges what its
clients saw. A completion must be whole, and each of its tokens of a version that was served while it ran;
what is not whole must have ended with a code that tells the client to come again.
"""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.api.policy.v1alpha1.policy_service_pb2_grpc import PolicyServiceStub

Code = grpc.StatusCode
ALLOWED = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.CANCELLED)
CLIENTS, LONGEST = 8, 120
# A call that takes longer than this hangs: an exchange waits for completions of `LONGEST` tokens at most.
CALL_SECONDS = 240
# Rounds of everything that may follow when the time is over, until enough has been seen.
MOST_ROUNDS = 20


@dataclass
class Stream:
    """What a client saw of one completion.

    `least` and `most` bound the versions that may have written it; `left`: the client went away.
    """

    request: pb.GenerateRequest
    least: int
    most: int = 0
    left: bool = False
    code: Code | None = None
    pieces: list[pb.GenerateResponse] = field(default_factory=list)

    @property
    def tokens(self) -> list[tuple[int, float, int]]:
        """Each new id, its logprob and the version that wrote it."""
        return [
            (token, logprob, piece.policy.policy_version)
            for piece in self.pieces
            for token, logprob in zip(piece.token_ids, piece.logprobs, strict=False)
        ]


@dataclass
class Weights:
    """Folders by the numbers they were served under; what is served, and what is on its way in."""

    folders: dict[int, Path]
    served: int = 1
    coming: int = 1


def faults(streams: list[Stream], weights: Weights) -> list[str]:
    """What no client may see; empty if all is well."""
    return [f"{number}: {fault}" for number, each in enumerate(streams) for fault in _faults(each, weights)]


def _faults(stream: Stream, weights: Weights) -> Iterator[str]:
    ends = [place for place, piece in enumerate(stream.pieces) if piece.finish_reason]
    if stream.code is None:
        yield "it never ended"
    elif stream.code is Code.OK:
        if ends != [len(stream.pieces) - 1]:
            yield f"ends at pieces {ends} of {len(stream.pieces)}"
        else:
            yield from _unlike_its_request(stream)
    elif stream.code not in ALLOWED or (stream.code is Code.CANCELLED and not stream.left):
        yield f"it ended with {stream.code.name}"
    elif ends and not stream.left:
        yield f"it ended twice, the second time with {stream.code.name}"
    for piece in stream.pieces:
        if len(piece.token_ids) != len(piece.logprobs):
            yield f"{len(piece.token_ids)} ids with {len(piece.logprobs)} logprobs"
        if not all(math.isfinite(logprob) and logprob <= 0 for logprob in piece.logprobs):
            yield "a logprob that is none"
    versions = [piece.policy.policy_version for piece in stream.pieces]
    if versions != sorted(versions):
        yield f"versions go back: {versions}"
    if not set(versions) <= weights.folders.keys():
        yield f"versions that were never served: {sorted(set(versions) - weights.folders.keys())}"
    if versions and not stream.least <= versions[0] <= versions[-1] <= stream.most:
        yield f"versions {versions[0]} to {versions[-1]} outside of {stream.least} to {stream.most}"


def _unlike_its_request(stream: Stream) -> Iterator[str]:
    last, new, most = stream.pieces[-1], len(stream.tokens), stream.request.sampling.max_tokens
    if not 1 <= new <= most or last.usage.completion_tokens != new:
        yield f"{new} new tokens of {most}, {last.usage.completion_tokens} in usage"
    if last.finish_reason == pb.FINISH_REASON_LENGTH and new != most:
        yield f"cut at {new} tokens of {most}"
    if list(stream.pieces[0].prompt_token_ids) != list(stream.request.tokens.token_ids):
        yield "the prompt is another"


class Killer(Protocol):
    """Kills the engine, and returns when it is back; given an exchange, in the midst of that.

    Returns whether it was in the midst: the exchange may be over when the kill comes.
    """

    async def __call__(self, exchange: asyncio.Task[None] | None = None) -> bool: ...


class Chaos:
    """One service, the folders that it may be given, and what a seed does to it."""

    def __init__(
        self,
        stub: Any,
        folders: list[tuple[Path, pb.WeightProbe]],
        weights: Weights,
        *,
        seed: int,
        most: int,
        kill: Killer | None = None,
    ) -> None:
        """Over a stub of the service.

        Args:
            stub: Of the service.
            folders: Weights that are served in turn, with what they say.
            weights: What is served at the beginning.
            seed: Of everything.
            most: Completions that the service takes at once.
            kill: None if the engine cannot be killed.
        """
        self._stub, self._folders, self._most, self._kill = stub, folders, most, kill
        self.weights = weights
        self.streams: list[Stream] = []
        # How often each thing was done, and exchanges that a kill has cut off.
        self._deeds: Counter[str] = Counter()
        self.cut_off = 0
        self._chance = random.Random(seed)
        # Few prompts, so that keys and values of them are cached when weights change.
        self._prompts = [self._chance.choices(range(3, 500), k=k) for k in (1, 9, 80, 80, 300, 300)]
        self._over = False

    def __str__(self) -> str:
        """What was done, and how completions ended, in one line."""
        codes = Counter(stream.code.name for stream in self.streams if stream.code)
        tables = ", ".join(f"{name} {count}" for name, count in [*self._deeds.items(), *codes.items()])
        return f"{len(self.streams)} completions; {tables}; {self.cut_off} exchanges cut off"

    async def run(self, seconds: float, enough: Callable[[list[Stream]], bool]) -> None:
        """Until the time is over, everything has been done at least once, and enough has been seen.

        A kill that comes too late for its exchange has not been done. What has not been seen after many
        rounds is missed aloud.
        """
        clients = [
            asyncio.create_task(self._client(random.Random(self._chance.random()))) for _ in range(CLIENTS)
        ]
        begin, left = time.monotonic(), MOST_ROUNDS
        try:
            while True:
                await self._round()
                if time.monotonic() - begin < seconds:
                    continue
                if (self._kill is None or self.cut_off) and enough(self.streams):
                    break
                left -= 1
                if not left:
                    pytest.fail(f"not all was seen in {MOST_ROUNDS} more rounds: {self}")
        finally:
            self._over = True
            await asyncio.gather(*clients)

    async def _round(self) -> None:
        """Everything that can be done to a service, in some order."""
        deeds = [self._swap, self._swap, self._mislead, self._crowd]
        deeds += [self._die, self._die_loading] if self._kill else []
        for deed in self._chance.sample(deeds, len(deeds)):
            await asyncio.sleep(self._chance.uniform(0.1, 0.5))
            await deed()
            self._deeds[deed.__name__.strip("_")] += 1

    async def _client(self, chance: random.Random) -> None:
        while not self._over:
            await self._stream(chance, leaves=chance.choice([None, None, None, 0, 1, 2]))
            await asyncio.sleep(chance.uniform(0, 0.1))

    async def _stream(self, chance: random.Random, leaves: int | None = None) -> None:
        sampling = pb.SamplingParams(
            seed=chance.getrandbits(40), temperature=1, max_tokens=chance.randint(1, LONGEST)
        )
        tokens = pb.TokenizedPrompt(token_ids=chance.choice(self._prompts))
        request = pb.GenerateRequest(tokens=tokens, sampling=sampling, return_tokens=True)
        stream = Stream(request, self.weights.served)
        self.streams.append(stream)
        call = self._stub.Generate(request, timeout=CALL_SECONDS)
        try:
            if leaves == 0:
                await asyncio.sleep(chance.uniform(0, 0.1))
                stream.left = call.cancel()
            async for piece in call:
                stream.pieces.append(piece)
                if len(stream.pieces) == leaves:
                    stream.left = call.cancel()
            stream.code = Code.OK
        except grpc.aio.AioRpcError as error:
            stream.code = error.code()
        except asyncio.CancelledError:
            stream.code = Code.CANCELLED
        stream.most = self.weights.coming

    async def _swap(self) -> None:
        """Other weights are served under the next number."""
        weights = self.weights
        others = [each for each in self._folders if each[0] != weights.folders[weights.served]]
        folder, probe = self._chance.choice(others)
        weights.coming += 1
        weights.folders[weights.coming] = folder
        try:
            await self._load(weights.coming, folder, probe)
        except grpc.aio.AioRpcError:
            del weights.folders[weights.coming]
            raise
        weights.served = weights.coming
        await self._check()

    async def _mislead(self) -> None:
        """Weights that are not what the probe says are refused, and their number is never served."""
        (folder, _), (_, probe) = self._chance.sample(self._folders, 2)
        self.weights.coming += 1
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self._load(self.weights.coming, folder, probe)
        assert refused.value.code() is Code.ABORTED
        await self._check()

    async def _crowd(self) -> None:
        """More come at once than there is room for."""
        await asyncio.gather(*(self._stream(self._chance) for _ in range(self._most + 4)))

    async def _die(self) -> None:
        """The engine is killed, and back with the weights that it had."""
        assert self._kill
        await self._kill()
        await self._check()

    async def _die_loading(self) -> None:
        """The engine is killed while it takes weights: it is back with those, or with those of before."""
        assert self._kill
        swap = asyncio.create_task(self._swap())
        in_the_midst = await self._kill(swap)
        try:
            await swap
        except grpc.aio.AioRpcError as error:
            # Whatever cuts it off before the kill is no deed of the kill's.
            if error.code() is not Code.UNAVAILABLE or not in_the_midst:
                raise
            self.cut_off += 1
        await self._check()

    async def _load(self, number: int, folder: Path, probe: pb.WeightProbe) -> None:
        request = pb.LoadWeightsRequest(policy_version=number, path=str(folder), probe=probe)
        await self._stub.LoadWeights(request, timeout=CALL_SECONDS)

    async def _check(self) -> None:
        described = await self._stub.GetPolicy(pb.GetPolicyRequest())
        assert described.policy.policy_version == self.weights.served


@asynccontextmanager
async def stub(address: str) -> AsyncIterator[Any]:
    """The service's bare stub, which shows codes and pieces as they come."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield PolicyServiceStub(channel)
