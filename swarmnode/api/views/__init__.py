"""From what the node knows to what the API says: plain renaming, nothing is decided here."""
