"""Models that judge answers, and what is known of how they err."""
