"""Data sets: where they lie, how they are read and checked, and the one module that writes files.

Nothing is downloaded and torch is not imported here: a corpus is numpy arrays of token ids, images are arrays of bytes.
The entry points are `nasforge.data.catalogue.load_corpus`, `known_data_sets` and `add_data_set`, and
`nasforge.data.images.load_images`; `nasforge.data.files` serves every other part of nasforge that has to write.
"""
