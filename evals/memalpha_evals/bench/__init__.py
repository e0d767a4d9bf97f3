"""Measurements of the runner itself: how well it uses a model's slots, and what a long conversation takes."""
