"""What the end of an attempt means for its task: tried again from where, held back, or over."""
