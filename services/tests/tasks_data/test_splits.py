"""What may be trained on: files are known by their official names, and nothing else is let in."""

import pytest

from memalpha.tasks.data import DatasetError, build

from .support import DATA, SMALL, document, lines, multihop

HELD_OUT = {
    "hotpotqa": "hotpot_dev_distractor_v1.json",
    "2wiki": "2wiki_dev.json",
    "musique": "musique_ans_v1.0_dev.jsonl",
    "trec": "TREC_10.label",
    "banking77": "test.csv",
    "nlu": "kfold1_test.json",
    "csabstruct": "dev.jsonl",
    "squality": "test.jsonl",
    "longmemeval": "longmemeval_s_cleaned.json",
    "squad": "dev-v2.0.json",
}


@pytest.mark.parametrize("source", HELD_OUT)
def test_a_file_that_results_are_reported_on_is_never_trained_on(source, tmp_path) -> None:
    path = document(tmp_path / HELD_OUT[source], [multihop(1)])
    with pytest.raises(DatasetError, match=f"is no train file of {source}: its name must be like"):
        list(build(source, path))
    with pytest.raises(DatasetError, match=f"has no train file of {source}"):
        list(build(source, tmp_path))


def test_the_same_rows_under_a_training_name_are_let_in(tmp_path) -> None:
    for name in ("hotpot_train_v1.1.json", "hotpot_dev_distractor_v1.json"):
        document(tmp_path / name, [multihop(len(name))])
    (train,) = build("hotpotqa", tmp_path, limits=SMALL)
    (dev,) = build("hotpotqa", tmp_path, split="dev", limits=SMALL)
    assert (train.instance_id, dev.instance_id) == ("hotpotqa-train-00001", "hotpotqa-dev-00001")
    assert train.questions != dev.questions


@pytest.mark.parametrize("source", ["locomo", "personamem"])
def test_nothing_is_built_from_sets_that_only_report(source, tmp_path) -> None:
    with pytest.raises(DatasetError, match=f"nothing is built from {source}"):
        build(source, tmp_path)


def test_an_unknown_source_is_answered_with_the_known_ones(tmp_path) -> None:
    with pytest.raises(DatasetError, match=r"source must be one of squad, nq, .* not 'trivia'"):
        build("trivia", tmp_path)


def test_chats_above_the_twelfth_are_not_trained_on(tmp_path) -> None:
    for number in (13, 17):
        chat = [{"turns": [[{"id": 0, "role": "user", "content": "I bought a kayak."}]]}]
        document(tmp_path / f"{number}.chat.json", chat)
        probes = {
            "information_extraction": [{"question": "What?", "answer": "kayak", "source_chat_ids": [0]}]
        }
        document(tmp_path / f"{number}.probing_questions.json", probes)
    with pytest.raises(DatasetError, match="no train chat of beam: 1 to 12 are"):
        list(build("beam", tmp_path, limits=SMALL))
    assert len(list(build("beam", tmp_path, split="dev", limits=SMALL))) == 1


def test_clinc_takes_its_split_from_inside_the_file(tmp_path) -> None:
    parts = {
        name: [[f"{name} sentence {n}", "greet"] for n in range(20)] for name in ("train", "val", "test")
    }
    path = document(tmp_path / "data_full.json", parts)
    sizes = SMALL.with_(instances=1, chunks=(1, 3))
    (train,) = build("clinc150", path, limits=sizes)
    (dev,) = build("clinc150", path, split="dev", limits=sizes)
    assert "val" not in str(train.to_dict())
    assert "train sentence" not in str(dev.to_dict())


def test_files_of_nq_are_one_set_that_is_trained_on_and_has_no_other_side(tmp_path) -> None:
    row = {
        "question": "Where does Ada live?",
        "answers": ["Oslo"],
        "ctxs": [{"title": "Ada", "text": "Ada lives in Oslo.", "isgold": True}],
    }
    names = ("nq-open-oracle.jsonl", "nq-open-20_total_documents_gold_at_0.jsonl")
    for name in names:
        path = lines(tmp_path / name, row)
        assert len(list(build("nq", path, limits=SMALL))) == 1
        with pytest.raises(DatasetError, match="is no dev file of nq: the set has no such files"):
            list(build("nq", path, split="dev"))
    # both ask the same: one is read
    (made,) = build("nq", tmp_path, limits=SMALL.with_(chunks=(1, 1)))
    assert len(made.questions) == 1


def test_a_missing_folder_is_named(tmp_path) -> None:
    with pytest.raises(DatasetError, match="there is no such file or folder"):
        list(build("squad", tmp_path / "none"))
    with pytest.raises(DatasetError, match="has no train file"):
        list(build("nq", lines(tmp_path / "x.jsonl", {}).parent))


@pytest.mark.parametrize(
    ("source", "folder", "instances"),
    [("nq", "nq", 18), ("2wiki", "2wikimultihop", 6), ("squality", "squality", 50), ("beam", "beam100k", 48)],
)
def test_the_official_files_are_built_from(source, folder, instances) -> None:
    if not (DATA / folder).exists():
        pytest.skip(f"there is no {source} at {DATA / folder}")
    made = list(build(source, DATA / folder))
    assert len(made) == instances
    assert all(
        question.evidence or question.kind == "abstention" for each in made for question in each.questions
    )
