"""Whether the context that recall packs holds the answer; without a reader."""
