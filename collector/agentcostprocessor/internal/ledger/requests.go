package ledger

import (
	"cmp"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// estimateTolerance: one in so many tokens may be missing, where counts are estimated from text, before a remainder is
// charged.
const estimateTolerance = 50

// fetchResponse is the operation that re-reads a stored response, and the reason why that is free.
const fetchResponse = "fetch_response"

// tokens are inclusive input and output tokens.
type tokens struct{ in, out int64 }

func (t tokens) plus(other tokens) tokens { return tokens{t.in + other.in, t.out + other.out} }

func tokensOf(u *usage.Usage) tokens {
	if u == nil {
		return tokens{}
	}
	return tokens{u.InputTokens().Whole(), u.OutputTokens().Whole()}
}

// totals are the inclusive input and output tokens of a reading.
func totals(r *usage.Reading) tokens {
	if !r.HasUsage {
		return tokens{}
	}
	return tokensOf(&r.Usage)
}

func isCall(e *Entry) bool { return e.Reading != nil && e.Reading.Kind == usage.KindCall }

// showsUsage tells whether the entry says how much was consumed, or what was billed.
func showsUsage(e *Entry) bool {
	r := e.Reading
	return r != nil && (r.Status == usage.StatusUsage && r.HasUsage || r.ReportedBy != usage.Nobody)
}

// isFee tells whether the entry is a tool call or API request that somebody charges for.
func isFee(e *Entry) bool {
	return e.Reading != nil && (e.Reading.Kind == usage.KindTool || e.Reading.Kind == usage.KindAPI) && e.Bill != nil
}

// hasPrice tells whether the entry's own bill claims a cost, be it 0.
func hasPrice(e *Entry) bool { return e.Bill != nil && e.Bill.HasTotal }

// inCompute tells whether the price book prices the entry by compute.
func inCompute(e *Entry) bool { return e.Bill != nil && e.Bill.Component == usage.Compute }

// isFetch tells whether the entry re-reads a stored response, which consumes nothing.
func isFetch(e *Entry) bool { return e.Reading != nil && e.Reading.Operation == fetchResponse }

// family is the model family of a reading: aliases, dates and gateway prefixes removed.
func family(r *usage.Reading) string {
	if r.Model != "" {
		return usage.ModelFamily(r.Model)
	}
	if r.RequestModel != "" {
		return usage.ModelFamily(r.RequestModel)
	}
	return ""
}

// compareRichness orders records of one request: the greatest decides the money.
//
// A billed figure beats detail (cache, modality, tier, parts), detail beats totals, a record of input and output beats
// one of input alone, an exact count beats an estimate, a caller's record beats the model server's. Nesting counts the
// records of the request above it. Ties go to the innermost, then the earliest, then the smallest span id.
func compareRichness(a, b *Entry, nestingA, nestingB int) int {
	x, y := a.Reading, b.Reading
	return cmp.Or(
		compareBool(showsUsage(a), showsUsage(b)),
		compareBool(isBilled(x), isBilled(y)),
		compareBool(hasBothSides(x), hasBothSides(y)),
		compareBool(!x.Estimated, !y.Estimated),
		compareBool(hasPrice(a), hasPrice(b)),
		compareBool(!x.Server || inCompute(a), !y.Server || inCompute(b)),
		cmp.Compare(detail(x), detail(y)),
		cmp.Compare(sumOf(totals(x)), sumOf(totals(y))),
		cmp.Compare(nestingA, nestingB),
		cmp.Compare(b.Start, a.Start),
		strings.Compare(b.SpanID, a.SpanID),
	)
}

func sumOf(t tokens) int64 { return t.in + t.out }

func isBilled(r *usage.Reading) bool {
	return r.ReportedBy == usage.ByProvider || r.ReportedBy == usage.ByUser
}

// detail counts what a reading tells beyond two totals.
func detail(r *usage.Reading) int {
	count := len(r.Parts) + len(r.Context)
	if !r.HasUsage {
		return count
	}
	for unit := range (r.Usage.Units() &^ usage.SetOf(usage.InputTokens, usage.OutputTokens)).All() {
		if !r.Usage.Get(unit).IsZero() {
			count++
		}
	}
	return count
}

// hasBothSides tells whether a call's input and output are known; a span that ended early may know its input only.
func hasBothSides(r *usage.Reading) bool {
	if !r.HasUsage || r.Kind != usage.KindCall {
		return true
	}
	switch r.Operation {
	case "embeddings", "rerank", "moderation", "transcription", "retrieval", "charge": // no output tokens to report
		return true
	}
	return r.Usage.Has(usage.OutputTokens) || !r.Usage.Has(usage.InputTokens)
}

// overlap tells whether two spans share a moment (touching ends do not count, instants inside do).
func overlap(a, b *Entry) bool {
	return a.Start < b.End && b.Start < a.End || a.Start == b.Start && a.End == b.End
}

// shareID tells whether two readings have an id in common.
func shareID(a, b *usage.Reading) bool {
	for _, id := range a.Identity {
		if slices.Contains(b.Identity, id) {
			return true
		}
	}
	return false
}

// differInID tells whether both readings have ids, but none in common.
func differInID(a, b *usage.Reading) bool {
	return len(a.Identity) > 0 && len(b.Identity) > 0 && !shareID(a, b)
}

// mayBeTwins tells whether two sibling calls of one family can be two instrumentations' records of one call (law 5).
func mayBeTwins(a, b *Entry) bool {
	if a.Emitter == b.Emitter || differInID(a.Reading, b.Reading) || !overlap(a, b) {
		return false
	}
	if !showsUsage(a) || !showsUsage(b) {
		return true // a record without usage says nothing against being the twin of one with usage
	}
	x, y := totals(a.Reading), totals(b.Reading)
	if !hasBothSides(a.Reading) || !hasBothSides(b.Reading) {
		x.out, y.out = 0, 0
	}
	return x == y && a.Failed == b.Failed
}

// isWeaker tells whether a record below a wrapper gives way to it.
//
// Inner records win, except one without usage below one with usage, a half one below a whole one, a guess below a count,
// a server's record below a caller's (law 7; not where the price book prices the model by compute), and one that nobody
// can price below one that has a price.
func isWeaker(inner, wrapper *Entry) bool {
	if outer := showsUsage(wrapper); showsUsage(inner) != outer {
		return outer
	}
	if outer := hasBothSides(wrapper.Reading); hasBothSides(inner.Reading) != outer {
		return outer
	}
	if guess := inner.Reading.Estimated; guess != wrapper.Reading.Estimated {
		return guess
	}
	if inner.Reading.Server && !wrapper.Reading.Server {
		return !inCompute(inner)
	}
	return hasPrice(wrapper) && !hasPrice(inner)
}

// mayBeOneFee tells whether nested records can be of one tool call or API request: one name, and no different ids.
func mayBeOneFee(a, b *usage.Reading) bool {
	return a.Kind == b.Kind && a.Tool == b.Tool && !differInID(a, b)
}

// remainder is what shown has beyond covered, per input and output, never below zero. With estimated counts on either
// side a difference within the tolerance is no remainder.
func remainder(shown, covered tokens, estimated bool) tokens {
	rest := func(shown, covered int64) int64 {
		left := max(0, shown-covered)
		if estimated && left <= shown/estimateTolerance {
			return 0
		}
		return left
	}
	return tokens{rest(shown.in, covered.in), rest(shown.out, covered.out)}
}

// union holds disjoint sets of the entries of a tree, each led by its smallest number.
type union []int32

func newUnion(size int) union {
	leader := make(union, size)
	for i := range leader {
		leader[i] = int32(i)
	}
	return leader
}

func (u union) find(i int32) int32 {
	for u[i] != i {
		u[i] = u[u[i]]
		i = u[i]
	}
	return i
}

func (u union) join(a, b int32) {
	a, b = u.find(a), u.find(b)
	u[max(a, b)] = min(a, b)
}

// sets returns the members of each set that some of the given (ascending) numbers are in, both in rising order.
func (u union) sets(of []int32) [][]int32 {
	place := make(map[int32]int, len(of))
	var sets [][]int32
	for _, i := range of {
		leader := u.find(i)
		at, known := place[leader]
		if !known {
			at = len(sets)
			place[leader] = at
			sets = append(sets, nil)
		}
		sets[at] = append(sets[at], i)
	}
	return sets
}

type kindAndID struct {
	kind usage.Kind
	id   string
}

// joinByID joins records of one kind that have an id in common.
func (u union) joinByID(t *Tree, records []int32) {
	firstWith := make(map[kindAndID]int32)
	for _, i := range records {
		reading := t.entries[i].Reading
		for _, id := range reading.Identity {
			key := kindAndID{reading.Kind, id}
			if first, known := firstWith[key]; known {
				u.join(first, i)
			} else {
				firstWith[key] = i
			}
		}
	}
}

// joinTwins joins calls that different emitters show side by side.
func (u union) joinTwins(t *Tree, calls []int32, families []string) {
	var made []int32
	for _, i := range calls {
		if !isFetch(&t.entries[i]) {
			made = append(made, i)
		}
	}
	if len(made) < 2 {
		return
	}
	siblings := func(a, b int32) int {
		return cmp.Or(strings.Compare(t.entries[a].ParentID, t.entries[b].ParentID), strings.Compare(families[a], families[b]))
	}
	emitters := func(a, b int32) int { return strings.Compare(t.entries[a].Emitter, t.entries[b].Emitter) }
	slices.SortFunc(made, func(a, b int32) int { return cmp.Or(siblings(a, b), emitters(a, b), cmp.Compare(a, b)) })
	for _, together := range runs(made, siblings) {
		if byEmitter := runs(together, emitters); len(byEmitter) > 1 {
			u.pairUp(t, byEmitter)
		}
	}
}

// runs cuts a sorted slice where its elements differ.
func runs(sorted []int32, compare func(a, b int32) int) [][]int32 {
	var cut [][]int32
	for len(sorted) > 0 {
		end := 1
		for end < len(sorted) && compare(sorted[0], sorted[end]) == 0 {
			end++
		}
		cut = append(cut, sorted[:end])
		sorted = sorted[end:]
	}
	return cut
}

// pairUp pairs calls of different emitters (given by name) one to one, the emitter with most calls first.
func (u union) pairUp(t *Tree, byEmitter [][]int32) {
	slices.SortStableFunc(byEmitter, func(a, b []int32) int { return cmp.Compare(len(b), len(a)) })
	var requests [][]int32
	byID := make(map[string]int)
	for _, calls := range byEmitter {
		slices.SortFunc(calls, func(a, b int32) int { return comparePairing(&t.entries[a], &t.entries[b]) })
		for _, call := range calls {
			at := requestWithID(byID, t.entries[call].Reading.Identity)
			if at < 0 {
				at = slices.IndexFunc(requests, func(known []int32) bool {
					return !slices.ContainsFunc(known, func(i int32) bool { return !mayBeTwins(&t.entries[i], &t.entries[call]) })
				})
			}
			if at < 0 {
				at = len(requests)
				requests = append(requests, nil)
			} else {
				u.join(requests[at][0], call)
			}
			requests[at] = append(requests[at], call)
			for _, id := range t.entries[call].Reading.Identity {
				if _, known := byID[id]; !known {
					byID[id] = at
				}
			}
		}
	}
}

func requestWithID(byID map[string]int, identity []string) int {
	for _, id := range identity {
		if at, known := byID[id]; known {
			return at
		}
	}
	return -1
}

func comparePairing(a, b *Entry) int {
	return cmp.Or(
		compareBool(len(a.Reading.Identity) == 0, len(b.Reading.Identity) == 0),
		compareBool(!showsUsage(a), !showsUsage(b)),
		cmp.Compare(a.Start, b.Start),
		cmp.Compare(a.End, b.End),
		strings.Compare(a.SpanID, b.SpanID),
	)
}
