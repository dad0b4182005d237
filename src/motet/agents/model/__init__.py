"""Agents that are language models with tools: the turn loop, tools, guardrails, and the providers behind them."""
