"""What holds for all tests: where a tracker writes, and warnings where vLLM is installed.

There TRL loads all of it, whose libraries warn of one another.
"""

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Lets them warn."""
    if find_spec("vllm") is not None:
        config.addinivalue_line("filterwarnings", "ignore")


@pytest.fixture(autouse=True, scope="session")
def _trackio_writes_among_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Otherwise runs would stand in the cache of whoever tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", os.fspath(tmp_path_factory.mktemp("trackio")))
        yield
