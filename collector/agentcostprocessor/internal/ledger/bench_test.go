package ledger

import (
	"fmt"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// session is a session of an agent as it is recorded: an agent around turns of plain work with one call each, every
// fourth call told by a framework, too, and a tool.
func session(turns int) []Entry {
	call := func(id, parent, scope, response string, start int64) Entry {
		var quantities usage.Quantities
		quantities.Put(usage.InputTokens, usage.Count(1000))
		quantities.Put(usage.OutputTokens, usage.Count(100))
		reading := &usage.Reading{
			Kind: usage.KindCall, HasUsage: true, Usage: quantities.Usage(), Model: "gpt-4o", Operation: "chat",
			Identity: []string{response},
		}
		return Entry{
			SpanID: id, ParentID: parent, Start: start, End: start + 5, Emitter: scope,
			Reading: reading, Bill: toyPrice(reading, 0),
		}
	}
	var total usage.Quantities
	total.Put(usage.InputTokens, usage.Count(int64(1000*turns)))
	total.Put(usage.OutputTokens, usage.Count(int64(100*turns)))
	agent := &usage.Reading{Kind: usage.KindAggregate, HasUsage: true, Usage: total.Usage(), Model: "gpt-4o", Agent: "planner"}
	entries := []Entry{
		{SpanID: "0000000000000000", End: int64(20 * turns)},
		{SpanID: "0000000000000001", ParentID: "0000000000000000", End: int64(20 * turns), Reading: agent, Bill: toyPrice(agent, 0)},
	}
	for turn := range turns {
		start := int64(20 * turn)
		id := func(n int) string { return fmt.Sprintf("%016x", 16*(turn+1)+n) }
		response := fmt.Sprintf("resp_%d", turn)
		entries = append(entries, Entry{SpanID: id(0), ParentID: "0000000000000001", Start: start, End: start + 15})
		above := id(0)
		if turn%4 == 0 {
			entries = append(entries, call(id(1), above, "framework", response, start))
			above = id(1)
		}
		tool := &usage.Reading{Kind: usage.KindTool, Tool: "search", Operation: "execute_tool"}
		entries = append(entries,
			call(id(2), above, "sdk", response, start+1),
			Entry{SpanID: id(3), ParentID: id(0), Start: start + 8, End: start + 9, Reading: tool},
		)
	}
	return entries
}

// The cost of settling a span must not depend on how many others its trace has.
func BenchmarkSettle(b *testing.B) {
	for _, turns := range []int{3, 30, 300, 30_000} {
		entries := session(turns)
		b.Run(fmt.Sprintf("%d-spans", len(entries)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if Settle(entries, toyPrice, nil).Total().IsZero() {
					b.Fatal("nothing was charged")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/span")
		})
	}
}

// Everything from attributes to attributes: read, price, settle, roll up, annotate.
func BenchmarkAccountFor(b *testing.B) {
	var spans []SpanRecord
	for _, entry := range session(30) {
		attributes := attributesOf(entry.Reading)
		spans = append(spans, SpanRecord{
			TraceID: vectorTrace, SpanID: entry.SpanID, ParentID: entry.ParentID, Name: "chat", Kind: usage.SpanClient,
			Scope: entry.Emitter, Start: entry.Start, End: entry.End, Attributes: attributes,
			AttributeCount: len(attributes), Resource: usage.Map{},
		})
	}
	book := pricing.Bundled()
	b.ReportAllocs()
	for b.Loop() {
		AccountFor(spans, book, Missing, Writing{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(spans)), "ns/span")
}
