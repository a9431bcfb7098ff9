"""What a user takes home: a searched network as one file that needs no nasforge."""
