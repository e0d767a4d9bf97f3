"""Builds the service under test once."""

import subprocess

import pytest
from crash_service import BINARY, ROOT


@pytest.fixture(scope="session", autouse=True)
def binary() -> None:
    """`memcore-sim`, built from the present sources."""
    command = ["cargo", "build", "--locked", "--release", "--quiet", "--package", "memcore-sim"]
    build = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if build.returncode or not BINARY.exists():
        pytest.fail(f"{' '.join(command)} failed in {ROOT}:\n{build.stderr}")
