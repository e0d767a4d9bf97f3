"""What the agent's loop does with an engine that many banks share: how busy it keeps it, and what it costs.

The loop is `memalpha.agent`, the banks are real; a stub stands for the engine where its time is to be known,
and where a model runs, the calls that are carried out are dictated, since an untrained model writes none.
"""
