"""Pure code: no clock, file, thread or socket; standard library, numpy and msgspec only."""
