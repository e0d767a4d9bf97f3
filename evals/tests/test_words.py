"""What counts as the same word, number and date, and what does not."""

import pytest

from memalpha_evals.scorers.words import clauses, marked, spans, words


@pytest.mark.parametrize(
    "text",
    ["7 May 2023", "May 7, 2023", "May 7th, 2023", "the 7th of May, 2023", "2023-05-07", "7 may 2023."],
)
def test_a_date_is_the_same_however_it_is_written(text) -> None:
    assert words(text) == ["2023", "may", "d7"]


def test_a_less_exact_date_is_a_span_of_a_more_exact_one_and_another_day_is_not() -> None:
    exact = words("It was on 2023-05-07, a Sunday")
    assert all(spans(words(part), exact) for part in ("7 May", "May 2023", "2023", "May 7, 2023"))
    assert not any(spans(words(part), exact) for part in ("8 May", "7 June", "May 2022", "17 May"))


def test_the_time_of_a_date_is_kept() -> None:
    assert words("2023-05-07T10:30") == ["2023", "may", "d7", "10", "30"]
    assert words("2023-05-07T10:30") != words("2023-05-07T11:30")


def test_a_date_of_numbers_alone_is_not_guessed() -> None:
    assert words("5/7/2023") == ["5", "7", "2023"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("eight weeks", "8 week"),
        ("twenty-one days", "21 day"),
        ("two hundred and five", "205"),
        ("three hundred thousand", "300000"),
        ("1,000.50", "1000.5"),
        ("$5", "five dollars"),
        ("20%", "twenty percent"),
        ("the third time", "3rd time"),
        ("Marks & Spencer", "Marks and Spencer"),
        ("minus five degrees", "-5 degrees"),
        ("\N{MINUS SIGN}5", "-5"),
    ],
)
def test_numbers_and_units_are_compared_by_value(text, same) -> None:
    assert words(text) == words(same)


def test_a_minus_is_a_sign_only_where_it_can_be_no_dash() -> None:
    assert words("-5") == ["-5"]
    assert words("2-3 weeks, COVID-19") == ["2", "3", "week", "covid", "19"]
    assert words("eight minus five") == ["8", "minus", "5"]
    assert words("- 5 apples") == ["5", "apples"]


def test_marks_end_clauses_but_not_dates_and_numbers() -> None:
    assert clauses("No, it was May 7, 2023: 1,000.5 people (or so)!") == [
        *(["no"], ["it", "was", "2023", "may", "d7"], ["1000.5", "people"], ["or", "so"])
    ]


def test_bullets_are_marks_and_emphasis_is_none() -> None:
    apart = [["orta"], ["como"]]
    for said in ("\N{BULLET} Orta \N{BULLET} Como", "* Orta\n* Como", "- Orta - Como", "Orta + Como"):
        assert clauses(said) == apart
    assert clauses("*not* Orta") == [["not", "orta"]]


@pytest.mark.parametrize("mark", [*'[]{}"\\<>=~#→、。«»', "=>", "->", "…", "🎉", " -- ", "+", "*"])
def test_every_mark_between_words_divides_them(mark) -> None:
    assert clauses(f"Orta{mark}Como") == [["orta"], ["como"]]


def test_what_belongs_to_a_word_or_a_date_is_no_mark() -> None:
    for said in ("5/7/2023", "12:30", "well-known", "20 °C", "‘Orta’", "1.5"):
        assert len(clauses(said)) == 1
    assert marked("Orta? (No.)\nComo") == [(["orta"], "?("), (["no"], ".)\n"), (["como"], "")]


def test_numbers_beside_one_another_stay_apart() -> None:
    assert words("one two") == ["1", "2"]
    assert words("nineteen sixty one") == ["19", "61"]
    assert words("three and four") == ["3", "and", "4"]
    assert words("8 weeks") != words("60 days")


def test_articles_case_and_punctuation_do_not_count_and_nothing_stands_nowhere() -> None:
    assert words("The Rolling Stones!") == words("rolling stones")
    assert words("The") == []
    assert not spans([], ["rolling", "stones"])


def test_a_span_is_of_whole_words_without_a_gap() -> None:
    text = words("Casino Royale in 1961")
    assert spans(["casino", "royale"], text)
    assert not spans(["no"], text)
    assert not spans(["1"], text)
    assert not spans(["casino", "1961"], text)
