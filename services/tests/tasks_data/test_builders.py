"""Builders: what instances are made of, in which sizes, where the evidence is, and that seeds decide."""

from itertools import islice

import pytest

from memalpha.tasks.data import SOURCES, DatasetError, Limits, build
from memalpha.tasks.data.builders.events import is_told
from memalpha.tasks.data.builders.stories import keywords
from memalpha.tasks.data.frames import LINES
from memalpha.tasks.data.packing import Packing, holding
from memcore import count_tokens

from .support import SMALL, document, history, lines, multihop, session, squad


def test_packing_fills_chunks_in_order_and_takes_a_text_whole_or_not_at_all() -> None:
    packing = Packing([4, 4], most=6, separator=" ")
    assert packing.add("a b c") == {0: "a b c"}
    # two more tokens do not fit into four, so they open the second chunk
    assert packing.add("d e") == {1: "d e"}
    assert packing.add("f g h i") is None
    assert packing.add("f") == {1: "f"}
    assert packing.bodies() == ["a b c", "d e f"]


def test_a_text_longer_than_a_chunk_is_cut_and_the_piece_with_the_answer_is_found() -> None:
    packing = Packing([12] * 9, most=12)
    text = "Ada was born in the old town of Oslo. Later she moved far away to Bergen. She died there."
    pieces = packing.add(text)
    assert pieces is not None
    assert len(pieces) > 1
    assert "".join(pieces.values()) == text
    assert [pieces[place] for place in holding(pieces, ["bergen"])] == [
        piece for piece in pieces.values() if "Bergen" in piece
    ]
    assert holding(pieces, ["nowhere"]) == tuple(pieces)


def test_passage_questions_know_the_chunk_that_holds_their_answer(tmp_path) -> None:
    path = document(tmp_path / "train-v1.json", squad(30))
    (made,) = build("squad", path, limits=Limits(chunk_tokens=(60, 90), chunks=(1, 50)))
    assert len(made.questions) == 30
    for question in made.questions:
        (place,) = question.evidence
        assert question.answers[0] in made.chunks[place].text
    assert {question.metric for question in made.questions} == {"substring"}


def test_an_instance_holds_only_what_its_questions_need_and_each_once(tmp_path) -> None:
    rows = [multihop(n, title="Shared") for n in (1, 2)]
    rows[1]["context"][0] = rows[0]["context"][0]
    path = lines(tmp_path / "hotpot_train.jsonl", *rows)
    (made,) = build("hotpotqa", path, limits=SMALL)
    text = "\n".join(chunk.text for chunk in made.chunks)
    assert text.count("about the book number 1") == 1
    assert "Oslo" not in text
    # the shared article and the life of the second writer, which holds the answer
    assert len(made.questions[1].evidence) == 2


def test_yes_and_no_and_long_answers_are_not_asked(tmp_path) -> None:
    rows = [multihop(1, answer="yes"), multihop(2, answer="a b c d e f g"), multihop(3)]
    path = lines(tmp_path / "hotpot_train.jsonl", *rows)
    (made,) = build("hotpotqa", path, limits=SMALL.with_(answer_tokens=4))
    assert [question.question for question in made.questions] == ["Who wrote book number 3?"]


def test_a_full_instance_is_followed_by_the_next_and_a_poor_one_is_dropped(tmp_path) -> None:
    path = document(tmp_path / "train-v1.json", squad(11))
    sizes = Limits(chunk_tokens=(30, 30), chunks=(2, 5), questions=(2, 3))
    made = list(build("squad", path, limits=sizes))
    # a paragraph has about 20 tokens, so five chunks take five of them; one of eleven is left over
    assert [len(each.chunks) for each in made] == [5, 5]
    assert [len(each.questions) for each in made] == [3, 3]
    assert [each.instance_id for each in made] == ["squad-train-00001", "squad-train-00002"]
    assert len(list(build("squad", path, limits=sizes.with_(instances=1)))) == 1


def test_builders_read_no_more_than_they_are_asked_for(tmp_path) -> None:
    path = lines(tmp_path / "hotpot_train.jsonl", *(multihop(n) for n in range(40)))
    with path.open("a") as file:
        file.write("this is not JSON\n")
    sizes = SMALL.with_(chunks=(1, 6))
    assert len(list(islice(build("hotpotqa", path, limits=sizes), 2))) == 2
    with pytest.raises(DatasetError, match="line 41 is not JSON"):
        list(build("hotpotqa", path, limits=sizes))


