"""Strategies: who trains what and when. Each combines a controller and an executor."""
