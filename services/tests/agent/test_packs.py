import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from memalpha.agent import Agent, AgentSettings, packs, wire
from memalpha.agent.loop import Memorizer, PolicyOutage
from memalpha.agent.prompts import is_consolidation_readable, is_readable, render_prompt
from memalpha.agent.tools import schemas
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ConsolidateRequest
from memalpha.api.memory.v1alpha1.memory_pb2 import BankSettings, Chunk, Memory
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.api.policy.v1alpha1.policy_service_pb2 import TrainedWith
from memalpha.client import AsyncMemoryClient
from memalpha.errors import InvalidInputError, UnsupportedError

from .support import QUICK, SEMANTIC, PlainPolicy, append, insert, write

BUILT_IN = Path(packs.__file__).parent / "templates"
HERMES = wire.get("hermes")


@pytest.fixture(autouse=True)
def _read_anew():
    packs.load.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pack of one's own, as good as the default one."""
    return Path(shutil.copytree(BUILT_IN / "default", tmp_path / "mine"))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("name", packs.BUILT_IN)
def test_every_built_in_pack_goes_with_its_wire_formats(name: str) -> None:
    pack = packs.load(name)
    view = GetWriterViewResponse(next_chunk=Chunk(text="Ann has a dog"))
    for form in map(wire.get, pack.manifest.wire_formats):
        text = "\n".join(each.content for each in render_prompt(view, form, pack).messages)
        assert "Ann has a dog" in text
        assert pack.instructions(form) in text
    assert (BUILT_IN / name / "pack.toml").exists()


def test_the_packs_differ_and_the_short_one_is_short() -> None:
    assert len({packs.load(name).digest(wire.get("qwen_agent")) for name in packs.BUILT_IN}) == 3
    short, default = (packs.load(name).writer_system.template for name in ("short", "default"))
    assert len(short) < len(default) / 4


def test_a_policy_without_a_model_reads_the_packs_that_keep_the_default_layout() -> None:
    assert [is_readable(packs.load(name)) for name in packs.BUILT_IN] == [True, True, False]


def test_the_papers_tools_are_ours_without_the_time() -> None:
    text = packs.load("paper").instructions(wire.get("qwen_agent"))
    found = [
        json.loads(line.split(" Parameters: ")[1].split(" Format the")[0])
        for line in text.split("\n")
        if " Parameters: " in line
    ]
    assert len(found) == len(schemas())
    for schema, shown in zip(schemas(), found, strict=True):
        parameters = schema["function"]["parameters"]  # pyright: ignore
        parameters["properties"].pop("event_time", None)
        assert set(shown["properties"]) == set(parameters["properties"])
        assert shown["required"] == parameters["required"]
        for name, each in parameters["properties"].items():
            assert shown["properties"][name].get("enum") == each.get("enum")


def test_hexadecimal_names_are_unlike_and_stay_the_same_in_every_view() -> None:
    memories = [Memory(id=n, type=SEMANTIC, content=str(n)) for n in (1, 2, 65_537, 3)]
    pack, form = packs.load("paper"), wire.get("qwen_agent")
    names = [
        list(render_prompt(GetWriterViewResponse(semantic=shown, next_chunk=Chunk()), form, pack).aliases)
        for shown in (memories, memories[:2])
    ]
    # 65,537 has the same four digits as 1 and gets the next ones.
    assert len(set(names[0])) == 4
    assert int(names[0][2], 16) == int(names[0][0], 16) + 1
    assert names[1] == names[0][:2]
    assert all(len(name) == 4 for name in names[0])


def test_a_folder_is_a_pack_and_its_copy_has_the_same_digest(folder: Path) -> None:
    change(folder / "pack.toml", '"default"', '"mine"')
    assert packs.load(str(folder)).manifest.name == "mine"
    assert packs.load(str(folder)).digest(HERMES) == packs.load("default").digest(HERMES)


def test_a_mark_of_byte_order_at_the_start_of_a_file_reaches_no_model(folder: Path) -> None:
    before = packs.load(str(folder))
    for path in folder.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    packs.load.cache_clear()
    after = packs.load(str(folder))
    assert after.digest(HERMES) == before.digest(HERMES)
    # The control: anywhere else it is text as any other.
    change(folder / "writer_user.md", "$chunk", "\ufeff$chunk")
    packs.load.cache_clear()
    assert packs.load(str(folder)).digest(HERMES) != before.digest(HERMES)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("writer_system.md", "You keep", "You tend"),
        ("writer_user.md", "<chunk$", "<piece$"),
        ("reader_system.md", "You answer", "Answer"),
        ("reader_user.md", "<question>", "<asked>"),
        ("pack.toml", "wire_formats", 'aliases = "hex"\nwire_formats'),
        ("pack.toml", "wire_formats", 'reader_empty = "none"\nwire_formats'),
    ],
)
def test_the_digest_covers_every_byte_that_reaches_a_model(
    folder: Path, file: str, old: str, new: str
) -> None:
    change(folder / file, old, new)
    assert packs.load(str(folder)).digest(HERMES) != packs.load("default").digest(HERMES)


