"""Attackers in processes of their own, a peer that suffers them, and an honest one that watches.

`python -m testnet.attack.victim NAME` is attacked; `python -m testnet.attack.attacker ADDRESS`
carries out the attacks it is told on its standard input. For tests and benchmarks.
"""
