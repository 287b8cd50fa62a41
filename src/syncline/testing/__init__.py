"""For the authors of connectors: the simulator base, the shared population, and the contract kit."""
