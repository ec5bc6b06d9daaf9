package replay

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/ledger"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/semconv"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// figures are totals of a span and everything below it.
type figures struct {
	pico                          pricing.Money
	input, output, llm, tool, api int64
}

func (f *figures) add(other *figures) {
	f.pico = f.pico.Add(other.pico)
	f.input += other.input
	f.output += other.output
	f.llm += other.llm
	f.tool += other.tool
	f.api += other.api
}

// node is one span of a trace with its children in the order of time. It shows what stands on the span.
type node struct {
	record   *ledger.SpanRecord
	own      pricing.Money
	claimed  bool // own is a claim
	total    figures
	children []*node
}

// session is one trace, or several that one session span encloses in time (threads): the trees and their exact total.
type session struct {
	traceID  string
	tops     []*node
	total    figures
	currency string
	traceIDs []string
}

// root is the root span, or the first span whose parent is missing.
func (s *session) root() *node {
	at := slices.IndexFunc(s.tops, func(top *node) bool { return top.record.ParentID == "" })
	return s.tops[max(at, 0)]
}

// agrees tells whether the root's stated total is the sum of the own costs of the spans (accounting law 1).
func (s *session) agrees() bool {
	stated, isInt := intOf(s.root().record, semconv.SessionCostPico)
	return !isInt || pricing.Pico(stated) == s.total.pico
}

func intOf(record *ledger.SpanRecord, key string) (int64, bool) {
	value, there := record.Attributes.Get(key)
	if !there || value.Type() != usage.Int {
		return 0, false
	}
	text, _ := value.Plain()
	number, err := strconv.ParseInt(text, 10, 64)
	return number, err == nil
}

// sessionsOf builds the tree of every session, in the order of their first span's start.
func sessionsOf(records []ledger.SpanRecord, reader *ledger.SpanReader) []*session {
	var built []*session
	place := make(map[string]int)
	byTrace := make([][]*ledger.SpanRecord, 0)
	for i := range records {
		record := &records[i]
		at, known := place[record.TraceID]
		if !known {
			at = len(byTrace)
			place[record.TraceID] = at
			byTrace = append(byTrace, nil)
		}
		byTrace[at] = append(byTrace[at], record)
	}
	for _, of := range byTrace {
		built = append(built, sessionOf(of, reader))
	}
	slices.SortStableFunc(built, func(a, b *session) int {
		return cmp.Or(cmp.Compare(a.root().record.Start, b.root().record.Start), strings.Compare(a.traceID, b.traceID))
	})
	return joined(built)
}

// joined puts traces that began inside an explicit session of the same id below it, as the accounting does.
func joined(built []*session) []*session {
	owners := make(map[string]*session)
	for _, s := range built {
		if root := s.root().record; saysText(root, semconv.Kind, "session") {
			owners[ledger.SessionLabel(root)] = s
		}
	}
	var kept []*session
	for _, s := range built {
		root := s.root().record
		label := ledger.SessionLabel(root)
		owner := owners[label]
		if label == "" || owner == nil || owner == s || !encloses(owner.root().record, root) {
			kept = append(kept, s)
			continue
		}
		owner.tops = append(owner.tops, s.tops...)
		owner.traceIDs = append(owner.traceIDs, s.traceID)
		owner.total.add(&s.total)
	}
	return kept
}

func saysText(record *ledger.SpanRecord, key, text string) bool {
	value, there := record.Attributes.Get(key)
	return there && value == usage.TextValue(text)
}

func encloses(outer, inner *ledger.SpanRecord) bool {
	return inner.ParentID == "" && outer.Start <= inner.Start && inner.Start <= outer.End
}

func sessionOf(records []*ledger.SpanRecord, reader *ledger.SpanReader) *session {
	made := &session{traceID: records[0].TraceID, traceIDs: []string{records[0].TraceID}, currency: "USD"}
	for _, record := range records {
		if value, there := record.Attributes.Get(semconv.CostCurrency); there {
			if text, ok := value.Plain(); ok && text != "" {
				made.currency = text
				break
			}
		}
	}
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b *ledger.SpanRecord) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), strings.Compare(a.SpanID, b.SpanID))
	})
	made.tops = linked(records, reader)
	var order []*node
	for _, top := range made.tops {
		walk(top, func(n *node, _ int) { order = append(order, n) })
	}
	for _, n := range slices.Backward(order) {
		for _, child := range n.children {
			n.total.add(&child.total)
		}
	}
	for _, top := range made.tops {
		made.total.add(&top.total)
	}
	for _, n := range order {
		n.preferStated()
	}
	return made
}

