package ledger

import (
	"fmt"
	"math/rand/v2"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// shapeSize is how many bytes make one span of a random trace.
const shapeSize = 6

// entriesOf turns any bytes into the entries of a trace: nested and sibling calls, wrappers, aggregates, tools, fetches,
// lost parents, circles.
func entriesOf(data []byte) []Entry {
	var entries []Entry
	for i := 0; i+shapeSize <= len(data) && len(entries) < 64; i += shapeSize {
		entries = append(entries, entryOf(data[i:i+shapeSize], len(entries)))
	}
	return entries
}

func entryOf(shape []byte, number int) Entry {
	windows := [...][2]int64{{0, 10}, {2, 4}, {5, 9}, {0, 100}, {5, 5}, {9, 2}}
	window := windows[int(shape[0])%len(windows)]
	entry := Entry{
		SpanID:  fmt.Sprintf("s%02d", number),
		Start:   window[0],
		End:     window[1],
		Emitter: [...]string{"scope-a", "scope-b", "scope-c"}[int(shape[1]>>4)%3],
		Failed:  shape[0] > 240,
	}
	switch parent := int(shape[2]) % 80; {
	case parent < 64:
		entry.ParentID = fmt.Sprintf("s%02d", parent) // perhaps never exported, perhaps in a circle
	case parent < 70:
		entry.ParentID = "lost"
	}
	entry.Reading = readingOf(shape[1]&15, shape[3], shape[4], shape[5])
	if entry.Reading != nil && (shape[1]&15 != silentCall) {
		entry.Bill = toyPrice(entry.Reading, 0)
	}
	if entry.Reading != nil {
		entry.Agent = entry.Reading.Agent
	}
	return entry
}

const silentCall = 7

func readingOf(kind, model, counts, identity byte) *usage.Reading {
	models := [...]string{"gpt-4o", "gpt-4o-2024-08-06", "claude-sonnet-4-5", "router/auto", ""}
	reading := &usage.Reading{Operation: "chat", HasUsage: true, Model: models[int(model)%len(models)], Estimated: model > 240}
	pairs := [...]tokens{{10, 2}, {10, 2}, {20, 4}, {7, 0}, {100, 50}}
	pair := pairs[int(counts)%len(pairs)]
	var quantities usage.Quantities
	quantities.Put(usage.InputTokens, usage.Count(pair.in))
	if counts < 250 {
		quantities.Put(usage.OutputTokens, usage.Count(pair.out))
	}
	if counts&16 != 0 {
		quantities.Put(usage.CacheReadTokens, usage.Count(pair.in/2))
	}
	reading.Usage = quantities.Usage()
	if identity&3 == 0 {
		reading.Identity = []string{fmt.Sprintf("r%d", identity>>6)}
	}
	switch kind {
	case 0, 1, 2, 3, 4:
		reading.Kind = usage.KindCall
		reading.Server = identity&4 != 0 && counts&8 != 0
	case 5:
		reading.Kind, reading.Operation = usage.KindCall, fetchResponse
	case 6, silentCall:
		reading.Kind, reading.Status = usage.KindCall, usage.StatusNoUsage
		reading.HasUsage, reading.Usage = false, usage.Usage{}
	case 8, 9:
		reading.Kind, reading.Identity = usage.KindAggregate, nil
		reading.Aggregate = usage.AggregateMode(identity >> 2 % 3)
		reading.Agent = [...]string{"", "planner"}[identity&1]
	case 10:
		reading.Kind, reading.HasUsage, reading.Usage = usage.KindAggregate, false, usage.Usage{}
		reading.Status = usage.StatusNoUsage
	case 11:
		reading.Kind, reading.Tool, reading.Model = usage.KindTool, "search", ""
		reading.Usage = usage.Of(usage.ToolCalls, usage.Count(1))
	case 12:
		reading.Kind, reading.Usage = usage.KindCompute, usage.Of(usage.GPUSeconds, usage.Count(2))
	default:
		return nil
	}
	return reading
}

// toyPrice is 3 pico an input token, 5 an output token, 7 anything else: round numbers a reader can add up.
func toyPrice(reading *usage.Reading, _ int64) *pricing.Bill {
	if !reading.HasUsage {
		return &pricing.Bill{Status: pricing.Unpriced, Reasons: []string{"no_usage"}, Currency: "USD"}
	}
	bill := &pricing.Bill{Status: pricing.Priced, HasTotal: true, Source: pricing.FromBook, PriceID: "toy", Currency: "USD"}
	for unit := range reading.Usage.Units().All() {
		each := int64(7)
		switch unit {
		case usage.InputTokens:
			each = 3
		case usage.OutputTokens:
			each = 5
		case usage.CacheReadTokens:
			each = 0
		}
		quantity := reading.Usage.Get(unit)
		item := pricing.LineItem{Unit: unit, Quantity: quantity, Pico: pricing.Pico(each * quantity.Whole())}
		bill.Items = append(bill.Items, item)
		bill.Total = bill.Total.Add(item.Pico)
	}
	return bill
}

// shuffled returns the entries in another order, some of them twice.
func shuffled(entries []Entry, random *rand.Rand) []Entry {
	mixed := append([]Entry(nil), entries...)
	for range random.IntN(len(entries) + 1) {
		mixed = append(mixed, entries[random.IntN(len(entries))])
	}
	random.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	return mixed
}

// recordsOf turns any bytes into the spans of a few traces, as GenAI instrumentations write them.
func recordsOf(data []byte) []SpanRecord {
	var spans []SpanRecord
	for i := 0; i+shapeSize <= len(data) && len(spans) < 48; i += shapeSize {
		shape := data[i : i+shapeSize]
		entry := entryOf(shape, len(spans))
		span := SpanRecord{
			TraceID: fmt.Sprintf("%032d", 1+shape[0]&1), SpanID: entry.SpanID, ParentID: entry.ParentID, Name: "work",
			Kind: usage.SpanClient, Scope: entry.Emitter, Start: entry.Start, End: entry.End, Failed: entry.Failed,
			Resource: usage.Map{},
		}
		attributes := attributesOf(entry.Reading)
		if shape[0]&2 != 0 {
			attributes["session.id"] = usage.TextValue("session")
		}
		if shape[0]&28 == 28 {
			attributes["agentcost.kind"] = usage.TextValue("session")
		}
		span.Attributes, span.AttributeCount = attributes, len(attributes)
		spans = append(spans, span)
	}
	return spans
}

func attributesOf(reading *usage.Reading) usage.Map {
	attributes := usage.Map{}
	if reading == nil {
		return attributes
	}
	operation := reading.Operation
	switch reading.Kind {
	case usage.KindAggregate:
		operation = "invoke_agent"
	case usage.KindTool:
		operation = "execute_tool"
	}
	attributes["gen_ai.operation.name"] = usage.TextValue(operation)
	attributes["gen_ai.request.model"] = usage.TextValue(reading.Model)
	if len(reading.Identity) > 0 {
		attributes["gen_ai.response.id"] = usage.TextValue(reading.Identity[0])
	}
	if reading.Kind == usage.KindCall || reading.Kind == usage.KindAggregate {
		for unit := range reading.Usage.Units().All() {
			attributes["gen_ai.usage."+unit.String()] = usage.IntValue(reading.Usage.Get(unit).Whole())
		}
	}
	return attributes
}
