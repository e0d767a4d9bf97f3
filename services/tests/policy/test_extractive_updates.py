"""What becomes of the items in view. Aliases run through semantic (a, b …), then episodic memories."""

import pytest

from .support import TUESDAY, delete, event, fact, profile, update, written


def test_what_is_in_view_already_is_not_stored_again() -> None:
    calls = written(
        "Ann: I love hiking in the Alps!", semantic=["Ann loves hiking in the Alps with their brother."]
    )
    assert calls == []


def test_a_repetition_within_the_chunk_is_stored_once() -> None:
    calls = written("Ann: I love hiking in the Alps.\nBen: Nice!\nAnn: I really love hiking in the Alps!")
    assert calls == [fact("Ann loves hiking in the Alps.")]


def test_another_number_is_no_repetition() -> None:
    calls = written("Ann: I ran 12 miles in Leeds.", episodic=["Ann ran 10 miles in Leeds."])
    assert calls == [event("Ann ran 12 miles in Leeds.")]


def test_a_move_updates_the_old_home_and_nothing_else() -> None:
    calls = written(
        "Ann: I moved to Chicago last Friday!",
        semantic=["Ben lives in Boston.", "Ann loves jazz.", "Ann lives in Boston."],
    )
    assert calls == [
        profile("Ann: lives in Chicago"),
        update("c", "Ann moved to Chicago on 5 May 2023!", "2023-05-05"),
    ]


@pytest.mark.parametrize(
    ("old", "said", "new"),
    [
        ("Ann works at Acme.", "I started a new job at Globex.", "Ann started a new job at Globex."),
        ("Ann works at Acme.", "I no longer work at Acme.", "Ann no longer works at Acme."),
        ("Ann's phone number is 555-0142.", "My new number is 555-0199.", "Ann's new number is 555-0199."),
        ("Ann's favourite colour is red.", "My favorite color is blue.", "Ann's favorite color is blue."),
        ("Ann has two cats.", "I have three cats.", "Ann has three cats."),
        (
            "Ann is allergic to peanuts.",
            "I'm no longer allergic to peanuts.",
            "Ann is no longer allergic to peanuts.",
        ),
        ("Ann is vegetarian.", "I'm not vegetarian any more.", "Ann is not vegetarian any more."),
        ("Ann is single.", "I got married to Tom.", "Ann got married to Tom."),
        ("Ann loves coffee.", "I stopped drinking coffee.", "Ann stopped drinking coffee."),
        ("Ann loves coffee.", "I've switched from coffee to tea.", "Ann has switched from coffee to tea."),
        ("Ann hates olives.", "I love olives now.", "Ann loves olives now."),
        ("Ann prefers trains over planes.", "I prefer planes to trains.", "Ann prefers planes to trains."),
        ("Ann: I love coffee, don't you know.", "I can't stand coffee.", "Ann can't stand coffee."),
    ],
)
def test_a_contradicted_attribute_is_updated(old: str, said: str, new: str) -> None:
    calls = [
        call
        for call in written(f"Ann: {said}", semantic=["Ann plays chess.", old])
        if "memory_id" in call.arguments
    ]
    assert calls == [update("b", new)]


def test_american_and_british_spelling_name_one_attribute() -> None:
    calls = written("Ann: My favorite soup is laksa.", semantic=["Ann's favourite soup is ramen."])
    assert update("a", "Ann's favorite soup is laksa.") in calls


@pytest.mark.parametrize(
    ("old", "said"),
    [
        ("Ben lives in Rome.", "I live in Oslo."),
        ("Ann loves hiking with dogs in Wales.", "I hate hiking in heavy rain."),
        ("Ann lives in Rome.", "I might move to Oslo."),
        ("Ann lives in Rome.", "My cousin lives in Oslo."),
        ("Ann works at Acme.", "Ben works at Globex."),
        ("Ann lives in Boston.", "I live in Boston near the old harbour."),
    ],
)
def test_what_does_not_contradict_changes_nothing(old: str, said: str) -> None:
    assert not [call for call in written(f"Ann: {said}", semantic=[old]) if "memory_id" in call.arguments]


def test_an_event_in_view_stays_true() -> None:
    calls = written("Ann: I moved to Oslo.", episodic=[("2020-03-01", "Ann moved to Rome.")])
    assert calls == [profile("Ann: lives in Oslo"), fact("Ann moved to Oslo.")]


def test_a_second_contradicted_item_is_deleted() -> None:
    calls = written(
        "Ann: I've switched from coffee to tea.", semantic=["Ann loves coffee.", "Ann prefers coffee to tea."]
    )
    assert calls == [update("a", "Ann has switched from coffee to tea."), delete("b")]


def test_only_the_outdated_sentence_of_an_item_is_replaced() -> None:
    old = "Ann lives in Rome. Ann plays the cello."
    calls = written("Ann: I moved to Oslo.", semantic=[old])
    assert update("a", "Ann moved to Oslo. Ann plays the cello.") in calls


def test_what_an_outdated_sentence_also_stated_is_kept() -> None:
    calls = written("Ann: I moved to Oslo.", semantic=["Ann lives in Rome and works at Acme."])
    assert update("a", "Ann moved to Oslo. (Before: Ann lives in Rome and works at Acme.)") in calls


def test_what_is_kept_as_history_is_outdated_no_second_time() -> None:
    item = "Ann moved to Oslo. (Before: Ann lives in Rome and works at Acme.)"
    calls = written("Ann: I moved to Bergen.", semantic=[item])
    assert update("a", "Ann moved to Bergen.") in calls


def test_the_later_of_two_contradicting_sentences_wins() -> None:
    calls = written("Ann: I live in Rome.\nBen: Still?\nAnn: I moved to Oslo yesterday.")
    assert calls == [profile("Ann: lives in Oslo"), fact("Ann moved to Oslo on 8 May 2023.", "2023-05-08")]


def test_an_updated_item_that_had_a_time_gets_a_new_one() -> None:
    calls = written("Ann: I live in Oslo.", semantic=[("2020-01-01", "Ann lives in Rome.")])
    assert update("a", "Ann lives in Oslo.", TUESDAY) in calls


def test_the_deadline_of_a_document_is_updated() -> None:
    calls = written(
        "The deadline is now 12 June 2024.",
        time="",
        semantic=["The budget is 300 euros.", "The deadline is 5 May 2024."],
    )
    assert calls == [update("b", "The deadline is now 12 June 2024.", "2024-06-12")]


def test_a_chunk_that_is_read_again_changes_nothing() -> None:
    chunk = "Ann: I love coffee. I live in Rome.\nAnn: I stopped drinking coffee and moved to Oslo yesterday."
    core, *inserts = written(chunk)
    contents = [str(call.arguments["content"]) for call in inserts]
    assert contents == ["Ann stopped drinking coffee and moved to Oslo on 8 May 2023."]
    assert written(chunk, core=str(core.arguments["new_content"]), semantic=contents) == []