// linked hangs every node under its parent and returns those without one; a circle, in damaged input, is cut open.
func linked(records []*ledger.SpanRecord, reader *ledger.SpanReader) []*node {
	byID := make(map[string]*node, len(records))
	nodes := make([]*node, len(records))
	for i, record := range records {
		nodes[i] = nodeOf(record, reader)
		byID[record.SpanID] = nodes[i]
	}
	var tops []*node
	for _, n := range nodes {
		if parent := byID[n.record.ParentID]; parent == nil || parent == n {
			tops = append(tops, n)
		} else {
			parent.children = append(parent.children, n)
		}
	}
	reached := make(map[*node]bool, len(nodes))
	reach := func(n *node, _ int) { reached[n] = true }
	for _, top := range tops {
		walk(top, reach)
	}
	for _, n := range nodes {
		if !reached[n] {
			parent := byID[n.record.ParentID]
			parent.children = slices.DeleteFunc(parent.children, func(child *node) bool { return child == n })
			tops = append(tops, n)
			walk(n, reach)
		}
	}
	return tops
}

// walk visits a node and everything below it, parents first.
func walk(top *node, visit func(n *node, depth int)) {
	type step struct {
		at    *node
		depth int
	}
	waiting := []step{{top, 0}}
	for len(waiting) > 0 {
		here := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		visit(here.at, here.depth)
		for _, child := range slices.Backward(here.at.children) {
			waiting = append(waiting, step{child, here.depth + 1})
		}
	}
}

func nodeOf(record *ledger.SpanRecord, reader *ledger.SpanReader) *node {
	n := &node{record: record}
	n.own, n.claimed = ownPico(record)
	n.total.pico = n.own
	status, hasStatus := record.Attributes.Get(semconv.CostStatus)
	if name, _ := status.Plain(); slices.Contains(uncounted, name) {
		return n
	}
	reading := reader.Reading(record)
	switch {
	case reading == nil:
	case reading.Kind == usage.KindTool:
		n.total.tool = 1 // also a tool nobody charges for was called
	case n.claimed || hasStatus:
		if reading.HasUsage {
			n.total.input = reading.Usage.InputTokens().Whole()
			n.total.output = reading.Usage.OutputTokens().Whole()
		}
		switch reading.Kind {
		case usage.KindCall:
			n.total.llm = 1
		case usage.KindAPI:
			n.total.api = 1
		}
	}
	return n
}

// uncounted are the statuses of spans that stand for no request of their own.
var uncounted = []string{"mirror", "aggregate", "remainder", "correction"}

// ownPico reads a span's own cost as the integer its double was made from.
func ownPico(record *ledger.SpanRecord) (pico pricing.Money, claimed bool) {
	value, there := record.Attributes.Get(semconv.CostAmount)
	if !there {
		return pico, false
	}
	digits, _ := value.Plain()
	switch value.Type() {
	case usage.Int:
		digits += "000000000000"
	case usage.Double:
		amount, err := strconv.ParseFloat(digits, 64)
		if err != nil || amount-amount != 0 {
			return pico, false
		}
		digits = strconv.FormatFloat(math.RoundToEven(amount*1e12), 'f', 0, 64)
	default:
		return pico, false
	}
	pico, err := pricing.ParsePico(digits)
	return pico, err == nil
}

// preferStated takes tokens and calls from the span's own rollup where it carries one: it knows what attributes do not
// show.
func (n *node) preferStated() {
	for _, prefix := range []string{"agentcost.session.", "agentcost.subtree."} {
		if _, there := n.record.Attributes.Get(prefix + "cost.pico"); !there {
			continue
		}
		for _, place := range []struct {
			to   *int64
			name string
		}{
			{&n.total.input, "tokens.input"},
			{&n.total.output, "tokens.output"},
			{&n.total.llm, "calls.llm"},
			{&n.total.tool, "calls.tool"},
			{&n.total.api, "calls.api"},
		} {
			*place.to, _ = intOf(n.record, prefix+place.name)
		}
		return
	}
}
