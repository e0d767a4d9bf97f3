"""Does a search find the evidence? Systems that rank turns, and how well; no model, no reader."""
