"""The daemon's threads, and what they do: listening, storing, sending, supervising."""
