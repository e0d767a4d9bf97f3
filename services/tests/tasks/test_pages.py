"""Parts of pages that programs write."""

import pytest

from memalpha.errors import InvalidInputError
from memalpha.tasks.pages import between

BEGIN, END = "<!-- begin -->", "<!-- end -->"


def test_what_stands_between_the_markers_is_replaced_and_nothing_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter"
    assert between(page, BEGIN, END, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter"


@pytest.mark.parametrize("page", ["", f"before\n{BEGIN}\nafter", f"{END}\nbefore\n{BEGIN}\nafter"])
def test_a_page_without_both_markers_in_order_is_refused(page: str) -> None:
    with pytest.raises(InvalidInputError, match="must hold the lines"):
        between(page, BEGIN, END, "new")
