"""Where vLLM is installed, TRL loads all of it, whose libraries warn of one another."""

from importlib.util import find_spec

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Lets them."""
    if find_spec("vllm") is not None:
        config.addinivalue_line("filterwarnings", "ignore")
