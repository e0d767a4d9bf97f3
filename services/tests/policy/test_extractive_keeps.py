"""What is kept of a chunk, as which kind, in which words. All chunks are of Tuesday, 9 May 2023."""

import pytest

from .support import TUESDAY, event, fact, profile, written


def test_an_event_is_episodic_and_its_relative_date_becomes_its_event_time() -> None:
    calls = written("Caroline: I adopted a dog from the shelter yesterday!")
    assert calls == [event("Caroline adopted a dog from the shelter on 8 May 2023!", "2023-05-08")]


def test_an_event_without_a_date_gets_the_time_at_which_it_was_told() -> None:
    calls = written("Caroline: I painted the kitchen green with my sister.")
    assert calls == [event("Caroline painted the kitchen green with their sister.", TUESDAY)]


def test_how_things_are_is_semantic_and_has_no_time() -> None:
    assert written("Caroline: I love hiking in the Alps.") == [fact("Caroline loves hiking in the Alps.")]


def test_greetings_thanks_questions_and_praise_are_dropped() -> None:
    chunk = """Caroline: Hey Mel! Good to see you! How have you been?
Melanie: Hi Caroline! Thanks, I'm good. That's so sweet of you!
Caroline: Wow, that's awesome! You're amazing.
Melanie: Thank you so much! Talk to you soon!"""
    assert written(chunk) == []


def test_an_empty_or_blank_chunk_gives_no_calls() -> None:
    assert written("") == []
    assert written(" \n\n ") == []


def test_a_sentence_with_we_keeps_its_speaker_in_front() -> None:
    calls = written("Melanie: We went camping in Yosemite.")
    assert calls == [event("Melanie: We went camping in Yosemite.")]


def test_sentences_of_one_turn_become_one_memory() -> None:
    calls = written("Ann: I visited the Prado in Madrid. The Goya room impressed me. See you!")
    assert calls == [event("Ann visited the Prado in Madrid. The Goya room impressed Ann.")]


def test_a_short_answer_keeps_the_question_it_answers() -> None:
    calls = written("Ann: What breed is your dog?\nBen: A golden retriever.")
    assert calls == [fact("What breed is your dog? Ben: A golden retriever.")]


def test_a_time_line_dates_the_turns_after_it() -> None:
    calls = written(
        "Ann: I ate paella in Valencia.\n[2023-05-20T09:00]\nAnn: I saw a comet in Cadiz yesterday."
    )
    assert calls == [
        event("Ann ate paella in Valencia."),
        event("Ann saw a comet in Cadiz on 19 May 2023.", "2023-05-19"),
    ]


def test_facts_of_a_document_are_semantic_and_short_ones_carry_their_heading() -> None:
    chunk = """# Handbook > Deployment
The gateway listens on port 8080 and forwards requests to the billing service in Frankfurt.

- Owner: Jane Smith"""
    assert written(chunk, time="") == [
        fact("The gateway listens on port 8080 and forwards requests to the billing service in Frankfurt."),
        fact("Deployment: Owner: Jane Smith"),
    ]


def test_a_hard_wrapped_paragraph_is_read_as_one_sentence() -> None:
    wrapped = "The photographic archive of the observatory in Arequipa holds\n14,000 plates of Solon Bailey."
    assert written(wrapped, time="") == [fact(wrapped.replace("\n", " "))]


def test_rows_of_a_table_stay_apart() -> None:
    rows = [
        f"| {city} | {river} | founded before the {n}th century by settlers |"
        for city, river, n in (("Cologne", "Rhine", 4), ("Seville", "Guadalquivir", 8))
    ]
    assert written("\n".join(rows), time="") == [fact(row) for row in rows]


def test_what_the_user_of_an_assistant_says_is_kept_and_its_advice_is_not() -> None:
    chunk = """user: I'm training for the Boston marathon in April.
assistant: Great! Drink enough water and sleep eight hours each night."""
    calls = written(chunk)
    assert calls == [event("User is training for the Boston marathon in April.", TUESDAY)]


@pytest.mark.parametrize(
    ("chunk", "content"),
    [
        ("anna: hi\nanna: I grow tomatoes in Leeds.", "Anna grows tomatoes in Leeds."),
        ("José de la Cruz: I grow tomatoes in Leeds.", "José de la Cruz grows tomatoes in Leeds."),
        ("Anna: [continued] I grow tomatoes in Leeds.", "Anna grows tomatoes in Leeds."),
        ("Anna: hello\nI grow tomatoes in Leeds.", "Anna grows tomatoes in Leeds."),
    ],
)
def test_speakers_are_found_by_their_label(chunk: str, content: str) -> None:
    assert written(chunk) == [fact(content)]


def test_a_line_that_only_looks_like_a_label_is_no_speaker() -> None:
    calls = written("Note: the cellar key hangs behind the blue door in Oslo.", time="")
    assert calls == [fact("Note: the cellar key hangs behind the blue door in Oslo.")]


def test_two_attributes_in_one_sentence_become_two_memories() -> None:
    assert written("Anna: I live in Boston and I work at Acme.") == [
        profile("Anna: lives in Boston; works at Acme"),
        fact("Anna lives in Boston"),
        fact("Anna works at Acme."),
    ]


def test_text_in_another_language_is_kept_in_its_own_words() -> None:
    chunk = "Ana: Ayer compré una bicicleta roja en Sevilla."
    assert written(chunk) == [fact("Ana: Ayer compré una bicicleta roja en Sevilla.")]
