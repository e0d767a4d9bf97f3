"""Dated frames: material becomes something that a user told an assistant on a day.

The days go on from 2024-01-01, one for each chunk, at an hour of the instance's own. Half of the chunks end
with a further exchange that tells nothing. The wording is this project's own; what a line says carries no
answer, so that leaving a frame out of memory is never wrong.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from memalpha.tasks.instance import Chunk

START = datetime(2024, 1, 1)

_PASSAGES = (
    "Here is something I read today. Please keep what it says, I will ask about it some day.",
    "I am collecting background on a few topics. This is the next piece:",
    "Could you keep these notes for me? I may need the details later.",
    "Look at this text, please. Names, places and numbers in it matter to me.",
    "More material for my files. Hold on to the facts:",
    "This came up in my research just now, I do not want to lose it:",
    "Let me paste a few paragraphs. Remember them as well as you can.",
    "I am preparing for a quiz. Here is what I have to know for today:",
)
_EXAMPLES = (
    "I sort sentences under numbers. Here are some that I have done; learn how I do it:",
    "These sentences carry the numbers I gave them. Find out what each number stands for.",
    "More sentences with their numbers. I will ask you for the numbers of new ones later.",
    "This is how I labelled today's sentences. Please keep the pattern in mind:",
    "Here is the next batch of labelled sentences. The numbers mean the same as before:",
)
_STORY = (
    "I went on with my story today. This is the part that I have just read:",
    "Another part of the story I am reading. Please follow the plot for me:",
    "Here is what I read this evening. Keep track of who does what, and why:",
    "The story goes on like this. I will want a summary of it later:",
)
_REPLIES = (
    "Thank you, I have read it and will keep it in mind.",
    "All right, I will hold on to this. Ask me whenever you like.",
    "Got it. I will come back to this when you need it.",
    "Noted. Send me the next piece whenever you are ready.",
    "Understood, I will remember the details.",
    "I have gone through all of it and will keep what matters.",
)
_SMALL_TALK = (
    ("Was that too much at once?", "Not at all, it was quite easy to follow."),
    ("Thanks, that is all for the moment.", "You are welcome. Until the next time."),
    ("I will send you more in the next few days.", "Good, I am looking forward to it."),
    ("Do you want me to make the pieces shorter?", "No need to, this length suits me well."),
    ("You can reach me in the evening if something is unclear.", "Nothing is unclear so far."),
)

PASSAGES, EXAMPLES, STORY = _PASSAGES, _EXAMPLES, _STORY

LINES = frozenset(
    (*_PASSAGES, *_EXAMPLES, *_STORY, *_REPLIES, *(line for pair in _SMALL_TALK for line in pair))
)
"""Everything a frame may say but for its header: what two instances may share without sharing data."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Tells an instance's chunks, drawing from its generator."""

    openers: tuple[str, ...]
    rng: Random

    def tell(self, bodies: list[str]) -> tuple[Chunk, ...]:
        """The framed chunks, one for each body, a day apart."""
        return tuple(self._chunk(body, number) for number, body in enumerate(bodies))

    def _chunk(self, body: str, number: int) -> Chunk:
        moment = day(number) + timedelta(minutes=self.rng.randrange(7 * 60, 22 * 60))
        lines = [
            f"[Conversation on {moment:%Y-%m-%d %H:%M}]",
            f"User: {self.rng.choice(self.openers)}",
            body,
            f"Assistant: {self.rng.choice(_REPLIES)}",
        ]
        if self.rng.random() < 0.5:
            said, replied = self.rng.choice(_SMALL_TALK)
            lines += [f"User: {said}", f"Assistant: {replied}"]
        return Chunk("\n".join(lines), moment.isoformat(timespec="minutes"))


def day(number: int) -> datetime:
    """The day of a chunk, by its number from 0."""
    return START + timedelta(days=number)
