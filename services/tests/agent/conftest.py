from collections.abc import Iterator

import pytest
from memalpha.client import AsyncMemoryClient
from memalpha.transport import AsyncEmbeddedTransport

import memcore


@pytest.fixture
def memory() -> Iterator[AsyncMemoryClient]:
    with memcore.Store.in_memory() as store:
        yield AsyncMemoryClient(AsyncEmbeddedTransport(store))
