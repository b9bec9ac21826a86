"""One module a noun of the command line; `swarmnode.cli.main` loads the one that is asked for."""
