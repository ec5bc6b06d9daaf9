package pricing

import (
	"strconv"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

const noon = 1_795_262_400_000_000_000 // 2026-11-21T12:00:00Z

func callOf(provider, model string, quantities map[usage.Unit]int64, context ...string) *usage.Reading {
	var all usage.Quantities
	for unit, n := range quantities {
		all.Put(unit, usage.Count(n))
	}
	reading := &usage.Reading{Kind: usage.KindCall, Provider: provider, Model: model, HasUsage: true, Usage: all.Usage()}
	for i := 0; i < len(context); i += 2 {
		reading.Context = reading.Context.With(context[i], context[i+1])
	}
	return reading
}

func BenchmarkPrice(b *testing.B) {
	cases := map[string]*usage.Reading{
		"two totals": callOf("openai", "gpt-4o", map[usage.Unit]int64{usage.InputTokens: 1000, usage.OutputTokens: 50}),
		"cached, with host and tier": callOf("openai", "gpt-5-2025-08-07", map[usage.Unit]int64{
			usage.InputTokens: 10000, usage.CacheReadTokens: 4000, usage.OutputTokens: 500, usage.OutputReasoningTokens: 200,
		}, "host", "api.openai.com", "service_tier", "default"),
		"tiers by length": callOf("google", "gemini-2.5-pro", map[usage.Unit]int64{
			usage.InputTokens: 210_000, usage.OutputTokens: 500,
		}),
		"unknown model": callOf("openai", "nobody-knows-7", map[usage.Unit]int64{usage.InputTokens: 1000}),
		"no fee":        {Kind: usage.KindTool, Tool: "get_weather"},
	}
	for name, reading := range cases {
		b.Run(name, func(b *testing.B) {
			book := Bundled()
			b.ReportAllocs()
			for b.Loop() {
				bill := book.Price(reading, noon)
				if bill.Status == Invalid {
					b.Fatal(bill.Reason())
				}
			}
		})
	}
}

func BenchmarkPriceInParallel(b *testing.B) {
	reading := callOf("openai", "gpt-4o", map[usage.Unit]int64{usage.InputTokens: 1000, usage.OutputTokens: 50})
	book := Bundled()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			book.Price(reading, noon)
		}
	})
}

func BenchmarkNeverSeenModel(b *testing.B) {
	book := Bundled()
	reading := callOf("openrouter", "", map[usage.Unit]int64{usage.InputTokens: 1000, usage.OutputTokens: 50})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		reading.Model = "acme/never-seen-" + strconv.Itoa(n)
		book.Price(reading, noon)
	}
}

func BenchmarkReadBook(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewBook(bundledFiles()); err != nil {
			b.Fatal(err)
		}
	}
}
