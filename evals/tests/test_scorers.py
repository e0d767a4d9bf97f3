"""Strict scorers take what is right and nothing else; papers' scorers do as their papers do, faults too."""

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from memalpha_evals import scorers
from memalpha_evals.rows import Row
from memalpha_evals.scorers.abstention import abstains, abstention
from memalpha_evals.scorers.containment import contains
from memalpha_evals.scorers.options import chosen
from memalpha_evals.scorers.paper import _BABI, PAPERS, paper
from memalpha_evals.scorers.words import spans, words

LOCOMO = Path(__file__).parents[3] / "shared" / "data" / "locomo" / "locomo10.dev.json.gz"
HOBBIES = ("Running", "Wood carving", "Juggling", "Collecting stamps")


def row(*, answer="", answers=("Lake Orta",), dataset="locomo", category="single-hop", **more) -> Row:
    return Row(
        dataset=dataset,
        system="system",
        reader="reader",
        conversation="c",
        question_id="1",
        category=category,
        cluster="c",
        question=more.pop("question", "Where does Bo swim?"),
        answers=answers,
        answer=answer,
        **more,
    )


def score(name, **given) -> float:
    return scorers.score(row(**given))[name]


@pytest.mark.parametrize(
    ("answer", "em", "f1", "contains"),
    [
        ("Lake Orta", 1, 1, 1),
        ("the lake, Orta", 1, 1, 1),
        # 2 words common: 2 * 2 / (4 + 2)
        ("swims in Lake Orta", 0, 2 / 3, 1),
        # 1 word common: 2 * 1 / (1 + 2), and what is said stands in what is right
        ("Orta", 0, 2 / 3, 0),
        ("Lake Ortago", 0, 0.5, 0),
        ("", 0, 0, 0),
        ("The", 0, 0, 0),
    ],
)
def test_free_answers(answer, em, f1, contains) -> None:
    found = scorers.score(row(answer=answer))
    assert (found["strict.em"], found["strict.contains"]) == (em, contains)
    assert found["strict.f1"] == pytest.approx(f1)


def test_an_answer_that_says_everything_says_too_much() -> None:
    # the right answer has two words: at most 2 * 2 + 20 = 24 are taken
    told = "Bo told me that he and I would be there by then since it is where we met him so as to"
    assert len(words(told)) == 22
    assert score("strict.contains", answer=f"{told} Lake Orta") == 1
    assert score("strict.contains", answer=f"{told} our Lake Orta") == 0


def test_aliases_count_and_the_best_one_is_taken() -> None:
    given = {"answers": ("Saint Bernadette Soubirous", "St. Bernadette")}
    assert score("strict.em", answer="St Bernadette", **given) == 1
    assert score("strict.em", answer="Bernadette", **given) == 0


def test_dates_and_numbers_are_compared_by_value() -> None:
    assert score("strict.em", answer="May 7, 2023", answers=("2023-05-07",)) == 1
    assert score("strict.contains", answer="for eight weeks", answers=("8 weeks",)) == 1
    assert score("strict.contains", answer="4 weeks", answers=("8 weeks",)) == 0


def test_yes_and_no_are_right_or_wrong_whole() -> None:
    assert score("strict.f1", answer="no yes", answers=("yes",)) == 0
    assert score("strict.f1", answer="Yes.", answers=("yes",)) == 1


def test_the_thought_of_a_model_is_no_answer() -> None:
    assert score("strict.em", answer="<think>Lake Como?</think>Lake Orta") == 1
    assert score("strict.contains", answer="<think>Lake Orta") == 0


def test_abstaining_is_wrong_where_there_is_an_answer() -> None:
    given = {"answers": ("not mentioned by name",)}
    assert score("strict.contains", answer="No answer: Lake Orta is not mentioned.") == 0
    # unless the right answer says as much
    assert score("strict.em", answer="not mentioned by name", **given) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "no answer",
        "No answer.",
        "It is not mentioned.",
        "I don't know.",
        "The context does not say where.",
        "N/A",
        "I’m not sure",
        "No answer: not mentioned.",
        "Based on the context, it is not specified where Bo swims.",
        "Her age is not mentioned in the conversation.",
        "Caroline does not mention where she met him.",
        "There is no mention of a boat.",
        "It can't be determined from the conversation",
        "The conversation tells of Ann's dog. It does not mention its age.",
        "The answer cannot be found in the context.",
        "I have no idea.",
        "The information is not available",
        "Her address is not given in the conversation.",
    ],
)
def test_an_answer_that_says_it_does_not_know_abstains(answer) -> None:
    assert abstains(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Lake Orta",
        "It is not mentioned, but probably Lake Orta.",
        "nobody answers the door",
        "She doesn't know how to swim",
        "I don't know how to swim",
        "No record label would sign them.",
        "The hotel was not available.",
        "The session was not recorded.",
        "The ticket was not given",
        "He couldn't tell red from green.",
        "They do not contain nuts",
        "He was not given a chance",
        "She didn't say goodbye",
        "There was no answer at the door",
        "The tickets weren't available at the gate",
        "Her mother is not known to like cats",
        "I can't find my keys",
        "It is not mentioned. " + "Then they walked home along the river. " * 4,
    ],
)
def test_hedging_and_talking_on_are_no_abstention(answer) -> None:
    assert not abstains(answer)