def test_text_about_tools_of_ones_own_stands_for_the_formats(folder: Path) -> None:
    (folder / "tools.md").write_text("Call $nothing.")
    pack = packs.load(str(folder))
    view = GetWriterViewResponse(next_chunk=Chunk(text="x"))
    assert render_prompt(view, HERMES, pack).messages[0].content.endswith("Call $nothing.")
    assert pack.digest(HERMES) != packs.load("default").digest(HERMES)


@pytest.mark.parametrize(
    ("file", "old", "new", "rule"),
    [
        ("pack.toml", 'name = "default"', "", "name: Field required"),
        ("pack.toml", '"lines"', '"morse"', "wire_formats must be of hermes, lines, .*, not 'morse'"),
        ("pack.toml", "name = ", "name: ", "Expected '='"),
        ("pack.toml", "wire_formats", 'colour = "red"\nwire_formats', "colour: Extra inputs"),
        ("writer_user.md", "$core\n", "$score\n", r"\$score is no variable; there are \$attributes, \$chunk"),
        ("writer_user.md", "$core\n", "$ core\n", r"a dollar that begins no variable must be written \$\$"),
        ("writer_system.md", "$tools", "", r"writer_system.md and writer_user.md must show \$tools"),
        ("reader_user.md", "$question", "", r"reader_system.md and reader_user.md must show \$question"),
    ],
)
def test_a_bad_pack_is_refused_with_its_file_and_the_rule(
    folder: Path, file: str, old: str, new: str, rule: str
) -> None:
    change(folder / file, old, new)
    with pytest.raises(InvalidInputError, match=rule) as caught:
        packs.load(str(folder))
    assert caught.value.reason == "INVALID_PROMPT_PACK"
    assert str(folder) in str(caught.value)


def test_a_file_that_is_missing_or_no_text_is_named(folder: Path) -> None:
    (folder / "reader_user.md").write_bytes(b"\xff")
    with pytest.raises(InvalidInputError, match=r"reader_user\.md: must be UTF-8 text"):
        packs.load(str(folder))
    (folder / "reader_user.md").unlink()
    with pytest.raises(InvalidInputError, match=r"reader_user\.md: No such file"):
        packs.load(str(folder))


def test_an_unknown_name_is_refused_with_the_choices(memory: AsyncMemoryClient) -> None:
    settings = AgentSettings(prompt_pack="verbose")
    with pytest.raises(InvalidInputError, match="one of default, short, paper or a folder, not 'verbose'"):
        Agent(memory, PlainPolicy(""), settings)


async def memorize(memory: AsyncMemoryClient, settings: AgentSettings = QUICK, **description: object) -> None:
    await append(memory, "Ann: I have a dog")
    await Memorizer(memory, PlainPolicy("", **description), settings).next_chunk("b")


async def test_a_policy_that_was_trained_just_so_is_welcome(memory: AsyncMemoryClient) -> None:
    digest = packs.load("default").digest(HERMES)
    everything = TrainedWith(
        prompt_digest=digest, wire_format="hermes", view="relevant(10,10)", core_token_limit=512
    )
    await memorize(memory, trained_with=everything)
    assert (await memory.get_bank("b")).cursor == 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"prompt_digest": "ab"},
            "policy plain-1 was trained with prompt_digest ab, this agent has [0-9a-f]{64}",
        ),
        ({"wire_format": "lines"}, "trained with wire_format lines, this agent has hermes"),
        ({"view": "relevant(4,4)"}, r"trained with view relevant\(4,4\), this agent has relevant\(10,10\)"),
    ],
)
async def test_a_policy_that_was_trained_otherwise_is_refused_before_it_writes(
    memory: AsyncMemoryClient, how: dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyOutage, match=message) as caught:
        await memorize(memory, trained_with=TrainedWith(**how))
    assert caught.value.error.reason == "POLICY_TRAINED_OTHERWISE"
    bank = await memory.get_bank("b")
    assert (bank.cursor, bank.failures.count) == (0, 0)


async def test_a_policy_that_was_trained_for_another_core_memory_is_refused_by_the_bank(
    memory: AsyncMemoryClient,
) -> None:
    await memory.ensure_bank("b", BankSettings(core_token_limit=32))
    with pytest.raises(UnsupportedError, match="trained with core_token_limit 512, bank b has 32"):
        await memorize(memory, trained_with=TrainedWith(core_token_limit=512))
    await memorize(memory, trained_with=TrainedWith(core_token_limit=32))
    assert (await memory.get_bank("b")).cursor == 1


