"""Finds peers and moves typed messages between them by urgency and distance."""
