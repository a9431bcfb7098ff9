"""The command line: one small module a command. Nothing here imports torch."""
