"""What everybody should know: signed items spread and reconciled."""