def banking(path, sentences=40, labels=4):
    path.write_text(
        "".join(f"please do thing number {n} for me,label {n % labels}\n" for n in range(sentences))
    )
    return path


def test_questions_of_a_classification_are_new_sentences_with_labels_that_were_told(tmp_path) -> None:
    sizes = Limits(chunk_tokens=(60, 80), chunks=(3, 3), questions=(5, 10), instances=20)
    made = list(build("banking77", banking(tmp_path / "train.csv"), limits=sizes))
    assert len(made) == 20
    for each in made:
        told = "\n".join(chunk.text for chunk in each.chunks)
        for question in each.questions:
            assert question.question.split("\n")[0] not in told
            for place in question.evidence:
                assert f"Label: {question.answers[0]}\n" in each.chunks[place].text


def test_what_a_number_stands_for_changes_from_instance_to_instance(tmp_path) -> None:
    sizes = Limits(chunk_tokens=(60, 80), chunks=(3, 3), questions=(5, 10), instances=20)
    made = build("banking77", banking(tmp_path / "train.csv"), limits=sizes)
    numbers = [{question.kind: question.answers for question in each.questions} for each in made]
    assert len({each.get("label 0") for each in numbers}) > 1


def test_a_classification_needs_a_number_of_instances(tmp_path) -> None:
    with pytest.raises(DatasetError, match="instances must be 1 or more for banking77"):
        list(build("banking77", banking(tmp_path / "train.csv"), limits=SMALL.with_(instances=0)))


def test_keywords_are_content_words_that_half_of_the_people_chose() -> None:
    references = ["The pirate steals gold.", "A pirate hides silver.", "Somebody hides.", "The pirate wins."]
    assert keywords(references, {"pirate", "hides", "gold"}) == ["pirate", "hides"]
    assert keywords(references, {"gold"}) == []
    assert keywords(["They think about that."] * 2, {"they", "think", "about", "that"}) == []


def test_a_story_is_asked_for_by_the_days_it_was_read_on(tmp_path) -> None:
    reference = {"response_text": "The pirate hides silver coins."}
    row = {
        "document": "\n\n".join(f"Part {n}: the pirate hides the silver coins again." for n in range(3)),
        "questions": [{"question_text": "Plot?", "question_number": 1, "responses": [reference] * 2}],
    }
    (made,) = build("squality", lines(tmp_path / "train.jsonl", row), limits=SMALL)
    (question,) = made.questions
    assert question.question == "Summarize the story that I read from 2024-01-01 to 2024-01-03."
    assert question.answers == ("pirate, hides, silver, coins",)
    assert [chunk.event_time[:10] for chunk in made.chunks] == ["2024-01-01", "2024-01-02", "2024-01-03"]


def beam(folder, messages, probes):
    turns = [{"id": n, "role": "user", "content": f"Fact {n} is told here."} for n in range(messages)]
    turns[0]["time_anchor"] = "March-05-2024"
    document(folder / "01.chat.json", [{"turns": [turns]}])
    document(folder / "01.probing_questions.json", {"information_extraction": probes})
    return folder


def test_a_chat_is_cut_and_each_question_goes_where_its_whole_evidence_is(tmp_path) -> None:
    probes = [
        {"question": f"{name}?", "answer": "a", "source_chat_ids": ids}
        for name, ids in {"first": [0], "later": [8, 9], "split": [0, 9]}.items()
    ]
    made = list(build("beam", beam(tmp_path, 10, probes), limits=SMALL.with_(chunks=(1, 5))))
    assert [[question.question for question in each.questions] for each in made] == [["first?"], ["later?"]]
    for each in made:
        assert all(chunk.text.startswith("[Conversation on 2024-03-05]\nUser: Fact") for chunk in each.chunks)
    assert "Fact 8" in made[1].chunks[made[1].questions[0].evidence[0]].text


