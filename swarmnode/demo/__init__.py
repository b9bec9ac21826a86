"""The nine-step demo: a swarm of real node processes that is built, hurt and watched.

`launcher` starts nodes on loopback, `stage` is what the steps need of them, `steps` observe through
the local API alone and measure what each promises, `report` tells it.
"""
