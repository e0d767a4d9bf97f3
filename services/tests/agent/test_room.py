"""How long a prompt may be, in tokens, and that they are counted only where that decides."""

import pytest

from memalpha.agent import room
from memalpha.agent.room import most_prompt_tokens, require_fit
from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatMessage
from memalpha.errors import OutOfRangeError
from memcore import count_tokens

TEXT = "The memory of a long day by the river. " * 20
MESSAGES = [ChatMessage(content=TEXT), ChatMessage(content=TEXT)]
TOKENS = 2 * (count_tokens(TEXT) + 16)


def test_a_prompt_of_just_so_many_tokens_fits_and_one_more_does_not() -> None:
    assert 2 * len(TEXT) > TOKENS  # else nothing would be counted
    require_fit(MESSAGES, TOKENS)
    with pytest.raises(OutOfRangeError, match=f"at most {TOKENS - 1} tokens, got {TOKENS}"):
        require_fit(MESSAGES, TOKENS - 1)


def test_a_prompt_with_fewer_bytes_than_tokens_allowed_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(room, "count_tokens", lambda text: counted.append(text) or 0)
    # A "ü" has two bytes, and what stands around a message counts.
    messages = [ChatMessage(content="ü" * 100)]
    require_fit(messages, 200 + 16)
    require_fit(messages, None)
    assert counted == []
    require_fit(messages, 200 + 15)
    assert counted == ["ü" * 100]


@pytest.mark.parametrize(
    ("context", "new", "ours", "most"),
    [(0, 10, 0, None), (100, 10, 0, 90), (0, 10, 50, 50), (100, 10, 95, 90)],
)
def test_the_lower_of_both_limits_counts(context: int, new: int, ours: int, most: int | None) -> None:
    assert most_prompt_tokens(context, new, ours) == most