def test_of_a_long_history_the_evidence_stays_and_others_go(tmp_path) -> None:
    filler = [session(f"s{n}", "We talked about the weather for a long while today.") for n in range(30)]
    told = session("dog", "My dog is called Biscuit.", "What a name!")
    row = history(*filler[:20], told, *filler[20:], evidence=("dog",))
    sizes = Limits(chunk_tokens=(40, 60), chunks=(2, 6))
    (made,) = build("longmemeval", lines(tmp_path / "lme_train.jsonl", row), limits=sizes)
    (question,) = made.questions
    assert "Biscuit" in made.chunks[question.evidence[0]].text
    assert 2 <= len(made.chunks) <= 6
    assert (question.metric, question.time) == ("judge", "2023-06-01T10:00")
    dates = [chunk.event_time for chunk in made.chunks]
    assert dates == sorted(dates)


def test_a_history_without_its_evidence_is_dropped(tmp_path) -> None:
    row = history(session("a", "Hello there."), evidence=("gone",))
    assert list(build("longmemeval", lines(tmp_path / "lme_train.jsonl", row), limits=SMALL)) == []


def test_an_event_is_a_chunk_and_only_what_it_tells_is_asked(tmp_path) -> None:
    memory = [
        {
            "profile": {"Protagonist": "Lin"},
            "events": {
                "4_0_0": {"summary": "A trip.", "content": "Lin saw Rome.", "Creation Time": "2022-01-05"},
                "4_0_1": {"summary": "A job.", "content": "Lin cooks.", "Creation Time": "last year"},
            },
            "dialogues": {},
        }
    ]
    asked = {
        "social_relationship": [{"4_0": [{"Question": "Who cooks?", "Answer": "Lin"}]}],
        "events": [
            {"4_0_0": [{"Question": q, "Answer": a} for q, a in (("Where?", "Rome"), ("Why?", "fun"))]}
        ],
    }
    document(tmp_path / "perltmem_en.json", memory)
    document(tmp_path / "perltqa_en.json", [{"Lin": asked}])
    (made,) = build("perltqa", tmp_path, limits=SMALL.with_(chunk_tokens=(100, 100)))
    assert [chunk.event_time for chunk in made.chunks] == ["2022-01-05T00:00:00", ""]
    assert [(question.question, question.evidence) for question in made.questions] == [
        ("Who cooks?", (0, 1)),
        ("Where?", (0,)),
    ]


def test_half_of_an_answer_is_enough_to_count_as_told() -> None:
    assert is_told("old Rome", "She saw Rome.")
    assert not is_told("old grey Rome", "She saw Rome.")
    assert not is_told("", "She saw Rome.")


def test_the_seed_decides_everything_and_each_instance_draws_alone(tmp_path) -> None:
    path = document(tmp_path / "train-v1.json", squad(40))
    sizes = Limits(chunk_tokens=(30, 60), chunks=(2, 6), questions=(2, 3))
    first, again, other = (list(build("squad", path, seed=seed, limits=sizes)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    few = list(build("squad", path, seed=1, limits=sizes.with_(instances=2)))
    assert few == first[:2]


def test_chunks_keep_their_limit_and_say_nothing_else_but_their_frame(tmp_path) -> None:
    path = document(tmp_path / "train-v1.json", squad(40))
    for each in build("squad", path, limits=Limits(chunk_tokens=(30, 60), chunks=(2, 6))):
        for chunk in each.chunks:
            kept = [line for line in chunk.text.split("\n") if line.partition(": ")[2] not in LINES]
            assert kept[0] == f"[Conversation on {chunk.event_time.replace('T', ' ')}]"
            assert count_tokens("\n".join(kept[1:])) <= 60


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"chunks": (5, 2)}, "chunks must be a range from 1 or more, not 5-2"),
        ({"chunk_tokens": (1, 9)}, "chunk_tokens must be a range from 16 or more"),
        ({"questions": (0, 9)}, "questions must be a range from 1"),
        ({"instances": -1}, "instances must be 0 or more, not -1"),
    ],
)
def test_limits_that_nothing_can_keep_are_refused(settings, complaint) -> None:
    with pytest.raises(DatasetError, match=complaint):
        Limits(**settings)


def test_every_source_has_limits_that_hold() -> None:
    assert {"squad", "nq", "hotpotqa", "2wiki", "musique", "perltqa", "beam"} <= set(SOURCES)
    assert all(source.limits.instances == 100 for source in SOURCES.values())
