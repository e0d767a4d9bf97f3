"""The leakage check: planted leaks are found, each with a control that is none."""

import os
import subprocess
import sys
import unicodedata

import pytest

from memalpha.tasks.data import build, files
from memalpha.tasks.data.builders.labels import ASK
from memalpha.tasks.data.frames import LINES, PASSAGES
from memalpha.tasks.data.leakage import Test as Held

from .support import SMALL, document, instance, lines, multihop, squad

ANSWERING = "The old lighthouse keeper moved to the town of Oslo in the winter of 1911."


def kinds(train, test) -> list[str]:
    return [leak.kind for leak in Held.of([test]).leaks([train])]


def test_strangers_do_not_leak() -> None:
    test = instance(ANSWERING, question="Where did the keeper move?")
    assert kinds(instance("Bees make honey.", question="What do bees make?", answers=("honey",)), test) == []


def test_the_same_question_with_the_same_answer_leaks() -> None:
    test = instance(question="Where did the old keeper move?")
    train = instance("Nothing.", question="where did the OLD keeper move")
    (leak,) = Held.of([test]).leaks([train])
    assert (leak.kind, leak.alike, leak.test, leak.train) == (
        "question",
        1.0,
        "one, question 1",
        "one, question 1",
    )
    # many stories are asked for their plot: words alone are no leak
    assert kinds(instance("Nothing.", question=test.questions[0].question, answers=("Rome",)), test) == []


def test_a_near_copy_of_a_question_leaks_and_a_distant_one_does_not() -> None:
    asked = "In which town on the coast did the old lighthouse keeper finally settle in 1911?"
    test = instance("Nothing.", question=asked)
    assert kinds(instance("Nothing.", question=f"{asked} Tell"), test) == ["question"]
    # four words of fifteen are others
    distant = "In which village near the sea did the old lighthouse keeper finally settle in 1911?"
    assert kinds(instance("Nothing.", question=distant), test) == []


def test_every_near_copy_is_found_though_only_the_rarest_pairs_are_looked_up() -> None:
    words = [f"w{n}" for n in range(21)]
    test = instance("Nothing.", question=" ".join(words))
    common = [instance("Nothing.", question=" ".join(words[n : n + 4]), name=f"c{n}") for n in range(15)]
    held = Held.of([test, *common])
    for place in range(1, 20):
        changed = [*words[:place], "other", *words[place + 1 :]]
        # of 20 pairs 18 stay, and two are new: 18 of 22 are shared
        (leak, *_) = (
            leak
            for leak in held.leaks([instance("Nothing.", question=" ".join(changed))])
            if leak.test == "one, question 1"
        )
        assert leak.alike == pytest.approx(18 / 22)


def test_a_line_that_answers_leaks_even_if_it_was_retouched() -> None:
    test = instance(f"User: Keep this.\n{ANSWERING}\nAssistant: Done.", evidence=(0,))
    other = {"question": "Who is it?", "answers": ("x",)}
    assert kinds(instance(f"{ANSWERING} It was cold.", **other), test) == ["context"]
    assert kinds(instance(ANSWERING.replace("winter", "summer"), **other), test) == ["context"]
    shared = "The old lighthouse keeper moved away and nobody ever heard from him again in all those years."
    assert kinds(instance(shared, **other), test) == []


def test_a_line_that_does_not_hold_the_answer_may_be_shared() -> None:
    test = instance(f"{ANSWERING}\nThe weather on the coast was bad for most of that year, people say.")
    train = instance(
        "The weather on the coast was bad for most of that year, people say.", question="Q?", answers=("x",)
    )
    assert kinds(train, test) == []


def test_frames_may_be_shared() -> None:
    frame = "\n".join(sorted(LINES))
    answer = next(word for word in PASSAGES[0].split() if len(word) > 6)
    test = instance(frame, answers=(answer,))
    assert kinds(instance(frame, question="Q?", answers=("x",)), test) == []


def test_of_evidence_that_answers_as_a_whole_a_phrase_may_be_shared_and_a_half_may_not() -> None:
    texts = [
        f"On day {n} the crew of ship number {n} found an island with {n} trees on it." for n in range(4)
    ]
    test = instance("\n".join(texts), metric="judge", answers=("They found islands.",))
    other = {"question": "Q?", "answers": ("x",)}
    assert kinds(instance(texts[0], **other), test) == []
    assert kinds(instance("\n".join(texts[:2]), **other), test) == ["context"]


