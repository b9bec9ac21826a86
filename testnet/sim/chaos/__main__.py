"""`python -m testnet.sim.chaos`."""

import sys

from testnet.sim.chaos.run import main

sys.exit(main(sys.argv[1:]))
