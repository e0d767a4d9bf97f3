"""The generator: pure, honest about what it asks, and split so that evaluation is unseen."""

from collections import Counter
from functools import reduce

import pytest

from memalpha.errors import InvalidInputError
from memalpha.tasks import Instance
from memalpha.tasks.ledger import KINDS, NOT_KNOWN, grammar, ledger
from memalpha.tasks.ledger.plot import STATEMENTS, UNIT_CHUNKS
from memalpha.tasks.ledger.wording import WORDINGS, Act, wordings
from memalpha.tasks.ledger.words import ATTRIBUTES, EVENTS, PASSES, VALUES, names


def told(instance: Instance) -> list[grammar.Clause]:
    return [clause for chunk in instance.chunks for clause in grammar.strict(chunk.text)]


def test_the_same_arguments_give_the_same_stream_and_any_other_another() -> None:
    assert ledger(3, 2) == ledger(3, 2)
    assert ledger(3, 2).chunks != ledger(4, 2).chunks
    assert ledger(3, 2).chunks != ledger(3, 2, split="eval").chunks


@pytest.mark.parametrize("units", [1, 4, 13])
def test_every_length_asks_the_same_mix(units: int) -> None:
    one = ledger(7, units)
    assert len(one.chunks) == units * UNIT_CHUNKS
    assert Counter(each.kind for each in one.questions) == dict.fromkeys(KINDS, 2)


def test_every_sentence_is_understood_but_the_distractors() -> None:
    one = ledger(5, 4)
    # one statement in eighteen is a distractor, four in four units
    assert len(told(one)) == len(one.chunks) * STATEMENTS - 4
    assert {clause.act for clause in told(one)} >= set(Act) - {Act.FORMER}


def test_hot_keys_are_touched_in_proportion_and_cold_ones_once() -> None:
    for units in (1, 4, 13):
        one = ledger(11, units)
        facts = Counter(each.key for each in told(one) if not each.hedged and each.act is not Act.REPEAT)
        cold, hot = (_key(each.question) for each in one.questions if each.kind == "current")
        assert facts[hot] == 2 * units
        assert facts[cold] == 1


def _key(question: str) -> grammar.Key:
    name, _, word = question.split(" is ")[-1].split(" now")[0].partition("'s ")
    return name, word


@pytest.mark.parametrize("seed", range(20))
def test_evidence_holds_the_answer(seed: int) -> None:
    one = ledger(seed, 3)
    for question in one.questions:
        text = " ".join(one.chunks[place].text for place in question.evidence)
        answer = question.answers[0]
        if question.kind in ("current", "former", "date"):
            assert answer in text
        if question.kind == "never_told":
            assert answer == NOT_KNOWN


def test_both_answers_of_yes_and_no_come_up() -> None:
    answers = Counter(each.answers[0] for seed in range(40) for each in ledger(seed).questions[4:6])
    # 80 answers, each of probability near a half
    assert answers["yes"] > 20
    assert answers["no"] > 20


def test_training_and_evaluation_share_no_name_and_no_combination_of_wordings() -> None:
    assert not set(names("train")) & set(names("eval"))
    shown = {side: _combinations(side) for side in ("train", "eval")}
    shared = shown["train"] & shown["eval"]
    # some combinations, such as those of one wording per act, are all of one side
    assert len(shared) < 0.02 * len(shown["eval"])


def _combinations(side) -> set[str]:
    return {
        "|".join(sorted(_templates(chunk.text)))
        for seed in range(6)
        for chunk in ledger(seed, 13, split=side).chunks
    }


def _templates(text: str) -> list[str]:
    """The sentences of a chunk with slots again; hedges stay as they are."""
    return [_template(sentence) for sentence in text.removesuffix(".").split(". ")]


def _template(sentence: str) -> str:
    words = [word for clause in grammar.strict(sentence) for word in (*clause.key, *clause.values)]
    return reduce(lambda text, word: text.replace(word, "_"), words, sentence)


def test_a_name_is_never_another_word_of_the_vocabulary() -> None:
    words = {word.casefold() for values in VALUES.values() for word in values}
    words |= {*ATTRIBUTES, *PASSES, *EVENTS}
    assert not words & {name.casefold() for side in ("train", "eval") for name in names(side)}


def test_unseen_wording_says_the_same_in_other_words() -> None:
    plain, other = told(ledger(9, 4)), told(ledger(9, 4, unseen_wording=True))
    assert [each.key for each in plain] != []
    assert {wording.template for wording in wordings(Act.SET, unseen=True)}.isdisjoint(
        wording.template for wording in wordings(Act.SET, unseen=False)
    )
    assert Counter(each.act for each in plain)[Act.REVOKE] == Counter(each.act for each in other)[Act.REVOKE]


def test_every_wording_is_read_as_what_it_says() -> None:
    slots = {"n": "Tavo", "a": "home", "b": "badge", "e": "exam", "v": "Oslo", "w": "Rome", "d": "2024-05-01"}
    for wording in WORDINGS:
        [clause] = grammar.strict(wording.template.format(**slots))
        assert (clause.act, clause.key[0]) == (wording.act, "Tavo"), wording.template
        assert grammar.loose(wording.template.format(**slots)) == (clause,)


@pytest.mark.parametrize("units", [0, 61])
def test_a_length_that_the_names_do_not_suffice_for_is_refused(units: int) -> None:
    with pytest.raises(InvalidInputError, match=f"units must be from 1 to 60, not {units}"):
        ledger(0, units)
