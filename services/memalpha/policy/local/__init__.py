"""The `transformers` engine: models in this process, by torch and transformers.

It is the reference that other engines are compared with, and what small models are trained and served on. A
thread works all requests off together; see `batch`. Importing this package loads no torch.
"""
