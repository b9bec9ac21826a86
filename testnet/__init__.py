"""Simulation, loopback launcher, containers."""
