package replay

import (
	"fmt"
	"math"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/ledger"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/semconv"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// traces are all spans of some files, in input order, with what could not be read.
type traces struct {
	payloads []ptrace.Traces
	records  []ledger.SpanRecord
	sources  []ptrace.Span // of each record, in its payload
	problems []problem
	// duplicates are spans that came a second time (a retried export) and are written once.
	duplicates int
	places     map[spanKey]int
}

type spanKey struct {
	trace pcommon.TraceID
	span  pcommon.SpanID
}

func newTraces() *traces { return &traces{places: make(map[spanKey]int)} }

func (t *traces) report(file, where, what string) {
	t.problems = append(t.problems, problem{file: file, where: where, what: what})
}

// add takes one payload; a span that cannot be read is reported and written unchanged.
func (t *traces) add(payload ptrace.Traces, file, where string) {
	t.payloads = append(t.payloads, payload)
	for _, resourceSpans := range payload.ResourceSpans().All() {
		resource := attributes{resourceSpans.Resource().Attributes()}
		for _, scopeSpans := range resourceSpans.ScopeSpans().All() {
			scope := scopeSpans.Scope().Name()
			number := 0
			scopeSpans.Spans().RemoveIf(func(span ptrace.Span) (duplicate bool) {
				number++
				if what := wrongWith(span); what != "" {
					t.report(file, fmt.Sprintf("%s, span %d", where, number), what)
					return false
				}
				return !t.keep(span, scope, resource)
			})
		}
	}
}

func wrongWith(span ptrace.Span) string {
	switch {
	case span.TraceID().IsEmpty():
		return "traceId is missing"
	case span.SpanID().IsEmpty():
		return "spanId is missing"
	}
	return ""
}

// keep takes one span; false for one that came before, whose richer export stands, as in the accounting.
func (t *traces) keep(span ptrace.Span, scope string, resource attributes) bool {
	key := spanKey{span.TraceID(), span.SpanID()}
	record := recordOf(span, scope, resource)
	place, twice := t.places[key]
	if !twice {
		t.places[key] = len(t.records)
		t.records = append(t.records, record)
		t.sources = append(t.sources, span)
		return true
	}
	t.duplicates++
	if record.AttributeCount > t.records[place].AttributeCount {
		span.CopyTo(t.sources[place])
		record.Attributes = attributes{t.sources[place].Attributes()}
		t.records[place] = record
	}
	return false
}

func recordOf(span ptrace.Span, scope string, resource attributes) ledger.SpanRecord {
	own := attributes{span.Attributes()}
	record := ledger.SpanRecord{
		TraceID:        span.TraceID().String(),
		SpanID:         span.SpanID().String(),
		ParentID:       span.ParentSpanID().String(), // empty for no parent
		Name:           span.Name(),
		Kind:           usage.SpanInternal,
		Scope:          scope,
		Start:          nanoseconds(span.StartTimestamp()),
		End:            nanoseconds(span.EndTimestamp()),
		Attributes:     own,
		AttributeCount: own.count(),
		Resource:       resource,
		Failed:         span.Status().Code() == ptrace.StatusCodeError,
	}
	switch span.Kind() {
	case ptrace.SpanKindServer:
		record.Kind = usage.SpanServer
	case ptrace.SpanKindClient:
		record.Kind = usage.SpanClient
	case ptrace.SpanKindProducer:
		record.Kind = usage.SpanProducer
	case ptrace.SpanKindConsumer:
		record.Kind = usage.SpanConsumer
	}
	return record
}

func nanoseconds(at pcommon.Timestamp) int64 { return int64(min(at, math.MaxInt64)) }

// attributes are those of a span or a resource; of a repeated key, the last counts.
type attributes struct{ pcommon.Map }

func (a attributes) Get(key string) (usage.Value, bool) {
	var value usage.Value
	found := false
	for known, v := range a.All() {
		if known == key {
			value, found = valueOf(v), true
		}
	}
	return value, found
}

func (a attributes) Range(yield func(key string, value usage.Value) bool) {
	for key, v := range a.All() {
		if !yield(key, valueOf(v)) {
			return
		}
	}
}

// count is how many different keys there are.
func (a attributes) count() int {
	seen := make(map[string]struct{}, a.Len())
	for key := range a.All() {
		seen[key] = struct{}{}
	}
	return len(seen)
}

func valueOf(v pcommon.Value) usage.Value {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return usage.TextValue(v.Str())
	case pcommon.ValueTypeInt:
		return usage.IntValue(v.Int())
	case pcommon.ValueTypeDouble:
		return usage.DoubleValue(v.Double())
	case pcommon.ValueTypeBool:
		return usage.BoolValue(v.Bool())
	case pcommon.ValueTypeMap:
		return usage.MapValue(structure{v.Map()})
	case pcommon.ValueTypeSlice:
		return usage.ListValue(sequence{v.Slice()})
	case pcommon.ValueTypeBytes:
		return usage.MapValue(nil) // there, and neither text nor number
	}
	return usage.NullValue()
}