@pytest.mark.parametrize(
    ("settings", "description", "message"),
    [
        ({"wire_format": "lines"}, {}, "writes wire format hermes, this agent reads lines"),
        ({"prompt_pack": "paper"}, {}, "writes wire format hermes, prompt pack paper goes with qwen_agent"),
        (
            {"prompt_pack": "paper"},
            {"wire_format": "qwen_agent", "model_free": True},
            "reads the default pack's user message only, which prompt pack paper does not have",
        ),
    ],
)
async def test_a_policy_that_does_not_go_with_the_agents_texts_is_refused(
    memory: AsyncMemoryClient, settings: dict[str, str], description: dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyOutage, match=message):
        await memorize(memory, QUICK.model_copy(update=settings), **description)


async def test_an_agents_prompts_are_its_packs(memory: AsyncMemoryClient) -> None:
    await write(memory, insert("dog"))
    await append(memory, "Ann: I have a dog")
    policy = PlainPolicy("")
    await Memorizer(memory, policy, QUICK.model_copy(update={"prompt_pack": "short"})).next_chunk("b")
    assert policy.requests[0].chat.messages[0].content.startswith("Keep the memory up to date")


async def test_native_tools_go_beside_the_messages(memory: AsyncMemoryClient) -> None:
    await append(memory, "Ann: I have a dog")
    policy = PlainPolicy("[]", wire_format="openai")
    await Memorizer(memory, policy, QUICK).next_chunk("b")
    assert json.loads(policy.requests[0].chat.tools_json) == schemas()
    assert "new_memory_insert" not in policy.requests[0].chat.messages[0].content


DIGESTS = {
    "default": "79a98c37cbbb1da2",
    "short": "40c06b93ce418dc8",
    "paper": "dd082a61d7b44138",
}


@pytest.mark.parametrize(("name", "digest"), DIGESTS.items())
def test_the_digest_that_policies_are_trained_with_stays_what_it_was(name: str, digest: str) -> None:
    form = wire.get("qwen_agent" if name == "paper" else "hermes")
    assert packs.load(name).digest(form).startswith(digest)


def test_consolidating_has_a_digest_of_its_own(folder: Path) -> None:
    change(folder / "consolidate_user.md", "Put these", "Bring these")
    mine, default = packs.load(str(folder)), packs.load("default")
    assert mine.digest(HERMES) == default.digest(HERMES)
    assert mine.consolidate_digest(HERMES) != default.consolidate_digest(HERMES)
    digests = {packs.load(name).consolidate_digest(wire.get("qwen_agent")) for name in packs.BUILT_IN}
    assert len(digests - {packs.load("default").digest(wire.get("qwen_agent"))}) == 3


def test_a_pack_without_words_for_consolidating_is_a_pack(folder: Path) -> None:
    for part in ("system", "user"):
        (folder / f"consolidate_{part}.md").unlink()
    assert packs.load(str(folder)).consolidate is None
    assert not is_consolidation_readable(packs.load(str(folder)))


def test_half_a_prompt_for_consolidating_and_one_without_memories_are_refused(folder: Path) -> None:
    change(folder / "consolidate_user.md", "$episodic", "")
    with pytest.raises(InvalidInputError, match=r"consolidate_user.md must show \$episodic"):
        packs.load(str(folder))
    (folder / "consolidate_user.md").unlink()
    with pytest.raises(InvalidInputError, match=r"consolidate_user\.md: No such file"):
        packs.load(str(folder))
    (folder / "consolidate_user.md").write_text("$chunk")
    with pytest.raises(InvalidInputError, match=r"\$chunk is no variable"):
        packs.load(str(folder))


async def test_consolidating_needs_words_for_it_that_the_policy_reads(
    memory: AsyncMemoryClient, folder: Path
) -> None:
    await write(memory, insert("Ann has a dog"), insert("Ann has one dog"))
    rules = PlainPolicy("", model_free=True)

    async def consolidate(policy: PlainPolicy) -> int:
        settings = QUICK.model_copy(update={"prompt_pack": str(folder)})
        packs.load.cache_clear()
        agent = Agent(memory, policy, settings)
        return len([piece async for piece in agent.consolidate(ConsolidateRequest(bank_id="b"))])

    assert await consolidate(rules) == 1
    change(folder / "consolidate_user.md", "<semantic_memory", "<facts")
    with pytest.raises(UnsupportedError, match=r"consolidate_user\.md of prompt pack default is not"):
        await consolidate(rules)
    assert await consolidate(PlainPolicy("")) == 1
    for part in ("system", "user"):
        (folder / f"consolidate_{part}.md").unlink()
    with pytest.raises(UnsupportedError, match=r"default has no consolidate_system\.md"):
        await consolidate(PlainPolicy(""))
