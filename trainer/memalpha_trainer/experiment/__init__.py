"""The learning experiment: arms, seeds and lengths as cells, each run once and kept as one line.

What is compared was fixed before the pilot was run (`analysis`); a cell that was interrupted goes on at its
last checkpoint, and any cell can be run again by one command.
"""
