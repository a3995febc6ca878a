"""Pure: which request is sent next, and what an answer or a lost connection means."""
