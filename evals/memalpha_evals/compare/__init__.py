"""Comparisons: paired differences between systems on the same questions, and what makes two unlike."""
