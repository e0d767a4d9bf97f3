"""Admission: how much may be in flight. At most so many slots and tokens, less while the model is busy.

A model that says `BusyError` has more in flight than it bears. Then half of everything is let in, and with
each success a little more again: additive increase, multiplicative decrease (Chiu & Jain 1989), as TCP does
it. Only what was let in after the last cut can cut again, so that one moment of congestion is one cut.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from memalpha.errors import InvalidInputError, make
from memalpha_evals.scheduler.order import Kind, Order

Outcome = Literal["done", "busy", "failed"]


@dataclass(slots=True)
class Ticket:
    """Leave to make a call, or with 0 tokens to do what takes none. `since` is when it was let in."""

    tokens: int
    cut: int = 0
    since: float = 0.0
    admitted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Gate:
    """What everything in flight went through. Belongs to one event loop."""

    def __init__(self, slots: int, most_tokens: int | None, outstanding: int) -> None:
        """A gate that lets in by `Order`.

        Args:
            slots: Most calls in flight.
            most_tokens: Most tokens in flight; None: any number. One call is let in however large it is.
            outstanding: Calls that will be made in all, besides those that are tried again.

        Raises:
            InvalidInputError: SLOTS_OUT_OF_RANGE or TOKENS_OUT_OF_RANGE.
        """
        _check(slots, most_tokens)
        self._slots, self._most_tokens = slots, most_tokens
        self._limit = float(slots)
        self._cuts = 0
        self._order: Order[Ticket] = Order(slots)
        self._outstanding = outstanding
        self._dispatching = False
        self.in_flight = 0
        self.tokens = 0
        self.busy_seconds = 0.0

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return max(1, int(self._limit))

    @property
    def cuts(self) -> int:
        """How often it was halved."""
        return self._cuts

    async def enter(self, kind: Kind, tokens: int, remaining: int = 0) -> Ticket:
        """Waits for leave to make a call; `leave` must follow.

        Args:
            kind: As in `Order.add`, as is `remaining`.
            tokens: About how many it has in flight; 0: it is no call, though it takes a slot.
            remaining: Calls that the chain still takes.
        """
        ticket = Ticket(tokens)
        self._order.add(kind, ticket, remaining)
        self._dispatch_soon()
        try:
            await ticket.admitted
        except asyncio.CancelledError:
            if ticket.admitted.done() and not ticket.admitted.cancelled():
                self.leave(ticket, "failed")
            raise
        return ticket

    def leave(self, ticket: Ticket, outcome: Outcome) -> None:
        """Gives a slot back and learns from what became of the call."""
        self.in_flight -= 1
        self.tokens -= ticket.tokens
        self.busy_seconds += perf_counter() - ticket.since
        if outcome == "done":
            self._outstanding -= ticket.tokens > 0
            self._limit = min(self._slots, self._limit + 1 / self._limit)
        elif outcome == "busy" and ticket.cut == self._cuts:
            self._limit = max(1.0, self._limit / 2)
            self._cuts += 1
        self._dispatch_soon()

    def forget(self, calls: int) -> None:
        """Some calls will never be made."""
        self._outstanding -= calls

    def _dispatch_soon(self) -> None:
        """Lets in after the caller has gone on to its next wish: a chain keeps its slot, step after step."""
        if not self._dispatching:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        while (ticket := self._order.first(self._outstanding)) is not None:
            if ticket.admitted.cancelled():
                self._order.take(self._outstanding)
            elif self._has_room(ticket.tokens):
                self._order.take(self._outstanding)
                self._admit(ticket)
            else:
                return

    def _has_room(self, tokens: int) -> bool:
        if self.in_flight == 0:
            return True
        share = self._limit / self._slots
        fits = self._most_tokens is None or self.tokens + tokens <= self._most_tokens * share
        return self.in_flight < self.limit and fits

    def _admit(self, ticket: Ticket) -> None:
        self.in_flight += 1
        self.tokens += ticket.tokens
        ticket.cut = self._cuts
        ticket.since = perf_counter()
        ticket.admitted.set_result(None)


def _check(slots: int, most_tokens: int | None) -> None:
    if slots < 1:
        message = f"slots must be at least 1, not {slots}"
        raise make(InvalidInputError, "SLOTS_OUT_OF_RANGE", message, slots=slots)
    if most_tokens is not None and most_tokens < 1:
        message = f"tokens in flight must be at least 1, not {most_tokens}"
        raise make(InvalidInputError, "TOKENS_OUT_OF_RANGE", message, tokens=most_tokens)
