"""Text up to a stop text, however it is cut into pieces."""

from hypothesis import example, given
from hypothesis import strategies as st

from memalpha.policy.stops import StopWatch

LETTERS = st.text("ab", max_size=12)


def through(pieces: list[str], stops: list[str]) -> tuple[list[str], bool]:
    """What comes out after each piece and at the end, and whether a stop text was met."""
    watch = StopWatch(stops)
    said = [watch.push(piece) for piece in pieces]
    return [*said, watch.finish()], watch.stopped


@given(st.lists(LETTERS), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
@example(["a", "ab"], ["ab"])
@example(["aa", "b"], ["aab", "ab"])
def test_the_text_ends_where_the_first_stop_text_begins(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    ends = [whole.index(stop) for stop in stops if stop in whole]
    said, stopped = through(pieces, stops)
    text = "".join(said)
    assert stopped == bool(ends)
    if not ends:
        assert text == whole
        return
    # With overlapping stop texts, the one that is whole first decides.
    assert whole.startswith(text)
    assert any(whole[len(text) :].startswith(stop) for stop in stops)
    assert not any(stop in text for stop in stops)


def test_only_what_may_be_the_start_of_a_stop_text_is_held_back() -> None:
    assert through(["one", " tw", "enty"], ["two"]) == (["one", " ", "twenty", ""], False)
    assert through(["one", " tw", "o three"], ["two"]) == (["one", " ", "", ""], True)
    assert through(["one tw"], ["two"]) == (["one ", "tw"], False)
