"""A prompt's logprobs in vLLM's own process: made of some tokens at a time, and the same."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm", reason="needs vllm: uv sync --group vllm")
torch: Any = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")


class Head:
    """A model's output head, which counts what it is given at once."""

    def __init__(self, vocabulary: int, size: int) -> None:
        self.weight = torch.randn(vocabulary, size, generator=torch.Generator().manual_seed(1))
        self.most = 0

    def compute_logits(self, states: Any) -> Any:
        self.most = max(self.most, len(states))
        return states @ self.weight.T


def asked(runner: Any, states: Any, ids: Any) -> Any:
    """As vLLM's runner asks."""
    logits = runner.model.compute_logits(states)
    return runner.sampler.gather_logprobs(runner.sampler.compute_logprobs(logits), 0, ids)


def test_a_prompts_logprobs_are_made_of_some_tokens_at_a_time(monkeypatch) -> None:
    from memalpha.policy.vllm import worker

    monkeypatch.setattr(worker, "_HEAD_LOGITS", 3 * 50)
    head, sampler = Head(50, 8), object()
    runner = SimpleNamespace(
        model=head, sampler=sampler, model_config=SimpleNamespace(get_vocab_size=lambda: 50)
    )
    states, ids = torch.randn(11, 8, generator=torch.Generator().manual_seed(2)), torch.arange(11) * 4
    found, logprobs, ranks = worker.by_parts(asked)(runner, states, ids)
    # log softmax, of all at once.
    whole = (states @ head.weight.T).log_softmax(-1)[torch.arange(11), ids]
    assert torch.allclose(logprobs[:, 0], whole, atol=1e-6)
    assert (found[:, 0].tolist(), len(ranks), head.most) == (ids.tolist(), 11, 3)
    assert (runner.model, runner.sampler) == (head, sampler)


def test_vllm_makes_them_where_they_are_made_by_parts() -> None:
    runner = pytest.importorskip("vllm.v1.worker.gpu_model_runner").GPUModelRunner
    from memalpha.policy.vllm import worker  # noqa: F401 - importing it is what counts

    # Its own function lies below.
    assert hasattr(runner._get_prompt_logprobs_dict, "__wrapped__")
