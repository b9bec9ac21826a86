"""The command line; imports click alone."""
