"""Plugin loading, wiring, locks: what turns a connectors.yaml into runs."""
