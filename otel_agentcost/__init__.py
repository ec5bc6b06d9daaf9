"""OpenTelemetry-native cost telemetry for AI agents."""
