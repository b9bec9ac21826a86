"""Connections of a node as far as no library is needed: addresses, dials, lanes, outboxes.

A *peer* has one connection in use and perhaps a second for bulk; frames wait in its *outbox*, and
leave by *lanes*, one stream a class and direction. Nothing here imports libp2p.
"""
