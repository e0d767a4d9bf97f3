from collections.abc import Iterator

import pytest

import memcore
from memalpha.client import AsyncMemoryClient
from memalpha.transport import AsyncEmbeddedTransport


@pytest.fixture
def memory() -> Iterator[AsyncMemoryClient]:
    with memcore.Store.in_memory() as store:
        yield AsyncMemoryClient(AsyncEmbeddedTransport(store))
