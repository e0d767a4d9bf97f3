"""The asynchronous client: writes memories by hand, asks several questions at once, and reads the history.

It needs the memory service that `memalpha up` starts; no policy takes part.
Another address: `python quickstart_async.py MEMORY_HOST:PORT`.
"""

import asyncio
import sys

from memalpha.api.memory.v1alpha1.memory_pb2 import InsertOperation, MemoryType, Operation, Writer
from memalpha.api.memory.v1alpha1.memory_service_pb2 import ApplyOperationsRequest, SearchQuery
from memalpha.client import AsyncMemoryClient

BANK = "example-python-async"
FACTS = ["Caroline's dog is called Biscuit", "Joan lives in Oslo", "Melanie is allergic to peanuts"]
QUESTIONS = ["Who has a dog?", "Where does Joan live?"]


async def main(memory_address: str = "127.0.0.1:50051") -> None:
    """Runs the example."""
    async with AsyncMemoryClient.connect(memory_address) as memory:
        await memory.ensure_bank(BANK)
        request = ApplyOperationsRequest(
            bank_id=BANK,
            operations=[_fact(text) for text in FACTS],
            writer=Writer(policy_id="person"),
        )
        for result in (await memory.apply_operations(request)).results:
            print(f"kept #{result.memory.id}" if result.HasField("memory") else result.error.message)
        found = await memory.search(BANK, [SearchQuery(text=question, limit=1) for question in QUESTIONS])
        for question, hits in zip(QUESTIONS, found.results, strict=True):
            print(question, *(hit.memory.content for hit in hits.memories), sep="\n  ")
        async for event in memory.events(BANK):
            print(f"revision {event.revision}: {event.WhichOneof('event')}")


def _fact(text: str) -> Operation:
    return Operation(insert=InsertOperation(type=MemoryType.MEMORY_TYPE_SEMANTIC, content=text))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