def test_a_labelled_sentence_leaks_whatever_its_number_and_wherever_it_stands() -> None:
    test = instance(
        "Nothing.", question=f"Sentence: wake me up at seven\n{ASK}", answers=("3",), metric="label"
    )
    asked = instance(
        "Nothing.", question=f"Sentence: wake me up at seven\n{ASK}", answers=("1",), metric="label"
    )
    told = instance("Sentence: Wake me up at seven!\nLabel: 3", question="Q?", answers=("x",))
    other = instance("Sentence: play some jazz\nLabel: 3", question=f"Sentence: stop it now\n{ASK}")
    assert (kinds(asked, test), kinds(told, test), kinds(other, test)) == (["question"], ["question"], [])


def test_training_on_what_questions_were_composed_of_is_told() -> None:
    test = instance("Nothing.", source="musique")
    assert kinds(instance("x", question="Q?", answers=("x",), source="nq"), test) == ["composition"]
    assert kinds(instance("x", question="Q?", answers=("x",), source="hotpotqa"), test) == []


def test_a_question_is_told_once_for_each_kind() -> None:
    test = instance(ANSWERING, question="Where did the old keeper move?")
    assert sorted(leak.kind for leak in Held.of([test]).leaks([test, test])) == ["context", "question"]


def test_a_build_apart_from_a_test_leaves_out_what_would_leak(tmp_path) -> None:
    path = lines(tmp_path / "hotpot_train.jsonl", *(multihop(n) for n in range(9)))
    document(tmp_path / "hotpot_dev.json", [multihop(3)])
    test = list(build("hotpotqa", tmp_path, split="dev", limits=SMALL))
    (with_leak,) = build("hotpotqa", path, limits=SMALL)
    assert list(Held.of(test).leaks([with_leak]))
    (clean,) = build("hotpotqa", path, limits=SMALL, apart=Held.of(test))
    assert len(clean.questions) < len(with_leak.questions)
    assert list(Held.of(test).leaks([clean])) == []


def test_a_passage_of_the_test_is_left_out_with_its_questions(tmp_path) -> None:
    path = document(tmp_path / "train-v1.json", squad(5))
    paragraph = squad(5)["data"][0]["paragraphs"][2]["context"]
    test = instance(paragraph, question="Which town is it?", answers=("Alba 2",))
    (made,) = build("squad", path, limits=SMALL, apart=Held.of([test]))
    asked = " ".join(question.question for question in made.questions)
    assert "river 2" not in asked


def wrapped(text: str, words: int) -> str:
    said = text.split()
    return "\n".join(" ".join(said[start : start + words]) for start in range(0, len(said), words))


@pytest.mark.parametrize("words", [3, 6])
def test_an_answering_line_leaks_however_its_words_are_broken_into_lines(words) -> None:
    test = instance(ANSWERING, evidence=(0,))
    other = {"question": "Q?", "answers": ("x",)}
    assert kinds(instance(wrapped(ANSWERING, words), **other), test) == ["context"]
    # the same words in another order share no run of five
    backwards = " ".join(reversed(ANSWERING.split()))
    assert kinds(instance(wrapped(backwards, words), **other), test) == []


@pytest.mark.parametrize(
    ("text", "answer", "other"),
    [
        ("老灯塔看守人在一九一一年冬天搬到了奥斯陆城。", "奥斯陆", "蜜蜂在夏天的花园里采集花蜜并酿造蜂蜜。"),
        (
            "古い灯台守は一九一一年の冬にオスロの町へ引っ越した。",
            "オスロ",
            "蜂は夏の庭で花の蜜を集めて蜂蜜を作る。",
        ),
        ("ผู้ดูแลประภาคารย้ายไปอยู่ที่เมืองออสโลในฤดูหนาว", "ออสโล", "ผึ้งเก็บน้ำหวานจากดอกไม้ในสวนช่วงฤดูร้อน"),
    ],
)
def test_scripts_without_spaces_are_compared_by_character(text, answer, other) -> None:
    test = instance(text, question="Q?", answers=(answer,))
    assert kinds(instance(f"{text[:-2]}!", question="R?", answers=("x",)), test) == ["context"]
    assert kinds(instance(other, question="R?", answers=("x",)), test) == []


