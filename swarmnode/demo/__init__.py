"""The nine-step demo."""
