"""grpcio's asyncio server. It answers with bytes made before: what the transport costs, without any search.

The bytes are memcore's reply to the first queries, so that both send the same amount.
"""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import grpc

from memalpha.api.memory.v1alpha1 import memory_service_pb2 as api
from peers import System
from peers.memcore_bank import MemcoreBank
from peers.memcore_store import BANK
from workload import Vectors

_SERVICE = "memalpha.api.memory.v1alpha1.MemoryService"


class GrpcioCanned(System):
    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._bank = MemcoreBank("none")
        self._bank.load(texts, vectors)

    def serve(self, queries: Sequence[str]) -> str:
        asked = [api.SearchQuery(text=query, limit=10) for query in queries]
        request = api.SearchMemoriesRequest(bank_id=BANK, queries=asked)
        reply = self._bank.store.call("SearchMemories", request.SerializeToString())
        bound: list[str] = []
        started = threading.Event()
        threading.Thread(
            target=lambda: asyncio.run(_serve(reply, bound, started)), name="grpcio", daemon=True
        ).start()
        started.wait()
        return bound[0]


async def _serve(reply: bytes, bound: list[str], started: threading.Event) -> None:
    async def answer(_request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        return reply

    handler = grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(_SERVICE, {"SearchMemories": handler})]
    )
    bound.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    await server.start()
    started.set()
    await server.wait_for_termination()


def open_system(_directory: Path) -> System:
    """A server that is not started."""
    return GrpcioCanned()
