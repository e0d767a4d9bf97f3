"""What training costs: memory, tokens a second, and CPU per row beside the network's own, by size of model.

Every number is of a real run: a model of random weights writes about the ledger through the policy service,
the agent's loop and the memory, and is trained on what it wrote. Its rewards are made up, since it would earn
none. Each size runs in a process of its own (`child`), so that one's peak is not another's; there alone torch
is loaded.
"""
