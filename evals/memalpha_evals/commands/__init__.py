"""The commands of `evals`, a module each; `cli` puts them together."""
