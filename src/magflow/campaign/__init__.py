"""Campaign files: their schema, how they are read, and what is checked before a campaign runs."""
