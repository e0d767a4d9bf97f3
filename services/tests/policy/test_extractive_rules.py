"""The rules that rewrite one sentence: dates, persons, the profile."""

from datetime import date

import pytest

from memalpha.policy.extractive.dates import parse_time, resolve
from memalpha.policy.extractive.facts import facts
from memalpha.policy.extractive.person import strip_opening, third_person
from memalpha.policy.extractive.profile import updated
from memalpha.policy.extractive.segment import split

TUESDAY = date(2023, 5, 9)


@pytest.mark.parametrize(
    ("sentence", "resolved", "day"),
    [
        ("We met yesterday.", "We met on 8 May 2023.", "2023-05-08"),
        ("Yesterday we met.", "On 8 May 2023 we met.", "2023-05-08"),
        ("I fly tomorrow morning.", "I fly on 10 May 2023.", "2023-05-10"),
        ("I saw it last night.", "I saw it on the night of 8 May 2023.", "2023-05-08"),
        ("We met last Friday.", "We met on 5 May 2023.", "2023-05-05"),
        ("We met on Tuesday.", "We met on 2 May 2023.", "2023-05-02"),  # today is Tuesday, so a week ago
        ("We meet next Friday.", "We meet on 12 May 2023.", "2023-05-12"),
        ("On Friday we fly to Lisbon.", "On 12 May 2023 we fly to Lisbon.", "2023-05-12"),
        ("I'm leaving on Friday.", "I'm leaving on 12 May 2023.", "2023-05-12"),
        ("On Friday we flew to Lisbon.", "On 5 May 2023 we flew to Lisbon.", "2023-05-05"),
        ("We met on Friday, April 14.", "We met on Friday, April 14.", "2023-04-14"),
        ("We met on Friday the 14th of April.", "We met on Friday the 14th of April.", "2023-04-14"),
        ("We met on Friday, 14 April 2023.", "We met on Friday, 14 April 2023.", "2023-04-14"),
        ("A great day on Friday!", "A great day on 5 May 2023!", "2023-05-05"),
        ("I'll go on Sunday.", "I'll go on 14 May 2023.", "2023-05-14"),
        ("We met three days ago.", "We met on 6 May 2023.", "2023-05-06"),
        ("We met two weeks ago.", "We met two weeks before 9 May 2023.", None),
        ("We met a few days ago.", "We met a few days before 9 May 2023.", None),
        ("We met last week.", "We met in the week before 9 May 2023.", None),
        ("We go camping next month.", "We go camping in June 2023.", None),
        ("I painted it last year.", "I painted it in 2022.", None),
        ("I moved six months ago.", "I moved in November 2022.", None),
        ("I was born on 3 March 1990.", "I was born on 3 March 1990.", "1990-03-03"),
        ("It happened on May 1st, 2021.", "It happened on May 1st, 2021.", "2021-05-01"),
        ("It shipped on 2021-05-01.", "It shipped on 2021-05-01.", "2021-05-01"),
        ("The form is due on 31 March.", "The form is due on 31 March.", "2024-03-31"),
        ("We met on 30 April.", "We met on 30 April.", "2023-04-30"),
        ("It feels like yesterday.", "It feels like yesterday.", None),
        ("Yesterday's news is old.", "Yesterday's news is old.", None),
        ("We meet on 31 June.", "We meet on 31 June.", None),
        ("The last week of school was hard.", "The last week of school was hard.", None),
    ],
)
def test_a_date_is_resolved_against_the_day_it_was_said(
    sentence: str, resolved: str, day: str | None
) -> None:
    dated = resolve(sentence, TUESDAY)
    assert (dated.text, dated.day and dated.day.isoformat()) == (resolved, day)


def test_without_a_time_a_relative_date_stays_as_it_is() -> None:
    assert resolve("We met yesterday.", None).text == "We met yesterday."


@pytest.mark.parametrize("said", [date(1, 1, 1), date(9999, 12, 31)])
def test_a_date_beyond_the_calendar_stays_as_it_is(said: date) -> None:
    sentence = "We met 300 years ago, 999 days ago, next year, next month, last year, yesterday and tomorrow."
    assert resolve(sentence, said).text.startswith("We met")


@pytest.mark.parametrize("value", ["", "yesterday", "2023-13-01", "2023", "00000000000"])
def test_what_is_no_day_is_no_time(value: str) -> None:
    assert parse_time(value) is None


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("I adopted a dog.", "Ann adopted a dog."),
        ("I'm keen on jazz and I've seen Coltrane.", "Ann is keen on jazz and Ann has seen Coltrane."),
        ("I really love my sister.", "Ann really loves their sister."),
        ("My sister calls me Nan.", "Ann's sister calls Ann Nan."),
        ("I study law.", "Ann studies law."),
        ("I go to Rome and I watch films.", "Ann goes to Rome and Ann watches films."),
        ("I'd love to sing, I'd been shy.", "Ann would love to sing, Ann had been shy."),
        ("I don't eat fish.", "Ann doesn't eat fish."),
        ("I moved, my new number is 5.", "Ann moved, Ann's new number is 5."),
    ],
)
def test_the_first_person_becomes_the_speaker(sentence: str, told: str) -> None:
    assert third_person(sentence, "Ann") == told


