"""What docs/policy.md shows of `doctor`: the hashes are those of the prompts and tools that there are."""

from pathlib import Path

import pytest

from memalpha.config import Settings
from memalpha.up.words import words

PAGE = Path(__file__).parents[3] / "docs" / "policy.md"


@pytest.mark.parametrize("preset", ["", "paper"])
def test_the_page_shows_the_hashes_of_the_words_that_models_are_given(preset, tmp_path) -> None:
    settings = Settings.model_validate({"preset": preset} if preset else {})
    found = {each.name: each.text for each in words(settings, tmp_path)}
    shown = PAGE.read_text("utf-8")
    for name in ("prompt pack", "tool text"):
        line = f"ok    {name:<13}  {found[name]}\n"
        assert line in shown
        # The control: other words have another hash.
        assert line.replace(found[name][-4:], "0000") not in shown
