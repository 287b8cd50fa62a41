"""Unbounce, simulated on loopback."""

from syncline_unbounce.simulator.server import Switches, UnbounceSimulator

__all__ = ["Switches", "UnbounceSimulator"]