def test_abstention_is_precision_and_recall_and_a_failure_is_none() -> None:
    rows = [
        row(answer="no answer", unanswerable=True),
        row(answer="Lake Orta", unanswerable=True),
        row(answer="", failure="down", unanswerable=True),
        row(answer="no answer"),
        row(answer="Lake Orta"),
    ]
    found = abstention(rows)
    assert (found.said, found.right, found.due) == (2, 1, 3)
    assert (found.precision, found.recall) == (1 / 2, 1 / 3)
    assert abstention(rows[-1:]).precision is None


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("b", "b"),
        ("(B)", "b"),
        ("B. Wood carving", "b"),
        ("The answer is c", "c"),
        (r"so \boxed{d}", "d"),
        ("<final_answer>(a)</final_answer>", "a"),
        ("wood carving!", "b"),
        ("A dog would be nice", ""),
        ("Running and juggling", ""),
        ("(e)", ""),
        ("", ""),
    ],
)
def test_an_option_is_chosen_by_a_letter_that_is_meant_as_one_or_by_its_text(answer, letter) -> None:
    assert chosen(answer, HOBBIES) == letter


def test_each_kind_of_row_has_its_headline() -> None:
    kinds = {
        "options": row(answer="(b)", answers=("b",), options=HOBBIES),
        "unanswerable": row(answer="no answer", unanswerable=True),
        "label": row(answer=r"\boxed{12}", answers=("12",), metric="label"),
        "long": row(answer="a storm at sea", answers=("a storm at sea",), metric="judge"),
        "short": row(answer="Lake Orta"),
    }
    for kind, each in kinds.items():
        assert scorers.kind(each) == kind
        assert scorers.headline(each, scorers.score(each)) == 1
        assert scorers.headline(each, scorers.score(replace(each, answer="Mars"))) == 0


def test_a_failed_row_scores_0_by_every_name_that_it_would_have_had() -> None:
    answered = scorers.score(row(answer="Lake Orta", metric="f1"))
    failed = scorers.score(row(answer="Lake Orta", metric="f1", failure="reader: down"))
    assert failed.keys() == answered.keys()
    assert set(failed.values()) == {0}


def test_a_row_without_a_right_answer_has_no_score() -> None:
    assert scorers.score(row(answers=(), answer="Lake Orta")) == {}


def test_locomo_stems_words_and_treats_categories_as_its_paper_does() -> None:
    name = "paper.locomo_f1"
    assert score(name, answer="painted", answers=("painting",), category="temporal") == 1
    # two answers of a multi-hop question: one is there, one is not
    assert score(name, answer="the cello", answers=("cello, drums",), category="multi-hop") == 1 / 2
    # only the first of several answers counts in open-domain questions
    assert score(name, answer="glazing", answers=("glazing; chemistry",), category="open-domain") == 1
    assert score(name, answer="Not mentioned", unanswerable=True, category="adversarial") == 1
    assert score(name, answer="no answer", unanswerable=True, category="adversarial") == 0


def test_sub_em_goes_both_ways_as_published_and_ours_does_not() -> None:
    given = {"dataset": "hotpotqa-10k", "answers": ("Casino Royale",)}
    for answer in ("no", "The", "Royale"):
        found = scorers.score(row(answer=answer, **given))
        assert (found["paper.sub_em"], found["strict.contains"]) == (1, 0)
    boxed = scorers.score(row(answer=r"so it is \boxed{Casino Royale}", **given))
    assert boxed["paper.squad_em"] == 1


def test_memoryagentbench_takes_any_containment_and_has_its_strict_twin() -> None:
    found = scorers.score(row(dataset="memoryagentbench", answer="label: 43", answers=("4",)))
    assert found["paper.substring_exact_match"] == 1
    assert found["paper.exact_match"] == found["strict.contains"] == 0


