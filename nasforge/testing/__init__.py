"""Contract tests that every component must pass, for nasforge itself and for plugins."""
