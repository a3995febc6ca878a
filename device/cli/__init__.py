"""The commands, one module each: nothing but arguments, calls and printing."""
