"""The link against its rivals: `python -m bench link`."""
