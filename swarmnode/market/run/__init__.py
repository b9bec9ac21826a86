"""One job of another's task on this machine: its inputs, its run, its log and what it leaves."""
