module github.com/otel-agentcost/otel-agentcost/collector

go 1.25.0
