"""The seed table: the cells that Mem-alpha is published for, and the best beside its figures, with ours.

Published figures stand in `published.toml`, each with its paper, its table and what was done; ours are made
by the same run as every other comparison, one folder a cell, and are never typed in. A figure that could not
be made says why.
"""
