"""A small company of agents that works offline: real SDKs, a local stand-in for their providers, a bill of its own."""
