"""Comparisons as tables of text, and the sentences without which nobody should read them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from memalpha.cli.style import plural
from memalpha.tasks.stats import FEWEST_CLUSTERS, Interval
from memalpha_evals import pages
from memalpha_evals.compare.comparable import unfinished
from memalpha_evals.compare.facts import Facts
from memalpha_evals.compare.measured import ANSWERABLE, HEADLINE, OVERALL, Measured, measured, parts
from memalpha_evals.compare.paired import Comparison, Line
from memalpha_evals.compare.sides import Group, Side
from memalpha_evals.pages import Titled
from memalpha_evals.rows import Row

_CORRECTED = "p (Holm)"

NO_CLAIM = (
    f"Fewer than {FEWEST_CLUSTERS} clusters do not tell how much clusters differ: there is no interval and "
    "no p; numbers describe this sample, and claim nothing beyond it."
)

HOW_TO_READ = (
    "Scores are percent; the headline is each question by the score of its kind (options by letter, "
    "abstention where there is no answer, labels as numbers, texts by token F1, everything else by "
    "whole-word containment). A score is over as many rows as `questions` before it says; `failed`, `cut` and"
    " tokens are over all rows, `evidence in context` over those of which the evidence is known, `abstention "
    "precision` over those that abstain, and `abstention recall` over those without an answer. Failed "
    "rows are in every mean, as 0. Where some questions cannot be answered, "
    "claims are about the answerable ones, without categories that the data's paper leaves out of its "
    "overall figure: overall, a system that always says that it does not know gets all "
    "the others, so read that figure beside `abstention precision`, how often saying so was right, and "
    "`abstention recall`, how many of the questions without an answer were met so. `evidence in context` is "
    "how much of the evidence the reader was shown. Tokens are for each question: `built` by model calls "
    "while reading, `stored` by the system, given to the reader as `context`, and `read` by its calls; `cut` "
    "counts contexts that the budget cut off."
)
HOW_INTERVALS = (
    "Intervals are 95 %. A difference is clear (*) if its p is below 0.05, the corrected one where there is "
    "one: the interval of a difference that is clear alone, and not among several, leaves zero out too. "
    "Questions of one cluster, such as a conversation, are not independent: interval, p and `could be seen` "
    "of a difference are by Student's t over "
    "clusters from the clustered standard error `error`, with one degree of freedom less than there are "
    "clusters of one size, and fewer where sizes are unlike. Where all clusters differ by the same there is "
    "no interval, and p is the sign test's. A share of right answers has Wilson's interval of as many "
    "independent questions as have its error (Korn and Graubard); where none is right, or all are, `at most` "
    "and `at least` are its ends with the error of a single right, or wrong, answer: clusters may differ by "
    "more than that shows. `could be seen` is the smallest difference that shows "
    "four times in five, with an error of at least one question's, so that equal answers do not seem to "
    f"rule every difference out. Below {FEWEST_CLUSTERS} clusters there is none of them."
)
HOW_MANY = (
    "With many lines some are clear by chance: only the first line is corrected for the number of "
    f"comparisons, `{_CORRECTED}`."
)


def percent(value: float | None, signed: bool = False) -> str:
    """A share as percent with one decimal; a dash if there is none."""
    return "–" if value is None else f"{100 * value:{'+' if signed else ''}.1f}"


def between(interval: Interval | None, share: float) -> str:
    """The interval of a share in percent; a dash if there is none."""
    return pages.around(share, (interval.low, interval.high), percent) if interval else "–"


def apart(interval: Interval | None) -> str:
    """The interval of a difference in percent; a dash if there is none."""
    return f"{percent(interval.low, True)} to {percent(interval.high, True)}" if interval else "–"


def sides_table(group: Group, sides: Sequence[Side], score: str = HEADLINE) -> Titled:
    """What each side of a group scores and takes; the interval is of the first score."""
    main, within = next(iter(_lines(sides).items()))
    whole = [] if main == OVERALL else ["all questions", OVERALL]
    header = ["system", "questions", main, "interval", *whole, "failed", "cut", "evidence in context"]
    header += ["abstention precision", "abstention recall", "built", "stored", "context", "read"]
    rows = []
    for side in sides:
        every = list(side.rows.values())
        first = measured([row for row in every if within(row)], score)
        found = measured(every, score, query_aware=group.query_aware)
        if first and found:
            cells = [*_first(first), *(_whole(found) if whole else []), *_measured(found, side.seeds == 1)]
        else:
            cells = ["0", *["–"] * (len(header) - 2)]
        rows.append([side.name, *cells])
    return f"Scores and tokens, {score}", header, rows


def _first(found: Measured) -> list[str]:
    return [*_whole(found), between(found.score.interval, found.score.value)]


def _whole(found: Measured) -> list[str]:
    return [f"{found.score.questions:,}", percent(found.score.value)]


def _measured(found: Measured, single: bool) -> list[str]:
    """`single`: each row is one answer, which abstains or does not."""
    spent, abstention = found.spending, found.abstention
    return [
        str(found.failed),
        str(found.truncated),
        percent(found.evidence),
        percent(abstention.precision if single else None),
        percent(abstention.recall if single else None),
        *(f"{each:,.0f}" for each in (spent.built, spent.stored, spent.context, spent.read)),
    ]


def _lines(sides: Sequence[Side]) -> dict[str, Callable[[Row], bool]]:
    return parts([row for side in sides for row in side.rows.values()], sides[0].facts.apart)


def categories_table(sides: Sequence[Side], score: str = HEADLINE) -> Titled:
    """Scores of each category, systems as columns."""
    lines = _lines(sides)
    rows = []
    for name, within in lines.items():
        found = [measured([row for row in side.rows.values() if within(row)], score) for side in sides]
        count = max((each.score.questions for each in found if each), default=0)
        rows.append([name, f"{count:,}", *(percent(each.score.value if each else None) for each in found)])
    return "By category", ["line", "questions", *(side.name for side in sides)], rows


def difference_tables(comparisons: Sequence[Comparison]) -> list[Titled]:
    """Sides minus their baselines, line by line; those without a line have no table."""
    header = ["line", "questions", "clusters", "side", "baseline", "difference", "interval", "error"]
    header += ["better", "worse", "p", _CORRECTED, "could be seen"]
    dropped = set() if _is_corrected(comparisons) else {header.index(_CORRECTED)}
    return [
        (each.name, _without(dropped, header), [_without(dropped, _difference(line)) for line in each.lines])
        for each in comparisons
        if each.lines
    ]


def _without(places: Collection[int], cells: Sequence[str]) -> list[str]:
    return [cell for place, cell in enumerate(cells) if place not in places]


def _is_corrected(comparisons: Sequence[Comparison]) -> bool:
    return any(line.adjusted is not None for each in comparisons for line in each.lines)


def _difference(line: Line) -> list[str]:
    found = line.difference
    mark = " *" if line.clear else ""
    return [
        line.name,
        f"{found.questions:,}",
        f"{found.clusters:,}",
        percent(line.ours),
        percent(line.baseline),
        percent(found.mean, signed=True) + mark,
        apart(found.interval),
        percent(line.error),
        str(found.better),
        str(found.worse),
        *(_p(each) for each in (line.p, line.adjusted)),
        percent(line.detectable),
    ]


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< .001"


def sentences(comparisons: Sequence[Comparison], score: str = HEADLINE) -> Iterator[str]:
    """What the first lines say and do not say, how to quote them, and how to read the tables."""
    yield from verdicts(comparisons)
    yield from quotes(comparisons, score)
    yield from reading(comparisons)


def verdicts(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """What the first lines say and do not say."""
    for comparison in comparisons:
        yield from _verdict(comparison)


def quotes(comparisons: Sequence[Comparison], score: str = HEADLINE) -> Iterator[str]:
    """The first lines as they may be published."""
    yield from (_quote(each, score) for each in comparisons if each.lines)


def reading(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """How to read the tables."""
    yield HOW_TO_READ
    yield HOW_INTERVALS
    if _is_corrected(comparisons):
        yield HOW_MANY


def _quote(comparison: Comparison, score: str) -> str:
    """A sentence that may be published as it is, or why there is none."""
    side, baseline = comparison.side, comparison.baseline
    if missing := [unfinished(each) for each in (side, baseline) if not each.facts.done]:
        return f"Nothing to quote of {comparison.name}: {'; '.join(dict.fromkeys(missing))}."
    line, facts = comparison.lines[0], side.facts
    budget = f"{facts.budget:,} tokens of context" if facts.budget else "an unknown budget"
    return (
        f"To quote: on {facts.dataset} (sha256 {facts.sha256[:8]}), {_asked(comparison)} in "
        f"{plural(line.difference.clusters, 'cluster')}, {_score(score)}, {_reader(facts)}, {budget}: "
        f"{side.name} {percent(line.ours)}, {baseline.name} {percent(line.baseline)}, difference "
        f"{percent(line.difference.mean, signed=True)} ({_claim(comparison)}); {_failed(side)}, "
        f"{_failed(baseline)}; failed rows count as 0."
    )


def _asked(comparison: Comparison) -> str:
    """What the first line is over, and of how many."""
    line, rows = comparison.lines[0], comparison.baseline.rows.values()
    if line.name != ANSWERABLE:
        return plural(line.difference.questions, "question")
    apart = sorted(comparison.baseline.facts.apart & {row.category for row in rows})
    without = f" without {', '.join(apart)}" if apart else ""
    return f"{plural(line.difference.questions, 'answerable question')}{without} of {len(rows):,}"


def _score(score: str) -> str:
    return "each question by the score of its kind" if score == HEADLINE else f"score {score}"


def _reader(facts: Facts) -> str:
    if facts.model_free:
        return f"reader {facts.reader} (a rule, no model)"
    policy = (facts.reader_identity or {}).get("policy", {})
    model = policy.get("model") or policy.get("id") or "an unknown model"
    return f"reader {facts.reader} ({model}, version {policy.get('version', 'unknown')})"


def _claim(comparison: Comparison) -> str:
    line = comparison.lines[0]
    interval, p = line.difference.interval, f"p {_p(line.claimed)}"
    if comparison.together > 1:
        p += f" (Holm, {comparison.together} comparisons)"
    if line.error == 0:
        return f"the same in every cluster, {p}, sign test of clusters"
    if interval is None:
        return "too few clusters for an interval"
    return f"95 % {apart(interval)}, {p}, t over clusters"


def _failed(side: Side) -> str:
    failed = sum(bool(row.failure) for row in side.rows.values())
    seeds = f" with one of {side.seeds} seeds" if side.seeds > 1 else ""
    return f"{failed:,} of {plural(len(side.rows), 'row')} of {side.name} failed{seeds}"


def _verdict(comparison: Comparison) -> Iterator[str]:
    names = comparison.name
    if not comparison.lines:
        yield f"{names}: no question has this score on both sides."
        return
    line = comparison.lines[0]
    found = line.difference
    text = f"{names}: {percent(found.mean, signed=True)} points over {plural(found.questions, 'question')}"
    clusters = plural(found.clusters, "cluster")
    if line.error is None:
        yield f"{text} in {clusters}. {NO_CLAIM}"
        return
    where = apart(found.interval) if found.interval else "the same in each"
    yield f"{text} in {clusters}, {where}: {_clearness(comparison)}."


def _clearness(comparison: Comparison) -> str:
    line, several = comparison.lines[0], f" among {comparison.together} comparisons"
    among = several if comparison.together > 1 else ""
    if line.clear:
        return f"clear of zero{among}"
    return f"not clear{among}; {percent(line.detectable)} points could be seen"


def document(
    comparisons: Sequence[Comparison], score: str, unlike: Sequence[str], caveats: Sequence[str]
) -> dict[str, object]:
    """All numbers, as plain values."""
    return {
        "score": score,
        "not_alike": list(unlike),
        "caveats": list(caveats),
        "comparisons": [
            {
                "side": each.side.name,
                "baseline": each.baseline.name,
                "lines": {line.name: _plain(line) for line in each.lines},
            }
            for each in comparisons
        ],
    }


def _plain(line: Line) -> Mapping[str, object]:
    found, interval = line.difference, line.difference.interval
    return {
        "questions": found.questions,
        "clusters": found.clusters,
        "side": line.ours,
        "baseline": line.baseline,
        "difference": found.mean,
        "interval": [interval.low, interval.high] if interval else None,
        "error": line.error,
        "freedom": line.freedom,
        "better": found.better,
        "worse": found.worse,
        "p": line.p,
        "p_holm": line.adjusted,
        "detectable": line.detectable,
        "by_cluster": line.by_cluster,
    }
