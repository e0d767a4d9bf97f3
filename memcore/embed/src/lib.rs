//! The built-in static embedder: WordPiece tokens, one weighted row each, summed.