@pytest.mark.parametrize(
    "sentence",
    [
        "We adopted a dog.",  # more people than the speaker
        "I told you so.",  # somebody else is meant
        "I frobnicate daily.",  # a verb that the rules do not know
        "I paint and sing.",  # a second verb that would need an ending
        "I'm Ann.",
        "The dog is brown.",
        "So do I.",
    ],
)
def test_where_the_rules_are_not_sure_the_sentence_is_left_alone(sentence: str) -> None:
    assert third_person(sentence, "Ann") is None


@pytest.mark.parametrize(
    ("sentence", "bare"),
    [
        ("Thanks, Mel! By the way, I sing.", "I sing."),
        ("Yeah, I sing, Caroline!", "I sing!"),
        ("Thanks, Caroline, for letting me sing.", ""),
        ("Rome, I miss it.", "Rome, I miss it."),
        ("No doubt it rains.", "No doubt it rains."),
    ],
)
def test_interjections_and_calls_by_name_are_taken_off(sentence: str, bare: str) -> None:
    assert strip_opening(sentence, ["melanie", "caroline"]) == bare


def test_abbreviations_and_numbers_end_no_sentence() -> None:
    text = "Dr. Smith paid 3.50 at 5 p.m. in St. Ives. J. Doe left! And then? Fine."
    assert split(text) == ["Dr. Smith paid 3.50 at 5 p.m. in St. Ives.", "J. Doe left!", "And then?", "Fine."]


def test_no_sentence_is_longer_than_the_limit() -> None:
    assert [len(piece) for piece in split("x" * 1300)] == [600, 600, 100]
    assert max(len(piece) for piece in split("word " * 1000)) <= 600


def test_a_fact_names_subject_attribute_and_value() -> None:
    found = facts("Ann: I live in New York and work at a small bakery called Rise.")
    assert [(fact.subject, fact.attribute, fact.value) for fact in found] == [
        ("Ann", "lives in", "New York"),
        ("Ann", "works at", "Rise"),
    ]


@pytest.mark.parametrize(
    "sentence",
    ["Ann might move to Oslo.", "On Monday lives change in Rome.", "She lives in Rome.", "Ann likes it.", ""],
)
def test_what_states_no_attribute_gives_no_fact(sentence: str) -> None:
    assert facts(sentence) == []


def test_what_somebody_else_is_quoted_with_is_no_fact_of_the_speaker() -> None:
    assert facts('Tom: My friend Carl says: "I live in Berlin".') == []
    assert facts("Tom: “I work at Acme”, she said.") == []


@pytest.mark.parametrize(
    "sentence",
    [
        "Tom: I wonder if Anna lives in Rome.",
        "Tom: She asked whether I work at Acme.",
        "Tom: I'm not sure I like jazz.",
        "Tom: My friend from Spain lives in Rome.",
        "Tom: Nobody at Acme lives in Rome.",
    ],
)
def test_what_is_asked_or_said_of_somebody_without_a_name_is_no_fact(sentence: str) -> None:
    assert facts(sentence) == []


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("Ann: My email is ann.lee@example.com.", "ann.lee@example.com"),
        ("Ann: My rent is 1,250.50 euros.", "1,250.50 euros"),
        ("Ann: My appointment is 14:30 now.", "14:30"),
        ("The budget is 20,000 euros.", "20,000"),
    ],
)
def test_a_dot_or_comma_inside_of_a_value_does_not_end_it(sentence: str, value: str) -> None:
    assert [fact.value for fact in facts(sentence)] == [value]


def profile_after(core: str, *contents: str, fits: bool = True) -> str:
    return updated(core, [fact for content in contents for fact in facts(content)], lambda text: fits)


def test_the_profile_has_one_line_per_person() -> None:
    core = profile_after("", "Ann lives in Rome.", "Ben works at Acme.", "Ann's birthday is 13 August.")
    assert core == "Ann: lives in Rome; birthday: 13 August\nBen: works at Acme"


def test_a_changed_attribute_replaces_the_old_one_in_its_place() -> None:
    core = "Ann: lives in Rome; works at Acme"
    assert profile_after(core, "Ann moved to Oslo.") == "Ann: lives in Oslo; works at Acme"


def test_what_no_longer_holds_leaves_the_profile() -> None:
    assert profile_after("Ann: lives in Rome; works at Acme", "Ann left Acme.") == "Ann: lives in Rome"
    assert profile_after("Ann: works at Acme", "Ann left Acme.") == ""


def test_allergies_add_up() -> None:
    core = profile_after("Ann: allergic to nuts", "Ann is allergic to pollen.")
    assert core == "Ann: allergic to nuts; allergic to pollen"


def test_what_does_not_fit_is_not_added() -> None:
    assert profile_after("Ann: lives in Rome", "Ann works at Acme.", fits=False) == "Ann: lives in Rome"


def test_lines_of_somebody_else_stay_as_they_are() -> None:
    core = "The user is a teacher.\n\nAnn: lives in Rome"
    assert profile_after(core, "Ann moved to Oslo.") == "The user is a teacher.\n\nAnn: lives in Oslo"


def test_passing_attributes_stay_out_of_the_profile() -> None:
    assert profile_after("", "Ann loves jazz.", "Ann's rent is 900 euros.", "The deadline is 5 May.") == ""
