"""More activations for the recurrent cells of nasforge."""
