from collections.abc import Iterator

import pytest
from hypothesis import settings

import memcore
from memalpha.client import AsyncMemoryClient
from memalpha.transport import AsyncEmbeddedTransport

# How long one example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def memory() -> Iterator[AsyncMemoryClient]:
    with memcore.Store.in_memory() as store:
        yield AsyncMemoryClient(AsyncEmbeddedTransport(store))
