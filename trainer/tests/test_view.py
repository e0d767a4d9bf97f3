"""The page of rollouts: what it shows, that no text breaks out of it, and that it says what it leaves out."""

import re
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from memalpha.errors import NotFoundError
from memalpha_trainer.config import resolve
from memalpha_trainer.records import Answered, ChunkSample, Operation, Rollout, Source, Span
from memalpha_trainer.runs.credits import RolloutCredit, SampleCredit
from memalpha_trainer.runs.folder import RunFolder
from memalpha_trainer.view import html, memory, tokens, write_page

HOSTILE = "</script></pre><script>steal()</script><img src=x onerror=steal()> & \"'`--><!-- \x1b[31m \u202e http://x"


def a_sample(chunk=0, *operations, text="insert x", **changed):
    base = ChunkSample(
        chunk=chunk,
        prompt="the prompt",
        text=text,
        prompt_ids=(1, 2),
        completion_ids=(11, 12),
        logprobs=(-0.25, -2.0),
        versions=(Span(3, 2),),
        seed=99,
        finished=True,
        operations=operations,
        memory_tokens=5,
    )
    return replace(base, **changed)


def an_answer(**changed):
    base = Answered(
        "Where?", "current", "strict", ("Oslo",), (0,), False, "Rome", 0.0, (1, 0), (Source(1, 0),)
    )
    return replace(base, **changed)


def a_rollout(step=0, group=0, index=0, samples=None, answers=None, **changed):
    base = Rollout(
        step=step,
        group=group,
        index=index,
        instance_id="stream-7",
        source="ledger",
        samples=samples or (a_sample(0, Operation("insert", "semantic", 1, "x")), a_sample(1)),
        answers=answers if answers is not None else (an_answer(),),
        memory_tokens=5,
        stream_tokens=50,
    )
    return replace(base, **changed)


def a_credit(rollout, trainer=(), **changed):
    samples = tuple(SampleCredit(0.5, {"calls": 1.0}, "", trainer) for _ in rollout.samples)
    base = RolloutCredit(rollout.step, rollout.group, rollout.index, 0.875, {"answers": 0.75}, samples)
    return replace(base, **changed)


def a_config(tmp_path, *overrides):
    return resolve(None, [f'out="{tmp_path}"', "name=a", "policy.model=m", *overrides])


def a_run(tmp_path, rollouts, credits=()):
    with RunFolder.create(a_config(tmp_path)) as run:
        run.add_rollouts(rollouts)
        run.add_credits(credits)
    return run.path