def test_personamem_takes_the_only_letter_even_an_article() -> None:
    given = {"dataset": "personamem", "answers": ("a",), "options": HOBBIES}
    assert score("paper.letter", answer="<final_answer>(a)", **given) == 1
    assert score("paper.letter", answer="(a) or (b)", **given) == 0
    found = scorers.score(row(answer="a dog", **given))
    assert (found["paper.letter"], found["strict.option"]) == (1, 0)


def test_babilong_wants_one_label_and_no_other() -> None:
    given = {"dataset": "babilong", "category": "qa1", "answers": ("kitchen",), "question": "Where is Mary?"}
    assert score("paper.babilong", answer="Mary is in the kitchen. Then the office.", **given) == 1
    assert score("paper.babilong", answer="kitchen or office", **given) == 0


def test_babilong_wants_all_of_several_labels_and_knows_those_of_every_task() -> None:
    given = {"dataset": "babilong", "category": "qa8", "answers": ("apple,milk",), "question": "What has Bo?"}
    assert score("paper.babilong", answer="milk and an apple", **given) == 1
    for answer in ("milk", "milk, apple, football", "apple,"):
        assert score("paper.babilong", answer=answer, **given) == 0
    path = {"dataset": "babilong", "category": "qa19", "answers": ("e,n",), "question": "How do you go?"}
    assert score("paper.babilong", answer="e,n", **path) == 1
    assert score("paper.babilong", answer="e,n or s,w", **path) == 0
    assert {f"qa{task}" for task in range(1, 21)} == set(_BABI)


def test_a_metric_of_the_paper_is_computed_unless_it_needs_a_judge() -> None:
    found = scorers.score(
        row(dataset="memalpha", answer="a compass", answers=("a compass; figs",), metric="parts")
    )
    assert found["paper.parts"] == 1 / 2
    for dataset in ("longmemeval", "beam"):
        judged = scorers.score(row(dataset=dataset, answer="Lake Orta", metric="judge"))
        assert not any(name.startswith("paper.") for name in judged)


def test_a_suite_belongs_to_the_longest_beginning_of_its_name() -> None:
    assert paper("locomo-dev") is PAPERS["locomo"]
    assert paper("nq-100k") is PAPERS["nq"]
    assert paper("nqx").scorers == {}


def test_a_right_yes_or_no_has_to_come_first() -> None:
    for said in ("I have no idea", "Yes, there is no doubt", "She has no pets, yes"):
        assert contains(said, "no") == 0
    assert contains("She has no pets, yes", "yes") == 0
    assert contains("No, she left", "No.") == 1


@pytest.mark.parametrize(
    "said",
    [
        "Yes, she does, but she has no pets.",
        "Yes, there is no doubt.",
        "Yes, at No. 5",
        "Yes, no doubt.",
        "Based on the conversation, yes.",
        "According to Ann, yes, she has no car",
        "Most likely yes",
        "Presumably, yes",
        "She said yes",
        "Final answer: yes",
    ],
)
def test_a_yes_may_tell_of_what_is_not_and_say_where_it_is_from(said) -> None:
    assert contains(said, "yes") == 1
    assert contains(said, "no") == 0


@pytest.mark.parametrize(
    "said",
    [
        *(
            "yes or no",
            "No or yes",
            "Yes, or no",
            "either yes or no",
            "yes or maybe no",
            "yes/no",
            "Yes. No.",
        ),
        *(
            "Yes and no",
            "yeah no",
            "yes no yes no",
            "Yes, but no",
            "I think yes, well, no",
            "She said yes or no",
        ),
    ],
)
def test_both_are_neither(said) -> None:
    assert contains(said, "yes") == contains(said, "no") == 0


@pytest.mark.parametrize("said", ["Yeah", "Yep, she did", "I think yes", "Well, yes", "It's a yes."])
def test_a_yes_may_be_said_in_another_form_or_behind_words_that_lead_to_it(said) -> None:
    assert contains(said, "yes") == 1
    assert contains(said, "no") == 0


def test_a_no_behind_such_words_is_one_only_where_nothing_follows_that_it_belongs_to() -> None:
    assert contains("I think no, she left", "no") == contains("Nope", "no") == 1
    for said in ("I think no one knows", "It is no surprise", "I think yes, well, no"):
        assert contains(said, "no") == contains(said, "yes") == 0


MONTHS = "January February March April May June July August September October November December"
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"


