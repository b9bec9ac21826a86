"""What the local API says, as typed structs."""
