"""Certificates renew themselves from half of their life, while a key that may sign them is up."""
