"""Engines behind their contract: identity, wire formats, budget, and prompts that are none."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import memcore
from memalpha.agent import wire
from memalpha.agent.tools import checked
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    ChatMessage,
    ChatPrompt,
    FinishReason,
    GenerateRequest,
    GenerateResponse,
    GetPolicyResponse,
    PolicyIdentity,
    Role,
    ScoreRequest,
    ScoreResponse,
    TokenizedPrompt,
    Usage,
)
from memalpha.client import PolicyClient
from memalpha.errors import InvalidInputError, UnavailableError, make
from memalpha.policy.engine import InProcessPolicy, create
from memalpha.policy.extractive import ExtractiveEngine

from .engines import served
from .support import event, fact, parsed, profile, request, update

CHAT = """Ann: Hi Ben! I moved to Oslo yesterday, my new number is 555-0199.
Ben: Wow! I run a bakery in Leeds with my sister Clara.
Ann: I stopped drinking coffee last week. In 2019 I met Prof. Nils Berg in Trondheim!"""
DOCUMENT = """# Atlas
The Rhine rises in the Swiss Alps and is 1,230 km long. Its "Lorelei" rock is near Sankt Goarshausen."""
FOREIGN = "Олег: Вчера я переехал в Казань и купил 2 велосипеда.\n田中：東京に住んでいます。"


def user_prompt(text: str) -> GenerateRequest:
    return GenerateRequest(chat=ChatPrompt(messages=[ChatMessage(role=Role.ROLE_USER, content=text)]))


def test_the_extractive_engine_says_what_it_is() -> None:
    described = create("extractive", wire_format="lines").describe()
    assert described == GetPolicyResponse(
        policy=PolicyIdentity(policy_id="extractive-1", policy_version=0),
        engine="extractive",
        model_free=True,
        max_context_tokens=0,
        wire_format="lines",
    )


def test_an_unknown_engine_is_refused_with_the_choices() -> None:
    with pytest.raises(
        InvalidInputError, match="one of extractive, openai, transformers, vllm, not 'magic'"
    ) as caught:
        create("magic", wire_format="hermes")
    assert caught.value.reason == "UNKNOWN_ENGINE"


def test_an_unknown_wire_format_is_refused() -> None:
    with pytest.raises(InvalidInputError) as caught:
        create("extractive", wire_format="smoke")
    assert caught.value.reason == "UNKNOWN_WIRE_FORMAT"


@pytest.mark.parametrize("wire_format", wire.NAMES)
def test_every_wire_format_says_the_same(wire_format: str) -> None:
    asked = request(
        "Ann: I moved to Oslo yesterday.\nBen: I baked bread in Leeds.",
        semantic=["Ann lives in Rome."],
        wire_format=wire_format,
    )
    text = ExtractiveEngine(wire_format).complete(asked).text
    assert [checked(call) for call in parsed(text, wire_format)] == [
        checked(profile("Ann: lives in Oslo")),
        checked(update("a", "Ann moved to Oslo on 8 May 2023.", "2023-05-08")),
        checked(event("Ben baked bread in Leeds.")),
    ]


def test_the_same_prompt_gives_the_same_bytes() -> None:
    asked = request(CHAT, core="Ann: lives in Rome", semantic=["Ann lives in Rome.", "Ann loves coffee."])
    answers = {
        ExtractiveEngine("hermes").complete(asked).SerializeToString(deterministic=True) for _ in range(5)
    }
    assert len(answers) == 1


def test_usage_counts_the_tokens_of_prompt_and_completion() -> None:
    asked = request("Ann: I baked bread in Leeds.")
    answer = ExtractiveEngine("hermes").complete(asked)
    assert answer.usage == Usage(
        prompt_tokens=sum(memcore.count_tokens(message.content) for message in asked.chat.messages),
        completion_tokens=memcore.count_tokens(answer.text),
    )
    assert answer.finish_reason == FinishReason.FINISH_REASON_STOP


def test_the_lightest_calls_are_given_up_to_stay_within_max_tokens() -> None:
    asked = request(CHAT, core="Ann: lives in Rome", semantic=["Ann lives in Rome."])
    full = parsed(ExtractiveEngine("hermes").complete(asked).text)
    asked.sampling.max_tokens = 150
    answer = ExtractiveEngine("hermes").complete(asked)
    kept = parsed(answer.text)
    assert memcore.count_tokens(answer.text) <= 150
    assert [call for call in full if call in kept] == kept
    # The profile and the update weigh more than any insert.
    assert [call.name for call in kept[:2]] == ["memory_update", "memory_update"]
    assert len(kept) < len(full)


def test_no_room_gives_no_calls() -> None:
    assert ExtractiveEngine("hermes").complete(request(CHAT, max_tokens=1)).text == ""


def test_the_profile_stays_within_the_limit_of_core_memory() -> None:
    chunk = "\n".join(
        f"Ann: I'm allergic to {thing}." for thing in ("nuts", "pollen", "latex", "milk", "soy")
    )
    answer = ExtractiveEngine("hermes").complete(request(chunk, core_limit=10))
    core = next(call for call in parsed(answer.text) if call.arguments["memory_type"] == "core_memory")
    assert 5 < memcore.count_tokens(str(core.arguments["new_content"])) <= 10


@pytest.mark.parametrize("asked", [GenerateRequest(), user_prompt(""), user_prompt("Tell me a joke.")])
def test_a_prompt_of_another_layout_is_refused(asked: GenerateRequest) -> None:
    with pytest.raises(InvalidInputError) as caught:
        ExtractiveEngine("hermes").complete(asked)
    assert caught.value.reason == "PROMPT_NOT_UNDERSTOOD"


def test_a_prompt_that_does_not_end_with_the_user_is_refused() -> None:
    asked = request(CHAT)
    asked.chat.messages.append(ChatMessage(role=Role.ROLE_ASSISTANT, content="Done."))
    with pytest.raises(InvalidInputError, match="end with a user message"):
        ExtractiveEngine("hermes").complete(asked)


PIECES = st.sampled_from(
    [
        "I",
        "my",
        "we",
        "you",
        "Ann:",
        "Ben:",
        "user:",
        "[2023-01-01]",
        "#",
        "-",
        "```",
        "live",
        "in",
        "Rome",
        "moved",
        "to",
        "Oslo",
        "is",
        "5",
        "May",
        "0001-01-01",
        "yesterday",
        "ago",
        "last",
        "next",
        "Friday",
        "week",
        "(",
        ")",
        "[",
        "]",
        ":",
        ";",
        ".",
        "!",
        "?",
        "…",
        "\n",
        "'",
        "’",
        '"',
        "é",
        "漢",
        "\u2028",
        "\\",
        "</chunk>",
        "allergic",
        "to",
        "prefer",
        "not",
        "no",
        "longer",
    ]
)
NOISE = st.one_of(
    st.text(), st.lists(PIECES, max_size=60).map(" ".join), st.lists(PIECES, max_size=60).map("".join)
)


@given(
    chunk=NOISE,
    item=NOISE,
    core=NOISE,
    time=st.sampled_from(["", "2023-05-09", "9999-12-31", "0001-01-01", "x"]),
)
@example(chunk="Ann: I", item="", core="Ann: ", time="")
@example(chunk="I live in Rome", item="(Before: )", core="Ann: ; ;", time="9999-12-31T23:59:59+14:00")
def test_any_chunk_any_item_and_any_core_give_well_formed_calls(
    chunk: str, item: str, core: str, time: str
) -> None:
    asked = request(chunk.replace("\0", ""), time=time, core=core, semantic=[item], episodic=[item])
    for call in parsed(ExtractiveEngine("hermes").complete(asked).text):
        checked(call)
        content = call.arguments.get("content", call.arguments.get("new_content", "x"))
        assert str(content).strip()


@given(text=st.text())
@example(text='<core_memory limit="1">\n</core_memory>')
def test_garbage_for_a_prompt_raises_nothing_else_than_invalid_input(text: str) -> None:
    with pytest.raises(InvalidInputError):
        ExtractiveEngine("hermes").complete(user_prompt(text))


@pytest.mark.parametrize("chunk", [CHAT, DOCUMENT, FOREIGN])
def test_no_name_and_no_number_is_invented(chunk: str) -> None:
    answer = ExtractiveEngine("hermes").complete(request(chunk))
    # What dates may add: 8 May 2023 for "yesterday", "in the week before 9 May 2023" for "last week".
    known = set(re.findall(r"\w+", chunk.lower())) | {"8", "9", "may", "2023"}
    contents = [
        str(value)
        for call in parsed(answer.text)
        for key, value in call.arguments.items()
        if "content" in key
    ]
    assert contents
    for content in contents:
        for word in re.findall(r"\w+", content):
            if word[0].isupper() or word[0].isdigit():
                assert word.lower() in known, content


async def test_in_process_a_completion_is_put_together_from_its_pieces() -> None:
    class InPieces:
        def describe(self) -> GetPolicyResponse:
            return GetPolicyResponse(engine="pieces")

        async def generate(self, request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
            # the contract: identity on every piece, finish reason and usage on the last
            identity = PolicyIdentity(policy_id="p", policy_version=3)
            yield GenerateResponse(text="one ", policy=identity)
            yield GenerateResponse(
                text="two",
                policy=identity,
                finish_reason=FinishReason.FINISH_REASON_LENGTH,
                usage=Usage(prompt_tokens=7, completion_tokens=2),
            )

    policy = InProcessPolicy(InPieces())
    completion = await policy.generate(GenerateRequest())
    assert completion.text == "one two"
    assert completion.finish_reason == FinishReason.FINISH_REASON_LENGTH
    assert (completion.policy.policy_id, completion.policy.policy_version) == ("p", 3)
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (7, 2)
    assert (await policy.describe()).engine == "pieces"


async def test_in_process_the_extractive_engine_answers_like_itself() -> None:
    asked = request("Ann: I love hiking in the Alps.")
    completion = await InProcessPolicy(create("extractive", wire_format="hermes")).generate(asked)
    assert parsed(completion.text) == [fact("Ann loves hiking in the Alps.")]
    assert completion.policy.policy_id == "extractive-1"


class Interrupted(ExtractiveEngine):
    """Its scores are interrupted so many times."""

    def __init__(self, left: int) -> None:
        super().__init__("hermes")
        self.left = left

    def describe(self) -> GetPolicyResponse:
        described = super().describe()
        described.scores = True
        return described

    async def score(self, _request: ScoreRequest) -> ScoreResponse:
        self.left -= 1
        if self.left >= 0:
            raise make(UnavailableError, "SCORES_INTERRUPTED", "weights are exchanged faster")
        return ScoreResponse(policy=self.describe().policy)


# A call is made five times at most.
@pytest.mark.parametrize(("times", "answered"), [(4, True), (5, False)])
@pytest.mark.parametrize("blocking", [True, False])
async def test_clients_ask_again_for_scores_that_were_interrupted(times, answered, blocking) -> None:
    engine = Interrupted(times)
    asked = ScoreRequest(sequences=[TokenizedPrompt(token_ids=[1, 2])])
    async with served(engine) as service:
        with PolicyClient.connect(service.address) as client:
            call = asyncio.to_thread(client.score, asked) if blocking else service.client.score(asked)
            if answered:
                assert (await call).policy == service.described.policy
            else:
                with pytest.raises(UnavailableError) as caught:
                    await call
                assert caught.value.reason == "SCORES_INTERRUPTED"
    assert engine.left == (-1 if answered else 0)
