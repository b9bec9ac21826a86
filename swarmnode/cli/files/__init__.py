"""Files and folders of this machine that a command reads or writes."""
