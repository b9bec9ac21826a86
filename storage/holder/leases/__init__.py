"""Who keeps what until when, and for whom: a lease is a person's claim on bytes that lie here."""
