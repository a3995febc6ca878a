"""What the commands do that only look, measure, try or read."""
