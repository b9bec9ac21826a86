"""Task specs, their lifecycle and their ledger."""