type structure struct{ of pcommon.Map }

func (s structure) Field(name string) (usage.Value, bool) { return attributes{s.of}.Get(name) }

func (s structure) First() (usage.Value, bool) { return usage.Value{}, false }

type sequence struct{ of pcommon.Slice }

func (s sequence) Field(string) (usage.Value, bool) { return usage.Value{}, false }

func (s sequence) First() (usage.Value, bool) {
	if s.of.Len() == 0 {
		return usage.Value{}, false
	}
	return valueOf(s.of.At(0)), true
}

// enrich writes attributes on their spans, in place of the figures of an earlier accounting. With `anew` nothing of the
// earlier one stays, also on spans that get no figures now.
func (t *traces) enrich(accounts *ledger.Accounts, anew bool) {
	for i, span := range t.sources {
		record := &t.records[i]
		written := accounts.Of(record.TraceID, record.SpanID).Attributes
		if len(written) == 0 && !anew {
			continue
		}
		own := span.Attributes()
		unchanged := isUnchanged(record.Attributes, written)
		own.RemoveIf(func(key string, _ pcommon.Value) bool {
			return written.Get(key) != nil || isStale(key, unchanged)
		})
		for j := range written {
			put(own, &written[j])
		}
	}
}

// isUnchanged tells whether the own cost to write is the one that stands on the span.
func isUnchanged(own usage.Attributes, written ledger.Attributes) bool {
	stands, there := own.Get(semconv.CostAmount)
	amount := written.Get(semconv.CostAmount)
	switch {
	case amount == nil || !there:
		return amount == nil && !there
	case stands.Type() == usage.Int:
		text, _ := stands.Plain()
		return text == fmt.Sprintf("%.0f", amount.Double()) && amount.Double() == math.Trunc(amount.Double())
	}
	return stands == usage.DoubleValue(amount.Double())
}

// isStale tells whether an attribute of an earlier accounting goes when a new one is written. Totals always do. The
// breakdown and the source of an own cost stay true as long as its amount does.
func isStale(key string, unchanged bool) bool {
	switch {
	case strings.HasPrefix(key, "agentcost.session."), strings.HasPrefix(key, "agentcost.subtree."),
		strings.HasPrefix(key, "agentcost.conversation."):
		return true
	case key == semconv.CostStatus, key == semconv.CostReason:
		return true
	}
	return !unchanged && (strings.HasPrefix(key, "agentcost.cost.") || strings.HasPrefix(key, "agentcost.price."))
}

func put(own pcommon.Map, one *ledger.Attribute) {
	switch one.Type {
	case ledger.TextValue:
		own.PutStr(one.Key, one.Text)
	case ledger.IntValue:
		own.PutInt(one.Key, one.Int())
	case ledger.DoubleValue:
		own.PutDouble(one.Key, one.Double())
	case ledger.BoolValue:
		own.PutBool(one.Key, one.Bool())
	}
}
