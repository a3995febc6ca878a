"""From a TOML file to settings that are validated, or every error in it."""
