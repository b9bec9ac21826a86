"""`swarmnode task`: submit, follow, look, bring."""
