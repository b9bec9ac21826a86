"""How the local API is reached: sockets, seats and HTTP/1.1.

Each listener has a *door* with its own *seats*, so that a flood at one does not lock out another; a
newcomer takes the seat of who has been idle for longest. No wait for a client is without a bound.
Source: RFC 9112 by h11; ASGI 3 (https://asgi.readthedocs.io) between here and the app.
"""
