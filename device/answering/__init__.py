"""Which requests are answered, by whom, and what is published of it; no network, no clock."""
