"""Who is who: keys on disk, signed records, admission of peers."""
