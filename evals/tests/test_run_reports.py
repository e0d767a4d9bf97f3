"""Reports say what the rows say, keep apart what must be kept apart, and let no text out of its place."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from made_runs import often, row, rows, write

from memalpha.errors import NotFoundError
from memalpha_evals import reports
from memalpha_evals.compare.sides import opened
from memalpha_evals.reports import drawing
from memalpha_evals.reports.content import Point, content
from memalpha_evals.reports.page import page
from memalpha_evals.reports.samples import drawn

SYSTEMS = {"no-memory": often(0), "memalpha": often(1)}


class Tags(HTMLParser):
    """Names of tags, attributes' values, and whether every element is closed."""

    VOID = frozenset({"meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.values: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.values += [value or "" for _, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_both_reports_are_written_into_the_folder_and_say_the_same_score(tmp_path) -> None:
    folder = write(tmp_path / "run", rows(SYSTEMS))
    assert reports.write(folder) == folder / "report.md"
    markdown, html = ((folder / name).read_text() for name in ("report.md", "report.html"))
    assert "| memalpha | 54 | 100.0 |" in markdown
    assert "<th>memalpha</th><td>54</td><td>100.0</td>" in html
    for text in (markdown, html):
        assert "memalpha − no-memory: +100.0 points over 54 questions in 6 clusters" in text
        assert "Some right answers are wrong." in text
        assert "The reader is a rule, not a model" in text


def test_a_report_of_the_same_rows_is_the_same_to_the_byte(tmp_path) -> None:
    first, second = (write(tmp_path / name / "run", rows(SYSTEMS)) for name in map(_made(tmp_path), "ab"))
    for folder in (first, second):
        reports.write(folder)
    for name in ("report.md", "report.html"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def _made(tmp_path):
    def made(name):
        (tmp_path / name).mkdir()
        return name

    return made


def test_query_aware_systems_and_unfinished_runs_are_told_apart(tmp_path) -> None:
    made = rows({**SYSTEMS, "overwrite": often(0.5)})
    folder = write(tmp_path / "run", made, query_aware=("overwrite",), state="stopped", model_free=False)
    reports.write(folder)
    text = (folder / "report.md").read_text()
    assert text.count("\n## Systems that ") == 2
    agnostic, aware = text.split("## Systems that know the question")
    assert "| overwrite" not in agnostic.split("## Systems that read")[1]
    assert "| memalpha" not in aware
    assert "The run is not finished" in text
    assert "The reader is a rule" not in text


def test_few_conversations_are_warned_of_before_any_number(tmp_path) -> None:
    folder = write(tmp_path / "run", rows(SYSTEMS, conversations=4))
    reports.write(folder)
    text = (folder / "report.md").read_text()
    assert text.index("claim nothing beyond") < text.index("| no-memory")


def test_failures_are_listed_with_their_reason(tmp_path) -> None:
    failed = [row(question=number, failure="reader: down", answer="") for number in range(3)]
    found = content(opened(write(tmp_path / "run", [*failed, row(question=3)])))
    assert found.failures == ("memalpha: 3 rows: reader: down",)


def test_a_folder_without_rows_is_no_report(tmp_path) -> None:
    with pytest.raises(NotFoundError, match="no rows yet"):
        reports.write(write(tmp_path / "run", []))


HOSTILE = '</pre><script>alert(1)</script><img src=x onerror="alert(2)">\x1b[31m \ud800 | `x`'


def test_no_text_gets_out_of_its_place_and_nothing_is_loaded(tmp_path) -> None:
    made = [
        replace(
            each, question=HOSTILE, answer=HOSTILE, context=HOSTILE, category=HOSTILE, system=f"s{HOSTILE}"
        )
        for each in rows({"one": often(0.5)})
    ]
    folder = write(tmp_path / "run", [*made, row(failure=HOSTILE, answer="")])
    reports.write(folder)
    text = (folder / "report.html").read_text()
    tags = Tags(text)
    assert tags.open == []
    assert tags.names.count("script") == 1
    assert not {"img", "link", "iframe"} & set(tags.names)
    assert not any(re.search(r"https?:|//", value) for value in tags.values)
    assert "default-src 'none'" in text
    table = next(line for line in (folder / "report.md").read_text().splitlines() if line.startswith("| s<"))
    # one cell more would be one bar more
    assert len(re.findall(r"(?<!\\)\|", table)) == 16


def test_a_page_stays_within_its_size_and_says_what_it_leaves_out(tmp_path) -> None:
    long = [replace(each, context="word " * 2000) for each in rows({"one": often(0.5)}, questions=40)]
    found = content(opened(write(tmp_path / "run", long)))
    small, whole = page(found, most_bytes=200_000), page(found)
    assert len(small) < 220_000 < len(whole)
    shown = re.search(r"(\d+) of 240 rows", small)
    assert shown
    assert 5 < int(shown[1]) == small.count("<article") < 20


def test_samples_take_categories_in_turn_and_keep_the_systems_of_a_question_together() -> None:
    made = rows(SYSTEMS)
    chosen = drawn(made, 16)
    assert [len(each) for each in chosen] == [2] * 8
    assert [each[0].category for each in chosen[:4]] == [each[0].category for each in chosen[4:]]
    assert len({each[0].category for each in chosen}) == 4
    assert drawn(list(reversed(made)), 16)[0][0].question_id == chosen[0][0].question_id


def test_names_of_systems_that_score_alike_do_not_cover_one_another() -> None:
    points = [Point(name, score, 4000, 4000, 0) for name, score in (("a", 0.1), ("b", 0.1), ("c", 0.9))]
    drawn_ = drawing.scatter(points, "context", "tokens")
    heights = {
        name: float(y) for y, name in re.findall(r'y="([0-9.]+)" text-anchor="start">([abc])<', drawn_)
    }
    # 8 + (1 - 0.1) * 240, a letter's half below it; the second one a line higher
    assert heights == {"a": 228.0, "b": 215.0, "c": 36.0}


def test_a_report_says_first_what_was_done_and_keeps_what_explains_out_of_the_way(tmp_path) -> None:
    folder = write(tmp_path / "run", rows(SYSTEMS))
    reports.write(folder)
    html = (folder / "report.html").read_text()
    said = "2 systems read the conversations of locomo-dev; one reader answered the same 72 questions"
    assert said in html
    assert said in (folder / "report.md").read_text()
    assert "<code>could be seen</code>" in html
    assert "`" not in html.split("<article")[0].split("</style>")[1]
    assert html.index("clear of zero") < html.index("<details><summary>How to read these numbers")
