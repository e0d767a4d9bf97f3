"""Stories and summaries: a story is read day by day, then its plot and more is to be told.

The paper scores a summary by keywords that a model took from the reference. Here a keyword is a word of
content that at least half of the people who answered chose, and that the story has too; no model is asked.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from memalpha.tasks.data.draft import Draft, Job
from memalpha.tasks.data.frames import STORY, Frame, day
from memalpha.tasks.data.readers.stories import Story, StoryQuestion
from memalpha.tasks.instance import Instance, Question

FEWEST_KEYWORDS = 3
"""Questions with fewer are left out: their score would hang on one word."""
MOST_KEYWORDS = 12

_WORD = re.compile(r"[^\W\d_]{4,}")
_COMMON_TEXT = """
able about after again against also although always among another anyone anything around away back
because become becomes been before began begin begins behind being better between both came cannot come
comes could despite does doing done down during each either else even eventually ever every everyone
everything feels find finds first form from gets give given gives goes going have having hears help here
herself himself however into itself just keep keeps know known knows last later leave leaves like long
look made make makes making many more most much must named need needs never next note nothing once only
onto other others over part people place position quite rather realize realizes same says seem seems
sees several shall should since some someone something soon start starting starts still story such take
taken takes tell tells than that their them themselves then there these they thing things think thinks
this those though through time together told took toward towards tries trying turn turns under unless
until upon used uses using very wait want wants well were what when where whether which while whole whom
whose will with within without would your
"""
_COMMON = frozenset(_COMMON_TEXT.split())


def build(rows: Iterable[Story], job: Job) -> Iterator[Instance]:
    """One instance for each story that the limits let through."""
    number = 1
    for story in rows:
        if instance := _instance(story, job.draft(number)):
            yield instance
            number += 1


def _instance(story: Story, draft: Draft) -> Instance | None:
    packing = draft.packing()
    if any(packing.add(paragraph) is None for paragraph in story.paragraphs()):
        return None
    bodies = packing.bodies()
    words = {word.lower() for word in _WORD.findall(story.text)}
    for question in story.questions:
        found = keywords(question.references, words)
        if len(found) >= FEWEST_KEYWORDS:
            draft.questions.append(_question(question, found, len(bodies)))
    return draft.finish(Frame(STORY, draft.rng).tell(bodies))


def keywords(references: Sequence[str], story: set[str]) -> list[str]:
    """Words of the story that at least half of the references use, the most agreed upon first."""
    used = [dict.fromkeys(word.lower() for word in _WORD.findall(reference)) for reference in references]
    counts = Counter(word for words in used for word in words)
    agreed = [word for word, count in counts.most_common() if 2 * count >= max(2, len(references))]
    return [word for word in agreed if word in story and word not in _COMMON][:MOST_KEYWORDS]


def _question(question: StoryQuestion, found: list[str], chunks: int) -> Question:
    text = question.text
    if question.about_plot:
        text = f"Summarize the story that I read from {day(0):%Y-%m-%d} to {day(chunks - 1):%Y-%m-%d}."
    kind = "plot" if question.about_plot else "detail"
    return Question(text, (", ".join(found),), "keywords", tuple(range(chunks)) if chunks else (), kind)
