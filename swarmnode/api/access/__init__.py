"""Who asks the local API: users of this machine and tokens, and what each may see."""
