"""This machine's room: offers, awards, jobs and their leases. `swarmnode.market.run` runs them."""
