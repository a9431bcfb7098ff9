"""Executors: they run child models, with shared weights or standalone, through one interpreter of plans."""
