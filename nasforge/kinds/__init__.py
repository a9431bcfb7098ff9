"""Space kinds: each turns its spec into decisions and templates by calls of the graph builder."""
