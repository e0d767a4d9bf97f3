"""One completion on its way between the worker thread, which makes it, and the event loop, which reads it.

Pieces pile up until they are read, so that a slow reader gets fewer and larger ones and never holds up the
worker. A piece is of one version of the weights: an exchange of weights shows as a boundary between pieces.
Ids become text where they are read, a piece at a time; only if a text may end the completion, the worker
looks at each token.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.errors import InternalError, MemalphaError, make
from memalpha.policy.local.sampling import Sampling
from memalpha.policy.local.tokens import Decoder
from memalpha.policy.stops import StopWatch

# A reader is woken at most this often, but for the first and the last piece: waking costs more than a token.
_WAKING_SECONDS = 0.2


@dataclass(slots=True)
class Piece:
    """Some tokens of a completion and the text that became certain with them."""

    version: int
    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    reason: pb.FinishReason.ValueType = pb.FINISH_REASON_UNSPECIFIED


class Job:
    """A completion: the worker thread calls `add` and `fail`, the event loop `pieces` and `cancel`."""

    def __init__(
        self,
        prompt: list[int],
        sampling: Sampling,
        generator: Any = None,
        *,
        most: int,
        ends: frozenset[int],
        decoder: Decoder,
        stops: StopWatch,
        whole: bool = False,
    ) -> None:
        """For the running event loop.

        Args:
            prompt: ids, at least one.
            sampling: how to sample.
            generator: the row's own source of chance, where this process draws.
            most: new tokens at which it ends.
            ends: ids that end it.
            decoder: turns ids into text.
            stops: ends the text.
            whole: whether its reader is woken at its end alone.
        """
        self.prompt = prompt
        self.new: list[int] = []
        self.sampling = sampling
        self.generator = generator
        self.ended = False
        self.cancelled = False
        # Tokens of the prompt that were not read again.
        self.cached = 0
        self._most = most
        self._ends = ends
        self._decoder = decoder
        self._stops = stops
        self._whole = whole
        self._watched = not stops.idle
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._lock = threading.Lock()
        self._pieces: list[Piece] = []
        self._error: MemalphaError | None = None
        self._woken = 0.0

    def add(self, token: int, logprob: float, version: int) -> None:
        """Takes the next token; the completion may end with it.

        One whose logprob is not finite was drawn from no distribution: it is not taken, and all fails.
        """
        if not math.isfinite(logprob):
            message = f"the model failed: a token's logprob must be finite; it is {logprob}"
            self.fail(make(InternalError, "GENERATION_FAILED", message))
            return
        self.new.append(token)
        text = self._heard([token]) if self._watched else ""
        reason = self._reason(token)
        if reason and self._watched:
            text += self._rest()
        with self._lock:
            if not self._pieces or self._pieces[-1].version != version:
                self._pieces.append(Piece(version))
            piece = self._pieces[-1]
            piece.text += text
            piece.ids.append(token)
            piece.logprobs.append(logprob)
            piece.reason = reason
        self.ended = bool(reason)
        self._wake(at_once=self.ended)

    def fail(self, error: MemalphaError) -> None:
        """Ends the completion with an error."""
        with self._lock:
            self._error = error
        self.ended = True
        self._wake(at_once=True)

    def cancel(self) -> None:
        """Nobody reads on: the worker gives its row to others."""
        self.cancelled = True

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yields the pieces up to the one with a reason.

        Raises:
            MemalphaError: What `fail` was told.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            with self._lock:
                pieces, self._pieces = self._pieces, []
            for piece in pieces:
                if not self._watched:
                    piece.text = self._heard(piece.ids) + (self._rest() if piece.reason else "")
                yield piece
                if piece.reason:
                    return
            if self._error is not None:
                raise self._error

    def _heard(self, ids: Sequence[int]) -> str:
        """The text that is certain with more ids; an end is counted, but not said."""
        return self._stops.push(self._decoder.push([each for each in ids if each not in self._ends]))

    def _rest(self) -> str:
        return self._stops.push(self._decoder.finish()) + self._stops.finish()

    def _reason(self, token: int) -> pb.FinishReason.ValueType:
        if token in self._ends or self._stops.stopped:
            return pb.FINISH_REASON_STOP
        done = len(self.new) >= self._most
        return pb.FINISH_REASON_LENGTH if done else pb.FINISH_REASON_UNSPECIFIED

    def _wake(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if not at_once and (self._whole or now - self._woken < _WAKING_SECONDS):
            return
        self._woken = now
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop is closed, and with it whoever read
            self.cancelled = True