class Page(HTMLParser):
    """What a browser would see of a page: elements, attributes, and text by element."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.words, self._open = [], [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)


def page_of(tmp_path, run, **options):
    out = tmp_path / "page.html"
    write_page(run, out, **options)
    return out.read_text("utf-8")


# safety


def faults(source):
    """Whatever in a page runs, loads or leads elsewhere."""
    page = Page(source)
    found = [tag for tag in page.tags if tag in ("img", "iframe", "link", "object", "base", "form")]
    found += ["script"] * (page.tags.count("script") - 1)
    for tag, name, value in page.attributes:
        elsewhere = name in ("src", "href", "action") and not (value or "").startswith("#")
        if elsewhere or name.startswith("on") or name == "style":
            found.append(f"{tag} {name}={value}")
    return found


def a_hostile_run(tmp_path):
    operations = (
        Operation("insert", "semantic", 1, HOSTILE, HOSTILE),
        Operation("update", "semantic", 1, HOSTILE + " more", HOSTILE),
        Operation("rejected", content=HOSTILE, error=HOSTILE),
    )
    sample = a_sample(0, *operations, text=HOSTILE, prompt=HOSTILE, failure=HOSTILE)
    answer = an_answer(question=HOSTILE, kind=HOSTILE, answers=(HOSTILE,), answer=HOSTILE)
    rollout = a_rollout(
        samples=(sample,), answers=(answer,), instance_id=HOSTILE, source=HOSTILE, failure=HOSTILE
    )
    credit = a_credit(rollout, dropped=HOSTILE, parts={HOSTILE: 1.0})
    return a_run(tmp_path, [rollout, replace(rollout, index=1)], [credit])


def test_what_models_wrote_stays_text(tmp_path):
    source = page_of(tmp_path, a_hostile_run(tmp_path))
    assert faults(source) == []
    shown = Page(source).text
    assert shown.count("<script>steal()</script><img src=x onerror=steal()>") > 20
    assert "\x1b" not in source
    assert "\u202e" not in source
    assert "\\x1b[31m \\u202e" in shown


def test_the_check_of_safety_finds_what_is_not_escaped(tmp_path, monkeypatch):
    monkeypatch.setattr(html, "text", lambda value: html.Html(str(value)))
    run = a_hostile_run(tmp_path)
    with pytest.raises(AssertionError):
        assert faults(page_of(tmp_path, run)) == []


def test_the_page_loads_nothing_and_runs_its_own_script_alone(tmp_path):
    source = page_of(tmp_path, a_run(tmp_path, [a_rollout()]))
    assert "http:" not in source
    assert "https:" not in source
    assert "url(" not in source
    assert "@import" not in source
    policy = next(value for tag, name, value in Page(source).attributes if (tag, name) == ("meta", "content"))
    assert policy.startswith("default-src 'none'")
    for element in ("style", "script"):
        (content,) = re.findall(f"<{element}>(.*)</{element}>", source, re.DOTALL)
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy


def test_the_script_is_valid():
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    subprocess.run([node, "--check", str(Path(html.__file__).with_name("page.js"))], check=True)


# what is shown


def test_rollouts_stand_side_by_side_with_all_that_is_known_of_them(tmp_path):
    first, second = a_rollout(), a_rollout(index=1, failure="chunk 1 is parked", answers=())
    run = a_run(tmp_path, [first, second], [a_credit(first, (-0.5, -2.0))])
    source = page_of(tmp_path, run)
    shown = Page(source).text
    for words in (
        "Group 0: stream-7 (ledger)",
        "rollout 0reward 0.875answers 0.75memory 5 of 50 tokens",
        "chunk 1 is parked",
        "advantage +0.500 calls 1.00",
        "no credit on record",
        "insert x",
        "the prompt",
        "Where?right: Oslocurrent strictdecided by chunks 0",
        "0.00 Romerests on #1 by chunk 0was shown #1, core",
        "2 + 2 tokens, v3, seed 99",
    ):
        assert words in shown
    # logprobs of policy and trainer, and their difference; the policy's alone where the other is not known
    assert 'class="s1 d4" data-t="11 -0.25 -0.5 -0.25">‹11›' in source
    assert 'class="s3 d0" data-t="12 -2 -2 +0">‹12›' in source
    assert 'class="s3" data-t="12 -2">‹12›' in source
    assert 'href="#g0c0"' in source
    assert 'id="g0c0"' in source


def test_what_was_not_trained_on_or_cut_says_so(tmp_path):
    rollout = a_rollout(samples=(a_sample(finished=False),))
    credit = a_credit(rollout, samples=(SampleCredit(0.0, {}, "truncated"),), dropped="stale")
    shown = Page(page_of(tmp_path, a_run(tmp_path, [rollout], [credit]))).text
    for words in ("not trained on: truncated", "cut at the token limit", "dropped: stale"):
        assert words in shown


def test_tries_of_a_chunk_share_a_cell_and_an_unread_chunk_is_named(tmp_path):
    tried = a_rollout(
        samples=(a_sample(failure="conflict", text="first"), a_sample(text="second"), a_sample(1))
    )
    short = a_rollout(index=1, samples=(a_sample(),))
    source = page_of(tmp_path, a_run(tmp_path, [tried, short]))
    shown = Page(source).text
    assert 0 < shown.index("conflict") < shown.index("first") < shown.index("second")
    assert source.count('id="g0c') == 2
    assert "not read" in shown


# memory


def test_operations_show_what_they_found_and_left():
    samples = [
        a_sample(
            0, Operation("insert", "semantic", 1, "a b", "2024"), Operation("update", "core", 0, "core one")
        ),
        a_sample(
            1,
            Operation("update", "semantic", 1, "a c", "2025"),
            Operation("update", "semantic", 1, "never", error="not_found"),
            Operation("update", "core", 0, "core two"),
        ),
        a_sample(2, Operation("delete", "semantic", 1, "a c"), Operation("insert", "semantic", 1, "again")),
    ]
    found = [[(each.before, each.after) for each in made] for made in memory.changes(samples)]
    assert found == [
        [("", "a b"), ("", "core one")],
        [("a b", "a c"), ("", ""), ("core one", "core two")],
        [("a c", ""), ("", "again")],
    ]
    assert memory.changes(samples)[1][0].time_before == "2024"


def test_an_operation_that_failed_does_not_change_what_the_next_one_found():
    failed = a_sample(
        0, Operation("insert", "semantic", 1, "a"), Operation("update", "semantic", 1, "b", error="e")
    )
    after = a_sample(1, Operation("update", "semantic", 1, "c"))
    assert memory.changes([failed, after])[1][0].before == "a"


@pytest.mark.parametrize(
    ("before", "after", "gone", "come"),
    [
        ("is white", "is silver", "is <del>white</del>", "is <ins>silver</ins>"),
        ("same", "same", "same", "same"),
        ("", "<b>", "", "<ins>&lt;b&gt;</ins>"),
        ("a b c", "a c", "a <del>b </del>c", "a c"),
        ("  x\n y", "  x\n z", "  x\n <del>y</del>", "  x\n <ins>z</ins>"),
    ],
)
def test_differences_mark_the_words_that_went_and_came(before, after, gone, come):
    assert memory.difference(before, after) == (gone, come)


# tokens


def test_tokens_that_are_parts_of_a_character_are_shown_with_the_last_of_them():
    data = {1: b"a", 2: b"\xc3", 3: b"\xa9", 4: b"b", 5: b"\xe2"}

    def decode(ids):
        return b"".join(data[each] for each in ids).decode("utf-8", "replace")

    assert tokens.pieces([1, 2, 3, 4], decode) == ["a", "", "é", "b"]
    # what never becomes a character is shown as the tokenizer shows it
    assert tokens.pieces([4, 5], decode) == ["b", "\N{REPLACEMENT CHARACTER}"]
    assert tokens.pieces([], decode) == []


def test_the_tokenizer_of_a_checkpoint_tells_texts(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"insert": 11, "x": 12, "?": 0}, unk_token="?")
    run = a_run(tmp_path, [a_rollout()])
    (run / "weights/v000001").mkdir()
    tokenizers.Tokenizer(model).save(str(run / "weights/v000001/tokenizer.json"))
    source = page_of(tmp_path, run)
    assert ">insert</i>" in source
    assert "‹11›" not in source


# choice and size


def test_the_latest_step_that_was_trained_on_is_shown(tmp_path):
    rollouts = [a_rollout(step, text) for step, text in ((0, 0), (1, 0), (2, 0))]
    run = a_run(tmp_path, rollouts, [a_credit(each) for each in rollouts[:2]])
    # The screen counts from 1: collected after one step, trained on in the second.
    assert "a, step 2:" in page_of(tmp_path, run)
    assert "a, step 3:" in page_of(tmp_path, run, step=3)


def test_a_step_is_the_screens_and_the_numbers_beside_its_rollouts_are_its_own(tmp_path):
    with RunFolder.create(a_config(tmp_path)) as run:
        for step in (1, 2):
            run.add_rollouts([a_rollout(step - 1)])
            run.add_metrics(step, {"reward/total": step / 8})
    for step in (1, 2):
        source = page_of(tmp_path, run.path, step=step)
        assert f"a, step {step}:" in source
        assert f"reward {step / 8:.3f}" in source


def test_each_step_on_a_collection_shows_its_rollouts(tmp_path):
    with RunFolder.create(a_config(tmp_path, "optim.updates=3", "optim.steps=6", "save.every=3")) as run:
        run.add_rollouts([a_rollout(0), a_rollout(3)])
    for step, said in ((1, "1 to 3"), (3, "1 to 3"), (4, "4 to 6"), (None, "4 to 6")):
        assert f"a, steps {said}: 1 rollout" in page_of(tmp_path, run.path, step=step)
    for step in (0, 7):
        with pytest.raises(NotFoundError, match=f"of step {step} in .*: there are those of 1 to 6"):
            page_of(tmp_path, run.path, step=step)


def test_a_run_at_work_can_be_looked_at(tmp_path):
    run = a_run(tmp_path, [a_rollout()])
    with (run / "rollouts.jsonl").open("a") as file:
        file.write('{"step":1,"group":0,"ind')
    assert "a, step 1: 1 rollout of 1 group" in page_of(tmp_path, run)


def test_what_is_not_there_is_named(tmp_path):
    run = a_run(tmp_path, [a_rollout(4, 1), a_rollout(6, 1)])
    with pytest.raises(NotFoundError, match=r"no rollouts of step 6 in .*: there are those of 5 to 7"):
        page_of(tmp_path, run, step=6)
    with pytest.raises(NotFoundError, match="step 7: no group 0, but 1 to 1"):
        page_of(tmp_path, run, group=0)
    with pytest.raises(NotFoundError, match="no run in"):
        page_of(tmp_path, tmp_path)
    with pytest.raises(NotFoundError, match="none at all"):
        page_of(tmp_path, a_run(tmp_path / "other", []))


def test_a_page_is_bounded_and_says_what_it_left_out(tmp_path):
    long = (a_sample(text="word " * 1000),)
    rollouts = [a_rollout(0, group, index, samples=long) for group in range(4) for index in range(3)]
    run = a_run(tmp_path, rollouts)
    whole, bounded = page_of(tmp_path, run), page_of(tmp_path, run, most_bytes=25_000)
    assert whole.count("<b>rollout") == 12
    assert "left out" not in whole
    # a column has some 6 kB: four fit
    assert bounded.count("<b>rollout") == 4
    assert "4 rollouts of 4 groups; left out for want of room: 8 rollouts, of groups 1, 2, 3" in bounded
    assert len(bounded) - len(page_of(tmp_path, run, most_bytes=1)) < 25_000
    assert page_of(tmp_path, run, group=2, most_bytes=1).count("<b>rollout") == 1


def test_a_very_long_text_is_cut_and_says_so(tmp_path):
    run = a_run(tmp_path, [a_rollout(samples=(a_sample(prompt="p" * (html.MOST_CHARACTERS + 1234)),))])
    source = page_of(tmp_path, run)
    assert "… (1,234 more characters)" in source
    assert len(source) < html.MOST_CHARACTERS + 30_000