def test_months_and_weekdays_in_a_row_are_guesses_and_a_date_is_none() -> None:
    for right in ("May", "December"):
        assert contains(MONTHS, right) == contains(MONTHS.replace(" ", ", "), right) == 0
    assert contains(f"It was {DAYS}", "Sunday") == 0
    years = "May 2023 June 2023 July 2023 August 2023 September 2023"
    assert contains(years, "July 2023") == 0
    assert contains("on Monday, 7 May 2023 at 10:30", "7 May 2023") == 1
    assert contains("Monday and Tuesday", "Monday") == 1
    for right in ("Monday", "Tuesday", "Friday"):
        assert contains("She bakes on Monday, Tuesday, Wednesday, Thursday and Friday", right) == 0
    assert contains("She bakes on Monday, Tuesday and Friday", "Tuesday") == 1


@pytest.mark.parametrize(
    "said",
    [
        "It is not Paris",
        "It ain't Paris",
        "Hardly Paris",
        "She never went to Paris.",
        "not in Paris",
        "It isn't Paris, it is London",
        "anywhere other than Paris",
        "Paris or London",
        "London, or maybe Paris",
        "London, Paris, Rome, Berlin, Madrid",
        "London and Paris and Rome and Berlin and Madrid",
        "either: London\nParis\nRome\nBerlin\nMadrid",
        "London & Paris & Rome & Berlin & Madrid",
        "\N{BULLET} London \N{BULLET} Paris \N{BULLET} Rome \N{BULLET} Berlin \N{BULLET} Madrid",
        "* London * Paris * Rome * Berlin * Madrid",
        "it could be Rome, it could be Oslo, it could be Bonn, it could be Bern, it could be Paris",
        "I would say that it may be Paris, Rome, Oslo, Bonn and Bern",
        "Rome, Oslo, Bonn, Bern, Paris are the places that I would name",
        "She has been to London, Paris, Rome, Berlin and Madrid",
        "[London] [Paris] [Rome] [Berlin] [Madrid]",
        '"London" "Paris" "Rome" "Berlin" "Madrid"',
        "maybe London maybe Paris maybe Rome maybe Berlin maybe Madrid",
        "Oslo Rome Berlin Madrid Bonn Kiel Paris Graz Linz Pisa Nice Bath",
        "everywhere except Paris",
        "anything but Paris",
        "Not mentioned: Paris",
        'She is not in "Paris"',
        "Paris? No.",
        "Paris, not really.",
        "Paris? Never.",
        "Nobody went to Paris",
        *(
            f" {join} ".join(("London", "Paris", "Rome", "Berlin", "Madrid"))
            for join in ("→", "=>", ">", "->", "vs", "then", "plus", "、", "~", "\\", "=", "+", "|")
        ),
    ],
)
def test_what_is_denied_or_is_one_of_many_guesses_is_not_said(said) -> None:
    assert spans(words("Paris"), words(said))
    assert contains(said, "Paris") == 0


@pytest.mark.parametrize(
    "said",
    [
        "Paris, France",
        "She does not live in London but in Paris",
        "Not in London, in Paris.",
        "No, she went to Paris",
        "She went to Paris, not to London.",
        "not until Paris",
        "Rome and Paris",
        "Ann said that she went to Paris with Bo, Cy, Di and Ed, and that it rained",
        "She moved from Oslo to Paris, which she loves, with Bo, Cy and Di",
        "She moved to Paris, since she works there, she said, because of the school, as we saw",
        "*Paris*",
        "She went to Paris, France, in June, with Ann, by train, for work",
        "No: Paris",
        "Nowhere but Paris",
        "Is it Paris? No doubt.",
        "London, then Paris",
        'In "Paris"',
    ],
)
def test_what_is_affirmed_is_said_whatever_else_is_denied_or_told(said) -> None:
    assert contains(said, "Paris") == 1


def test_a_place_a_time_and_a_company_are_no_candidates_beside_a_name_or_a_date() -> None:
    said = "In June 2023, with Ann, by train, for work, on her own"
    assert contains(said, "June 2023") == contains(said, "in June 2023") == 1
    assert contains("It was Ann, her boss, in Rome, by phone, on Monday, at noon", "Ann") == 1
    # what begins as the right answer does is one
    assert contains("in Rome, in Oslo, in Paris, in Bonn, in Bern", "Paris") == 0