def test_letters_that_are_spelt_in_two_ways_are_the_same() -> None:
    line = "The café of Zoë stood in the town of Malmö until the end of the war."
    test = instance(line, question="Q?", answers=("Malmö",))
    taken_apart = unicodedata.normalize("NFD", line)
    assert taken_apart != line
    assert kinds(instance(taken_apart, question="R?", answers=("x",)), test) == ["context"]
    apart = instance(taken_apart, question="Q?", answers=("Malmö",))
    assert kinds(instance(line, question="R?", answers=("x",)), apart) == ["context"]


def test_a_line_in_brackets_is_data_unless_it_is_the_header_of_a_frame() -> None:
    other = {"question": "Q?", "answers": ("x",)}
    bracketed = f"[1] {ANSWERING}"
    whole = f"[1911: {ANSWERING}]"
    assert kinds(instance(whole, **other), instance(whole)) == ["context"]
    assert kinds(instance(bracketed, **other), instance(bracketed)) == ["context"]
    for header in (
        "[Conversation on 2024-01-02 10:20]",
        "[What happened to the old keeper of Oslo and his dog on the island on 2024-01-02]",
        "[Dialogue between User and Assistant on 2024-01-02 10:20]",
    ):
        assert kinds(instance(header, **other), instance(header, answers=("on",))) == []


def test_what_is_told_does_not_depend_on_the_hash_seed(tmp_path) -> None:
    # each line is like all others, and they differ in length: in another order half is reached elsewhere
    texts = [f"{ANSWERING}{' Very' * (n % 5)} w{n}{' far' * (n // 3)}." for n in range(12)]
    path = tmp_path / "f.jsonl"
    files.write(path, [instance("\n".join(texts), metric="judge", answers=("x",))])
    script = (
        "import sys; from pathlib import Path; from memalpha.tasks.data import files\n"
        "from memalpha.tasks.data.leakage import Test\n"
        "found = list(files.read(Path(sys.argv[1])))\n"
        "print(list(Test.of(found).leaks(found)))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1
    assert "context" in told.pop()


def beam_chat(folder, *questions: str) -> None:
    chat = [{"turns": [[{"id": 0, "role": "user", "content": "I bought a kayak last week."}]]}]
    document(folder / "1.chat.json", chat)
    probes = [{"question": each, "answer": "kayak", "source_chat_ids": [0]} for each in questions]
    document(folder / "1.probing_questions.json", {"information_extraction": probes})


def test_a_chat_whose_question_the_test_asks_is_left_out(tmp_path) -> None:
    asked = "Which kind of boat did the user buy last week?"
    beam_chat(tmp_path, asked, "What was bought?")
    (made,) = build("beam", tmp_path, limits=SMALL)
    test = Held.of([instance("Nothing.", question=asked, answers=("kayak",))])
    assert list(test.leaks([made]))
    # an answer that a judge compares may be worded otherwise
    worded = Held.of([instance("Nothing.", question=asked, answers=("a small boat",), metric="judge")])
    for apart in (test, worded):
        assert list(build("beam", tmp_path, limits=SMALL, apart=apart)) == []
    stranger = Held.of([instance("Nothing.", question="Who painted the old house by the sea?")])
    assert list(build("beam", tmp_path, limits=SMALL, apart=stranger)) == [made]


def squality(path, number: int) -> None:
    told = f"Keeper{number} guarded lighthouse number {number} against pirates{number} and lanterns fell."
    answer = [{"response_text": f"Lighthouse guarded against pirates lanterns fell {number}."}] * 2
    questions = [
        {"question_text": "What is guarded in the story?", "question_number": 2, "responses": answer}
    ]
    lines(path, {"document": told, "questions": questions})


def test_a_story_whose_question_and_answer_the_test_has_is_left_out(tmp_path) -> None:
    squality(tmp_path / "train.jsonl", 1)
    (made,) = build("squality", tmp_path, limits=SMALL)
    (question,) = made.questions
    same = Held.of([instance("Nothing.", question=question.question, answers=question.answers)])
    assert list(same.leaks([made]))
    assert list(build("squality", tmp_path, limits=SMALL, apart=same)) == []
    # stories are asked the same things: only with the answer it is the same question
    other = Held.of([instance("Nothing.", question=question.question, answers=("a bridge",))])
    assert list(build("squality", tmp_path, limits=SMALL, apart=other)) == [made]


def test_what_a_test_was_composed_of_is_built_apart_from_it(tmp_path) -> None:
    path = document(tmp_path / "train-v1.json", squad(2))
    test = Held.of([instance("Nothing.", source="musique")])
    assert len(list(build("squad", path, limits=SMALL, apart=test))) == 1
