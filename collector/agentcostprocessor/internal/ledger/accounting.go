package ledger

import (
	"cmp"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/semconv"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Account is what came out for one span.
type Account struct {
	Span   *SpanRecord
	Entry  *Entry
	Charge Charge
	// Subtree is the totals of the span and everything below it.
	Subtree Rollup
	// Attributes are the agentcost.* attributes to write on the span; empty for none.
	Attributes Attributes
}

// Session is one trace with its root and exact totals.
type Session struct {
	TraceID string
	// Root is the exported root; nil when it never came, and then the session is not complete.
	Root     *Account
	Rollup   Rollup
	Complete bool
	// SessionID is the conversation the trace belongs to, as its outermost labelled span says.
	SessionID string
	// ToDate is the money of the conversation up to and including this trace.
	ToDate pricing.Money
}

// Accounts is what came out for a set of spans.
type Accounts struct {
	// Spans are the accounts trace by trace in the order of their start, in a trace by span id.
	Spans    []*Account
	Sessions []Session
	place    map[spanKey]int
}

type spanKey struct{ trace, span string }

// Of returns the account of a span; nil when it is not among them.
func (a *Accounts) Of(traceID, spanID string) *Account {
	at, known := a.place[spanKey{traceID, spanID}]
	if !known {
		return nil
	}
	return a.Spans[at]
}

// Total is all money.
func (a *Accounts) Total() pricing.Money {
	var total pricing.Money
	for _, account := range a.Spans {
		total = total.Add(account.Charge.pico())
	}
	return total
}

// AccountFor settles every trace in the given spans and rolls it up. All spans are known, so every charge is the settled
// one and no correction is needed. Of several exports of one span the one with more attributes counts, then the first.
func AccountFor(spans []SpanRecord, book Book, reprice Reprice, writing Writing) *Accounts {
	a := &Accounts{place: make(map[spanKey]int)}
	reader := NewSpanReader(book, reprice)
	lifetimes := make(map[string]Lifetimes)
	for _, members := range tracesOf(spans) {
		sessionID := sessionOf(members)
		known := make(Lifetimes)
		if before, ok := lifetimes[sessionID]; ok && sessionID != "" {
			known = before
		}
		a.accountTrace(members, reader, sessionID, known, writing)
		if sessionID != "" {
			lifetimes[sessionID] = known
		}
	}
	a.writeSessions()
	return a
}

// tracesOf sorts spans into traces, each span once, the traces in the order of their start.
func tracesOf(spans []SpanRecord) [][]*SpanRecord {
	var traces [][]*SpanRecord
	traceAt := make(map[string]int)
	spanAt := make(map[spanKey]int, len(spans))
	for i := range spans {
		span := &spans[i]
		at, known := traceAt[span.TraceID]
		if !known {
			at = len(traces)
			traceAt[span.TraceID] = at
			traces = append(traces, nil)
		}
		key := spanKey{span.TraceID, span.SpanID}
		if place, twice := spanAt[key]; twice {
			if span.AttributeCount > traces[at][place].AttributeCount {
				traces[at][place] = span
			}
			continue
		}
		spanAt[key] = len(traces[at])
		traces[at] = append(traces[at], span)
	}
	start := func(members []*SpanRecord) int64 {
		return slices.MinFunc(members, func(a, b *SpanRecord) int { return cmp.Compare(a.Start, b.Start) }).Start
	}
	slices.SortFunc(traces, func(a, b []*SpanRecord) int {
		return cmp.Or(cmp.Compare(start(a), start(b)), strings.Compare(a[0].TraceID, b[0].TraceID))
	})
	return traces
}

// sessionOf is the conversation a trace belongs to, as its outermost labelled span says.
func sessionOf(members []*SpanRecord) string {
	outermost := slices.Clone(members)
	slices.SortFunc(outermost, func(a, b *SpanRecord) int {
		return cmp.Or(
			compareBool(a.ParentID != "", b.ParentID != ""),
			cmp.Compare(a.Start, b.Start),
			strings.Compare(a.SpanID, b.SpanID),
		)
	})
	var own, resource usage.Evidence
	for _, span := range outermost {
		own.Collect(usage.InLabels, span.Attributes)
		resource.Collect(usage.InLabels, span.Resource)
		if found := sessionLabel(&own, &resource); found != "" {
			return found
		}
	}
	return ""
}

// SessionLabel is the conversation a span says it belongs to, "" when it says nothing.
func SessionLabel(span *SpanRecord) string {
	return sessionLabel(usage.Gather(usage.InLabels, span.Attributes), usage.Gather(usage.InLabels, span.Resource))
}

func sessionLabel(own, resource *usage.Evidence) string {
	var labels usage.Labels
	usage.ReadLabels(own, resource, &labels)
	return firstOf(labels.Get(usage.LabelSessionID), labels.Get(usage.LabelGenAIConversationID))
}

func (a *Accounts) accountTrace(
	members []*SpanRecord, reader *SpanReader, sessionID string, lifetimes Lifetimes, writing Writing,
) {
	entries := make([]Entry, len(members))
	for i, span := range members {
		entries[i] = reader.Entry(span)
	}
	settlement := Settle(entries, reader.price, lifetimes)
	tree := settlement.Tree
	slices.SortFunc(members, func(x, y *SpanRecord) int { return strings.Compare(x.SpanID, y.SpanID) })
	made := make([]*Account, tree.Len())
	for _, i := range slices.Backward(tree.order) {
		account := &Account{Span: members[i], Entry: &tree.entries[i], Charge: settlement.Charges[i]}
		made[i] = account
		account.Subtree.Include(account.Entry, &account.Charge)
		for _, child := range tree.Children(i) {
			account.Subtree.Merge(&made[child].Subtree)
		}
		account.Attributes = writing.AppendCharge(nil, &account.Charge, isCall(account.Entry))
		if account.Span.ParentID != "" && isInner(account) && !account.Subtree.IsEmpty() {
			account.Attributes = AppendSubtree(account.Attributes, &account.Subtree, true)
		}
	}
	session := Session{TraceID: members[0].TraceID, SessionID: sessionID}
	for _, root := range tree.roots {
		session.Rollup.Merge(&made[root].Subtree)
	}
	session.Root = firstRoot(tree, made)
	orphans := slices.ContainsFunc(members, func(span *SpanRecord) bool {
		return span.ParentID != "" && tree.find(span.ParentID) == none
	})
	session.Complete = session.Root != nil && !orphans
	a.Sessions = append(a.Sessions, session)
	for i, account := range made {
		a.place[spanKey{session.TraceID, members[i].SpanID}] = len(a.Spans)
		a.Spans = append(a.Spans, account)
	}
}

// firstRoot is the exported root that started first; nil when there is none.
func firstRoot(tree *Tree, made []*Account) *Account {
	var first *Account
	for _, root := range tree.roots {
		account := made[root]
		if account.Span.ParentID != "" {
			continue
		}
		if first == nil || cmp.Or(
			cmp.Compare(account.Span.Start, first.Span.Start),
			strings.Compare(account.Span.SpanID, first.Span.SpanID),
		) < 0 {
			first = account
		}
	}
	return first
}

// isInner tells whether a span is an agent, workflow or step, so that its subtree is of interest.
func isInner(account *Account) bool {
	if reading := account.Entry.Reading; reading != nil && reading.Kind == usage.KindAggregate {
		return true
	}
	return saysKind(account.Span, "session") || saysKind(account.Span, "step")
}

func saysKind(span *SpanRecord, kind string) bool {
	value, there := span.Attributes.Get(semconv.Kind)
	return there && value == usage.TextValue(kind)
}

// writeSessions writes session totals on roots; traces of threads that belong to an explicit session count there.
func (a *Accounts) writeSessions() {
	explicit := make(map[string]*Session)
	for i := range a.Sessions {
		session := &a.Sessions[i]
		if session.Root != nil && session.SessionID != "" && saysKind(session.Root.Span, "session") {
			explicit[session.SessionID] = session
		}
	}
	toDate := make(map[string]pricing.Money)
	part := make([]bool, len(a.Sessions))
	for i := range a.Sessions {
		session := &a.Sessions[i]
		if session.SessionID == "" {
			continue
		}
		toDate[session.SessionID] = toDate[session.SessionID].Add(session.Rollup.Total())
		session.ToDate = toDate[session.SessionID]
		owner := explicit[session.SessionID]
		if owner == nil || owner.TraceID == session.TraceID || !within(session, owner) {
			continue
		}
		part[i] = true
		owner.Rollup.Merge(&session.Rollup)
		session.Root.Attributes = AppendSubtree(session.Root.Attributes, &session.Rollup, session.Complete)
	}
	finished := a.Sessions[:0]
	for i := range a.Sessions {
		session := &a.Sessions[i]
		if part[i] {
			continue
		}
		if root := session.Root; root != nil {
			root.Attributes = AppendSession(root.Attributes, &session.Rollup, session.Complete)
			if session.SessionID != "" && session.ToDate.Cmp(session.Rollup.Total()) > 0 {
				root.Attributes.money(semconv.ConversationCostTotal, session.ToDate)
			}
		}
		finished = append(finished, *session)
	}
	a.Sessions = finished
}

func within(session, owner *Session) bool {
	if session.Root == nil || owner.Root == nil {
		return false
	}
	start := session.Root.Span.Start
	return owner.Root.Span.Start <= start && start <= owner.Root.Span.End
}
