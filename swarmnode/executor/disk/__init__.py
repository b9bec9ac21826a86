"""Work folders: a file system for each job where the host can, else measured."""
