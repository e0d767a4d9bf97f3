"""Tables in Markdown: one line each, whatever a cell holds."""

from memalpha_evals import pages


def test_a_cell_cannot_break_out_of_its_table() -> None:
    text = pages.markdown(("a\ntitle", ["name", "said"], [["x", "one | two\nthree"]]))
    assert text.splitlines() == [
        "### a title",
        "",
        "| name | said |",
        "| --- | --- |",
        "| x | one \\| two three |",
    ]


def test_columns_but_the_first_can_be_aligned() -> None:
    assert "| --- | ---: |" in pages.markdown(("t", ["name", "n"], [["x", "1"]]), "---:")
