"""How the local API is reached: sockets, seats and HTTP/1.1."""
