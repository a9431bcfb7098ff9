"""A run: its directory, its jobs, the worker processes that do them, and its result."""
