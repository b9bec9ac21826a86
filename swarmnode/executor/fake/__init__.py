"""An executor in memory on virtual time, for simulations."""