def test_a_question_about_what_is_not_is_answered_by_a_denial() -> None:
    assert contains("Bo does not like tea", "tea", "What does Bo not like?") == 1
    assert contains("Bo does not like tea", "tea", "What does Bo like?") == 0
    assert contains("She is not interested", "not interested") == 1


def test_numbers_in_a_row_are_guesses_and_a_minus_counts() -> None:
    assert contains(" ".join(map(str, range(1, 21))), "7") == 0
    assert contains("1 2 3 4 7", "7") == 0
    assert contains("7 of 12", "7") == 1
    assert contains("1 week 2 weeks 3 weeks 4 weeks 5 weeks", "3 weeks") == 0
    assert contains("one time two times three times four times five times six times", "three times") == 0
    assert contains("first second third fourth fifth", "second") == 0
    assert contains("the second of 3 weeks", "second") == 1
    assert contains("It was -5 degrees", "5 degrees") == 0
    assert contains("minus five degrees", "-5 degrees") == 1


def test_a_list_that_is_right_may_be_said_as_one() -> None:
    right = "tents, ropes, boots, maps, lamps"
    assert contains(f"They packed {right}", right) == 1
    assert contains("They packed cups, pans, tents, forks, spoons, knives", "tents") == 0


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("pottery, camping, painting, and swimming", "pottery, camping, painting, swimming"),
        ("dinosaurs and nature", "dinosaurs, nature"),
        ("They like nature, and above all dinosaurs.", "dinosaurs, nature"),
        ("Mozart and Bach", "Bach and Mozart"),
        ("- Rome\n- Paris", "Paris, Rome"),
        ("camping, pottery, hiking and chess", "pottery, camping"),
        ("Charlotte's Web and Nothing is Impossible", '"Nothing is Impossible", "Charlotte\'s Web"'),
        ("14 July 2023, a Friday", "Friday, July 14, 2023"),
        ("chess, a friend or colleague", "friend or colleague, chess"),
    ],
)
def test_a_list_is_said_by_its_pieces_in_any_order(said, right) -> None:
    assert contains(said, right) == 1


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("pottery", "pottery, camping"),
        ("pottery, not camping", "pottery, camping"),
        ("neither pottery nor camping", "pottery, camping"),
        ("not pottery and camping", "pottery, camping"),
        ("pottery or camping", "pottery, camping"),
        ("pottery, camping, hiking, running, reading, sewing", "pottery, camping"),
        ("hiking, running, camping, reading, sewing, and pottery", "pottery, camping"),
        ("7/5/2023", "5/7/2023"),
        ("B&R", "R&B"),
        ("J. Tolkien and R. R. Bo", "J. R. R. Tolkien"),
        # 2 * 2 + 20 words at most
        ("pottery and camping " + "with me " * 11, "pottery, camping"),
    ],
)
def test_a_list_with_a_piece_that_is_missing_denied_or_a_guess_is_not_said(said, right) -> None:
    assert contains(said, right) == 0


@pytest.mark.skipif(not LOCOMO.exists(), reason="LoCoMo is not at hand")
def test_lists_of_real_right_answers_are_said_with_an_and_and_in_another_order() -> None:
    questions = [each for one in json.loads(gzip.decompress(LOCOMO.read_bytes())) for each in one["qa"]]
    right = [str(each["answer"]) for each in questions if each["category"] in (1, 3, 4)]
    assert all(contains(each, each) for each in right)
    lists = [each for each in right if "," in each]
    assert len(lists) == 170
    said = {
        "and": lambda pieces: f"{', '.join(pieces[:-1])}, and {pieces[-1]}",
        "order": lambda pieces: ", ".join(pieces[::-1]),
        "lines": lambda pieces: "".join(f"- {each}\n" for each in pieces),
    }
    for form, of in said.items():
        # `25 May, 2022` and `around November 16, 2023` are dates
        refused = [each for each in lists if not contains(of(pieces_of(each)), each)]
        assert set(refused) <= {"25 May, 2022", "around November 16, 2023"}, form
        # a piece that is left out is missed, unless another one says it too
        short = [each for each in lists if contains(", ".join(pieces_of(each)[:-1]), each)]
        assert len(short) <= 2


def pieces_of(text: str) -> list[str]:
    return [each.strip().removeprefix("and ") for each in re.split("[,;]", text) if each.strip()]


def test_an_article_after_the_word_answer_chooses_nothing() -> None:
    options = ("a cat", "a dog", "a bird")
    assert chosen("The answer is a dog", options) == ""
    assert chosen("(a) is wrong, the answer is (b)", options) == "b"
    assert chosen("The answer is b.", options) == "b"
