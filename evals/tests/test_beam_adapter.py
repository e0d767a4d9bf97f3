"""The BEAM adapter: folders in both layouts, what a message becomes, and which files it refuses."""

import gzip
import json
from pathlib import Path

import pytest

from memalpha_evals.datasets import DatasetError, Turn, beam

BEAM = Path(__file__).parents[3] / "shared" / "data" / "beam100k"


def message(id_, content, **more):
    return {"role": "user", "id": id_, "content": content, **more}


def chat(*groups):
    return [{"batch_number": 1, "turns": [list(group) for group in groups]}]


SMALL = chat(
    [message(0, "I bought a kayak. ->-> 1,2", time_anchor="March-05-2024"), message(1, "Great!")],
    [message(2, "It leaks.")],
)
PROBES = {
    "abstention": [{"question": "Which colour?", "answer": "unknown"}],
    "knowledge_update": [
        {"question": "Does it leak?", "source_chat_ids": {"original_info": [0], "updated_info": [2, 9]}}
    ],
}


def published(folder, number, value, probes=PROBES, name="chat.json"):
    """Writes a chat as the set publishes it."""
    place = folder / str(number)
    (place / "probing_questions").mkdir(parents=True, exist_ok=True)
    (place / name).write_text(json.dumps(value))
    (place / "probing_questions" / "probing_questions.json").write_text(json.dumps(probes))
    return folder


def test_messages_of_all_groups_follow_one_another_with_their_batch_date(tmp_path) -> None:
    (conversation,) = beam.read(published(tmp_path, 3, SMALL)).conversations
    assert conversation.id == "3"
    assert conversation.turns == (
        Turn("0", "I bought a kayak. ", "2024-03-05", "user"),
        Turn("1", "Great!", "2024-03-05", "user"),
        Turn("2", "It leaks.", "2024-03-05", "user"),
    )


def test_evidence_is_gathered_from_every_role_and_abstentions_have_none(tmp_path) -> None:
    dataset = beam.read(published(tmp_path, 3, SMALL))
    abstention, update = dataset.conversations[0].questions
    assert (abstention.category, abstention.evidence, abstention.bad_evidence) == (
        "abstention",
        frozenset(),
        (),
    )
    assert (update.evidence, update.bad_evidence) == ({"0", "2"}, ("9",))
    assert (dataset.unit, dataset.clusters) == ("message", "conversations")


def test_chats_come_in_the_order_of_their_numbers_and_can_be_chosen(tmp_path) -> None:
    for number in (10, 9, 1):
        published(tmp_path, number, SMALL)
    assert [one.id for one in beam.read(tmp_path).conversations] == ["1", "9", "10"]
    assert [one.id for one in beam.read(tmp_path, [10, 1]).conversations] == ["1", "10"]
    with pytest.raises(DatasetError, match="no chat 2 in"):
        beam.read(tmp_path, [1, 2])


def test_a_truncated_chat_counts_instead_of_the_whole_one(tmp_path) -> None:
    published(tmp_path, 1, SMALL)
    published(tmp_path, 1, chat([message(0, "I bought a kayak.")]), name="chat_trunecated.json")
    assert beam.read(tmp_path).turn_count == 1


def test_files_side_by_side_are_the_same_set(tmp_path) -> None:
    published(tmp_path / "a", 7, SMALL)
    (tmp_path / "b").mkdir()
    for name, value in {"07.chat.json.gz": SMALL, "07.probing_questions.json.gz": PROBES}.items():
        (tmp_path / "b" / name).write_bytes(gzip.compress(json.dumps(value).encode()))
    assert beam.read(tmp_path / "b").conversations == beam.read(tmp_path / "a").conversations


def test_a_message_is_cut_where_no_memory_could_hold_more(tmp_path) -> None:
    # é has two bytes, so that the bound would fall into the middle of one after the first byte
    long = "x" + "é" * beam.LONGEST
    (turn,) = beam.read(published(tmp_path, 1, chat([message(0, long)]))).conversations[0].turns
    assert turn.text == "x" + "é" * (beam.LONGEST // 2 - 1)


@pytest.mark.parametrize(
    ("value", "probes", "complaint"),
    [
        ({}, PROBES, "must be an array of batches, not an object"),
        ([{"turns": 1}], PROBES, 'batch 1: "turns" must be an array of arrays'),
        (chat([{"id": 0}]), PROBES, "batch 1, message 1 must be an object"),
        (chat([message(0, "a"), message(0, "b")]), PROBES, "id must be unique, but '0' comes twice"),
        (
            chat([message(0, "a", time_anchor="soon")]),
            PROBES,
            "must be a date such as March-15-2024, not 'soon'",
        ),
        (SMALL, [], "must be an object of arrays"),
        (SMALL, {"abstention": [{"question": " "}]}, 'abstention 1 needs a "question"'),
    ],
)
def test_files_that_are_not_beam_are_refused(tmp_path, value, probes, complaint) -> None:
    with pytest.raises(DatasetError) as raised:
        beam.read(published(tmp_path, 1, value, probes))
    assert complaint in str(raised.value)


def test_a_folder_without_chats_is_refused(tmp_path) -> None:
    with pytest.raises(DatasetError, match="no BEAM chat"):
        beam.read(tmp_path)


@pytest.mark.skipif(not BEAM.exists(), reason=f"there is no BEAM at {BEAM}")
def test_the_published_chats_are_read_whole() -> None:
    dataset = beam.read(BEAM)
    scored = [question for _, question in dataset.questions() if question.evidence]
    assert (len(dataset.conversations), dataset.turn_count, len(scored)) == (16, 4030, 287)


def test_what_the_chat_does_not_say_is_unanswerable_and_a_rubric_is_kept(tmp_path) -> None:
    probes = {
        "abstention": [{"question": "Which colour?", "ideal_response": "Not said.", "rubric": ["no colour"]}],
        "knowledge_update": [{"question": "Leaks?", "answer": "yes", "source_chat_ids": [2]}],
    }
    dataset = beam.read(published(tmp_path, 3, SMALL, probes))
    first, second = (question for _, question in dataset.questions())
    assert (first.unanswerable, first.rubric) == (True, ("no colour",))
    assert (second.unanswerable, second.rubric) == (False, ())
    assert (dataset.metric, dataset.licence) == ("judge", "CC BY-SA 4.0")


def test_a_chat_of_plans_is_its_batches_one_after_another(tmp_path) -> None:
    plans = [{"plan-1": chat([message(0, "First.")])}, {"plan-2": chat([message(1, "Second.")])}]
    (conversation,) = beam.read(published(tmp_path, 1, plans)).conversations
    assert [turn.text for turn in conversation.turns] == ["First.", "Second."]


def test_only_so_many_chats_are_read_as_are_wanted(tmp_path) -> None:
    published(tmp_path, 2, "not a chat")
    assert [each.id for each in beam.read(published(tmp_path, 1, SMALL), most=1).conversations] == ["1"]
