"""A controller for nasforge that predicts scores and asks where they may be best."""
