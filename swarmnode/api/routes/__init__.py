"""Every path of the local API, by noun."""
