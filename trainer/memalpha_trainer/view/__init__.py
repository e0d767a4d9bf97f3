"""Pages that show what happened in a run. No torch here."""

from memalpha_trainer.view.page import write_page

__all__ = ["write_page"]
