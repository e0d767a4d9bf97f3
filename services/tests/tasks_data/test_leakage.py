"""The leakage check: planted leaks are found, each with a control that is none."""

import pytest

from memalpha.tasks.data import build
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
