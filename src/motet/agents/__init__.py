"""Agents: functions, commands, HTTP services, groups. They know the ports and the model, never the engine."""
