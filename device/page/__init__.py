"""The privacy page: what it shows and who may use it, as text and rules; no file, clock, thread or socket."""
