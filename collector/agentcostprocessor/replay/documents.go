package replay

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/ledger"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/semconv"
)

// documentOf describes what was replayed as `agentcost replay --json` does.
func documentOf(sessions []*session, read *traces) object {
	described := make([]any, len(sessions))
	for i, s := range sessions {
		described[i] = s.document()
	}
	problems := make([]any, len(read.problems))
	for i, p := range read.problems {
		problems[i] = object{{"file", p.file}, {"where", p.where}, {"problem", p.what}}
	}
	return object{{"sessions", described}, {"problems", problems}, {"duplicates", read.duplicates}}
}

// document describes a session: exact amounts as integers (`pico`) and decimal strings, spans in tree order.
func (s *session) document() object {
	root := s.root().record
	rollup := object{}
	for key, value := range root.Attributes.(attributes).All() {
		if name, ours := strings.CutPrefix(key, "agentcost.session."); ours {
			rollup = rollup.with(name, plain(value))
		}
	}
	traceIDs := make([]any, len(s.traceIDs))
	for i, id := range s.traceIDs {
		traceIDs[i] = id
	}
	spans := []any{}
	for _, top := range s.tops {
		walk(top, func(n *node, depth int) { spans = append(spans, n.document(depth)) })
	}
	return object{
		{"trace_id", s.traceID},
		{"root_span_id", root.SpanID},
		{"name", root.Name},
		{"trace_ids", traceIDs},
		{"session_id", orNull(ledger.SessionLabel(root))},
		{"total", s.total.pico.String()},
		{"pico", number(s.total.pico.Pico())},
		{"currency", s.currency},
		{"agrees", s.agrees()},
		{"session", rollup},
		{"spans", spans},
	}
}

func (n *node) document(depth int) object {
	var ownPico, own any
	if n.claimed {
		ownPico, own = number(n.own.Pico()), n.own.String()
	}
	return object{
		{"span_id", n.record.SpanID},
		{"parent_id", orNull(n.record.ParentID)},
		{"depth", depth},
		{"name", n.record.Name},
		{"failed", n.record.Failed},
		{"own_pico", ownPico},
		{"own", own},
		{"status", n.attribute(semconv.CostStatus)},
		{"reason", n.attribute(semconv.CostReason)},
		{"price_id", n.attribute(semconv.PriceID)},
		{"subtree_pico", number(n.total.pico.Pico())},
		{"subtree", n.total.pico.String()},
		{"tokens", object{{"input", n.total.input}, {"output", n.total.output}}},
		{"calls", object{{"llm", n.total.llm}, {"tool", n.total.tool}, {"api", n.total.api}}},
	}
}

// attribute is the value of an attribute as JSON has it; nil when it is not there.
func (n *node) attribute(key string) any {
	var found any
	for known, value := range n.record.Attributes.(attributes).All() {
		if known == key {
			found = plain(value)
		}
	}
	return found
}

func (o object) with(name string, value any) object {
	for i := range o {
		if o[i].name == name {
			o[i].value = value
			return o
		}
	}
	return append(o, member{name, value})
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// plain turns an attribute's value into what JSON knows.
func plain(value pcommon.Value) any {
	switch value.Type() {
	case pcommon.ValueTypeStr:
		return value.Str()
	case pcommon.ValueTypeInt:
		return value.Int()
	case pcommon.ValueTypeDouble:
		return value.Double()
	case pcommon.ValueTypeBool:
		return value.Bool()
	case pcommon.ValueTypeMap:
		made := object{}
		for key, inner := range value.Map().All() {
			made = made.with(key, plain(inner))
		}
		return made
	case pcommon.ValueTypeSlice:
		made := make([]any, 0, value.Slice().Len())
		for _, inner := range value.Slice().All() {
			made = append(made, plain(inner))
		}
		return made
	}
	return nil
}

// chargeDocument describes one span's charge and the attributes that were written, for comparison with other
// implementations.
func chargeDocument(account *ledger.Account) object {
	charge := &account.Charge
	var pico any
	if charge.Claimed {
		pico = number(charge.Pico.Pico())
	}
	written := make(object, len(account.Attributes))
	for i := range account.Attributes {
		one := &account.Attributes[i]
		written[i] = member{one.Key, valueDocument(one)}
	}
	return object{
		{"trace_id", account.Span.TraceID},
		{"span_id", account.Span.SpanID},
		{"pico", pico},
		{"status", charge.Status.String()},
		{"reason", charge.Reason},
		{"source", charge.Source()},
		{"currency", charge.Currency},
		{"subtree", number(account.Subtree.Total().Pico())},
		{"attributes", written},
	}
}

func valueDocument(one *ledger.Attribute) any {
	switch one.Type {
	case ledger.IntValue:
		return one.Int()
	case ledger.DoubleValue:
		return one.Double()
	case ledger.BoolValue:
		return one.Bool()
	}
	return one.Text
}
