"""The switch that keeps real providers off the network, as programs and tests use it. Imports no SDK."""

from motet.agents.model.providers._network import forbid_network, network_forbidden

__all__ = ["forbid_network", "network_forbidden"]
