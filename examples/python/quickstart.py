"""Memorizes a short conversation, recalls from it, and shows how a refused call looks.

It needs the services that `memalpha up` starts. Run again, it stores nothing twice: messages have ids.
Other addresses: `python quickstart.py MEMORY_HOST:PORT AGENT_HOST:PORT`.
"""

import sys

from memalpha.api.agent.v1alpha1.agent_service_pb2 import (
    ChunkState,
    MemorizeItem,
    MemorizeRequest,
    RecallRequest,
)
from memalpha.client import AgentClient, MemoryClient
from memalpha.errors import NotFoundError

BANK = "example-python"
CONVERSATION = [
    MemorizeItem(
        item_id="py-1",
        speaker="Caroline",
        event_time="2023-05-08T13:56",
        text="I adopted a dog today! His name is Biscuit.",
    ),
    MemorizeItem(
        item_id="py-2",
        speaker="Melanie",
        event_time="2023-05-08T13:57",
        text="Lovely! My sister Joan lives in Oslo with two cats.",
    ),
]


def main(memory_address: str = "127.0.0.1:50051", agent_address: str = "127.0.0.1:50052") -> None:
    """Runs the example."""
    with MemoryClient.connect(memory_address) as memory, AgentClient.connect(agent_address) as agent:
        memory.ensure_bank(BANK)
        request = MemorizeRequest(bank_id=BANK, items=CONVERSATION, wait=True)
        for receipt in agent.memorize(request).receipts:
            state = ChunkState.Name(receipt.state)
            print(f"{receipt.chunk_id} {state}, stored before: {receipt.already_stored}")
        question = "What is the name of Caroline's dog?"
        print(question)
        for hit in agent.recall(RecallRequest(bank_id=BANK, query=question)).hits:
            if hit.HasField("memory"):
                print(f"  {hit.score:.2f}  {hit.memory.event_time} {hit.memory.content}")
            else:
                print(f"  {hit.score:.2f}  not memorized yet: {hit.pending.text}")
        try:
            memory.get_bank("nobody")
        except NotFoundError as error:
            print(f"refused: {error.reason}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
