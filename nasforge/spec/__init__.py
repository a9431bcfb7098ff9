"""What a user writes: YAML with the place of every value, overrides, profiles and the run spec they make."""
