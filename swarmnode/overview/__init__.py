"""What a node tells people of itself and its network: status, notices, who is who."""
