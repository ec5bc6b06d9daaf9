// Command agentcost-replay accounts for recorded OTLP traces and prints what each session cost.
package main

import (
	"os"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/replay"
)

func main() {
	os.Exit(replay.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
