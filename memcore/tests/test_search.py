"""Search from Python: by words, by vectors, by both."""

import array

import pytest

import memcore


def _bank(**settings: object) -> memcore.Bank:
    return memcore.Store.in_memory().create_bank("b", **settings)  # pyright: ignore[reportArgumentType]


def _rows(*rows: tuple[float, float]) -> memoryview:
    flat = array.array("f", [number for row in rows for number in row])
    return memoryview(flat.tobytes()).cast("f", (len(rows), 2))


def _vector(*numbers: float) -> memoryview:
    return memoryview(array.array("f", numbers))


def test_a_default_bank_is_searched_by_words_and_meaning_together():
    bank = _bank()
    bank.apply(
        [
            memcore.Insert("semantic", "The physician prescribed rest"),
            memcore.Insert("semantic", "The train was late"),
        ]
    )
    [hits] = bank.search(["which doctor?"])
    assert hits.method == "hybrid"
    assert not hits.approximate
    # No word in common: only the vectors lead to the physician.
    assert hits[0].memory.id == 1
    assert hits[0].words_rank is None
    assert hits[0].vector_rank == 1
    assert hits[0].has_vector
    [words] = bank.search(["which doctor?"], method="words")
    assert (len(words), words.method) == (0, "words")


def test_hits_are_a_sequence():
    bank = _bank(embedder="none")
    bank.apply([memcore.Insert("semantic", f"tea {number}") for number in range(3)])
    [hits] = bank.search(["tea"])
    assert [hit.memory.id for hit in hits] == [1, 2, 3]
    assert hits[-1].memory.id == 3
    assert len(hits[:2]) == 2
    for beyond in (3, -4, 10**30):
        with pytest.raises(IndexError):
            hits[beyond]
    with pytest.raises(TypeError):
        hits["first"]  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_a_hit_equals_itself_however_it_is_reached():
    bank = _bank(embedder="none")
    applied = bank.apply([memcore.Insert("semantic", f"tea {number}") for number in range(3)])
    assert applied.results == applied.results
    [hits] = bank.search(["tea"], explain=True)
    assert hits[0] == next(iter(hits))
    assert hits[0] != hits[1]
    assert hits[2] in hits
    assert hits[0].explanation == hits[0].explanation


def test_callers_bring_their_own_vectors():
    bank = _bank(embedder="external", embedder_id="tiny@1", dimensions=2)
    assert bank.embedder == ("external", "tiny@1", 2)
    bank.apply(
        [memcore.Insert("semantic", "east", embedding=_vector(2, 0)), memcore.Insert("semantic", "north")]
    )
    assert bank.coverage == (1, 1)
    assert [memory.id for memory in bank.memories(unembedded_only=True)] == [2]
    assert bank.put_vectors([2, 9], _rows((0, 1), (0, 1))) == [True, False]
    first, second = bank.search(["", ""], method="vector", embeddings=_rows((1, 0), (0.1, 1)))
    assert [hit.memory.id for hit in first] == [1, 2]
    assert [hit.memory.id for hit in second] == [2, 1]
    assert first[0].score == pytest.approx(1.0)
    with pytest.raises(memcore.ConflictError, match=r"tiny@1"):
        bank.put_vectors([1], _rows((0, 1)), embedder_id="other")
    bank.set_embedder("none")
    assert (bank.embedder, bank.coverage) == (("none", "", 0), (0, 0))
    assert bank.events()[-1].kind == "embedder_set"


@pytest.mark.parametrize(
    ("array_like", "message"),
    [
        ([1.0, 2.0], "embedding must be a C-contiguous buffer of 32-bit floats with 1 dimension"),
        (array.array("d", [1.0, 2.0]), "32-bit floats"),
        (_rows((1, 2)), "with 1 dimension"),
        (memoryview(array.array("f", [1, 2, 3, 4]))[::2], "contiguous"),
    ],
)
def test_what_is_no_vector_is_refused_by_name(array_like: object, message: str):
    with pytest.raises(memcore.InvalidInputError, match=message) as caught:
        memcore.Insert("semantic", "x", embedding=array_like)  # pyright: ignore[reportArgumentType]
    assert caught.value.reason == "INVALID_EMBEDDING"


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"method": "best"}, "INVALID_METHOD"),
        ({"fusion": "sum"}, "INVALID_FUSION"),
        ({"rrf_k": 5}, "INVALID_FUSION"),
        ({"vector_weight": 0.5, "fusion": "rrf"}, "INVALID_FUSION"),
        ({"scoring": "tfidf"}, "INVALID_FORMULA"),
        ({"vector_weight": 1.5}, "OUT_OF_BOUNDS"),
        ({"vector_weight": float("nan")}, "OUT_OF_BOUNDS"),
        ({"k1": -1.0}, "OUT_OF_BOUNDS"),
        ({"rrf_k": 0, "fusion": "rrf"}, "OUT_OF_BOUNDS"),
        ({"context_weight": 2.0}, "OUT_OF_BOUNDS"),
        ({"min_score": float("inf")}, "OUT_OF_BOUNDS"),
        ({"event_time_from": "yesterday"}, "INVALID_EVENT_TIME"),
        ({"embeddings": _rows((1, 0), (0, 1))}, "INVALID_EMBEDDING"),
        ({"embeddings": _rows((1, 0))}, "NO_EXTERNAL_EMBEDDER"),
    ],
)
def test_keywords_out_of_bounds_are_refused(keywords: dict[str, object], reason: str):
    with pytest.raises(memcore.InvalidInputError) as caught:
        _bank().search(["tea"], **keywords)  # pyright: ignore[reportArgumentType]
    assert caught.value.reason == reason


def test_an_explanation_names_the_terms_and_adds_up():
    bank = _bank()
    bank.apply([memcore.Insert("semantic", "green tea and black tea"), memcore.Insert("semantic", "coffee")])
    [hits] = bank.search(["teas"], explain=True)
    explained = hits[0].explanation
    assert explained is not None
    [term] = explained.terms
    assert (term.term, term.document_frequency, term.term_frequency) == ("tea", 1, 2)
    assert explained.words_part + explained.vector_part + explained.context_part == hits[0].score
    assert bank.search(["teas"])[0][0].explanation is None


def test_okapi_ranks_as_rank_bm25_does():
    rank_bm25 = pytest.importorskip("rank_bm25")
    # "tea" is in three of four, so its idf is negative and becomes a quarter of the average.
    texts = ["tea tea milk", "tea sugar", "tea", "coffee cup saucer"]
    bank = _bank(embedder="none", language="none")
    bank.apply([memcore.Insert("semantic", text) for text in texts])
    theirs = rank_bm25.BM25Okapi([text.split() for text in texts]).get_scores(["tea", "milk"])
    [hits] = bank.search(["tea milk"], scoring="okapi")
    assert [hit.memory.id for hit in hits] == [1, 3, 2]
    for hit in hits:
        assert hit.score == pytest.approx(theirs[hit.memory.id - 1], rel=1e-9)


def test_filters_and_reciprocal_ranks():
    bank = _bank()
    for day, shop in ((7, "a"), (8, "b"), (9, "a")):
        bank.apply([memcore.Insert("episodic", f"tea {day}", f"2024-05-0{day}", {"shop": shop})])
    [hits] = bank.search(["tea"], metadata={"shop": "a"}, event_time_from="2024-05-08", fusion="rrf")
    assert [hit.memory.content for hit in hits] == ["tea 9"]
    created = bank.memories("episodic")[1].create_time
    [hits] = bank.search(["tea"], create_time_from=created, method="words")
    assert [hit.memory.id for hit in hits] == [2, 3]
