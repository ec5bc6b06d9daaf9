package ledger

import (
	"cmp"
	"slices"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Lifetime is the agent name and emitter of an aggregate that reports lifetime totals.
type Lifetime struct{ Agent, Emitter string }

// Lifetimes are the last lifetime totals seen, to be handed to the next trace of a session.
type Lifetimes map[Lifetime]usage.Usage

// Settlement is the charges of one trace, by the numbers of its tree.
type Settlement struct {
	Tree    *Tree
	Charges []Charge
}

// Total is the money of the whole trace.
func (s *Settlement) Total() pricing.Money {
	var total pricing.Money
	for i := range s.Charges {
		total = total.Add(s.Charges[i].pico())
	}
	return total
}

// Of returns the charge of a span; false for one that is not in the trace.
func (s *Settlement) Of(spanID string) (Charge, bool) {
	i := s.Tree.find(spanID)
	if i == none {
		return Charge{}, false
	}
	return s.Charges[i], true
}

// Settle gives every span of one trace its charge; the total is the sum of the charges. It looks at the set of entries
// and nothing else, so the order of arrival cannot matter, and an entry given twice changes nothing.
//
// Lifetimes of earlier traces of the session are read and brought up to date; nil when there is no session.
func Settle(entries []Entry, price Pricer, lifetimes Lifetimes) *Settlement {
	return settleTree(NewTree(entries), price, lifetimes)
}

func settleTree(tree *Tree, price Pricer, lifetimes Lifetimes) *Settlement {
	size := tree.Len()
	s := &settling{
		Tree:    tree,
		price:   price,
		charges: make([]Charge, size),
		settled: make([]bool, size),
	}
	s.countLifetimes(lifetimes)
	s.settleCalls()
	s.settleFees()
	s.settleAggregates()
	for i := range tree.entries {
		if !s.settled[i] {
			s.charges[i] = chargeInFull(&tree.entries[i])
		}
	}
	return &Settlement{Tree: tree, Charges: s.charges}
}

// settling is the work on one trace. A request is named by the number of the record that decides for it.
type settling struct {
	*Tree
	price    Pricer
	charges  []Charge
	settled  []bool
	families []string  // of calls
	request  []int32   // of a call or fee
	members  [][]int32 // of a request
	charged  [][]int32 // requests that are charged for a request
	replaced []int32   // the better request that is charged instead of one that was charged, or none
	seen     marks
}

// marks is a set of small numbers that is emptied at once.
type marks struct {
	at  []int32
	now int32
}

func (m *marks) clear() { m.now++ }

// add tells whether the number was not in the set yet.
func (m *marks) add(i int32) bool {
	if m.at[i] == m.now {
		return false
	}
	m.at[i] = m.now
	return true
}

func (s *settling) charge(i int32, charge Charge) {
	s.charges[i], s.settled[i] = charge, true
}

// byStart orders requests by the start of their record, then the later end, then the span id.
func (s *settling) byStart(a, b int32) int {
	x, y := &s.entries[a], &s.entries[b]
	return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(y.End, x.End), cmp.Compare(a, b))
}

// prepare makes room for what is known of calls and fees.
func (s *settling) prepare() {
	if s.request != nil {
		return
	}
	size := s.Len()
	s.request = slices.Repeat([]int32{none}, size)
	s.members = make([][]int32, size)
	s.seen = marks{at: make([]int32, size)}
	s.families = make([]string, size)
}

// -- laws 2, 5, 6: one request, one record

func (s *settling) settleCalls() {
	var calls []int32
	for i := range s.entries {
		if isCall(&s.entries[i]) {
			calls = append(calls, int32(i))
		}
	}
	if len(calls) == 0 {
		return
	}
	s.prepare()
	for _, i := range calls {
		s.families[i] = family(s.entries[i].Reading)
	}
	same := newUnion(s.Len())
	same.joinByID(s.Tree, calls)
	same.joinTwins(s.Tree, calls, s.families)
	var records []int32
	for _, members := range same.sets(calls) {
		record := s.record(members)
		records = append(records, record)
		s.members[record] = members
		for _, i := range members {
			s.request[i] = record
		}
	}
	inner := s.withoutCircles(records, s.wrapped())
	s.charged = make([][]int32, s.Len())
	s.replaced = slices.Repeat([]int32{none}, s.Len())
	s.innermostFirst(records, inner, s.settleRequest)
}

// record elects the record that decides what a request costs.
func (s *settling) record(members []int32) int32 {
	if len(members) == 1 {
		return members[0]
	}
	var made []int32
	madeShow, someShow := false, false
	for _, i := range members {
		shows := showsUsage(&s.entries[i])
		someShow = someShow || shows
		if !isFetch(&s.entries[i]) {
			made = append(made, i)
			madeShow = madeShow || shows
		}
	}
	candidates := members
	if len(made) > 0 && (madeShow || !someShow) {
		candidates = made // a stored response read again is never the record of a request that has one
	}
	best, nesting := candidates[0], s.nesting(candidates[0], candidates)
	for _, i := range candidates[1:] {
		deeper := s.nesting(i, candidates)
		if compareRichness(&s.entries[i], &s.entries[best], deeper, nesting) > 0 {
			best, nesting = i, deeper
		}
	}
	return best
}

// nesting counts the records among an entry and what is above it.
func (s *settling) nesting(here int32, records []int32) int {
	count := 0
	for ; here != none; here = s.parent[here] {
		if slices.Contains(records, here) {
			count++
		}
	}
	return count
}

// isFree tells whether a request is nothing but re-readings of a stored response.
func (s *settling) isFree(record int32) bool {
	return !slices.ContainsFunc(s.members[record], func(i int32) bool { return !isFetch(&s.entries[i]) })
}

// -- law 3: wrappers

// wrapped returns the requests that each request wraps, from a walk that hands every span the calls in view below it.
func (s *settling) wrapped() [][]int32 {
	wrapped := make([][]int32, s.Len())
	view := make([][]int32, s.Len()) // taken by the parent, so that each has one owner
	for _, i := range slices.Backward(s.order) {
		entry := &s.entries[i]
		var below []int32
		for _, child := range s.Children(i) {
			if below == nil {
				below = view[child]
			} else {
				below = append(below, view[child]...)
			}
			view[child] = nil
		}
		switch {
		case isCall(entry):
			record := s.request[i]
			if len(below) > 0 {
				wrapped[record] = append(wrapped[record], s.wraps(i, below)...)
			}
			if showsUsage(entry) && !s.isFree(record) {
				below = below[:0]
			}
			view[i] = append(below, i)
		case !separates(entry):
			view[i] = below
		}
	}
	return wrapped
}

// wraps returns the requests in view below a record that are its own work.
func (s *settling) wraps(i int32, below []int32) []int32 {
	own := s.request[i]
	s.seen.clear()
	var work []int32
	shown := 0
	for _, call := range below {
		record := s.request[call]
		if record == own {
			return nil // its own request is identified below; other calls there are other attempts (law 6)
		}
		if s.seen.add(record) && !s.isFree(record) {
			work = append(work, record)
			if showsUsage(&s.entries[record]) {
				shown++
			}
		}
	}
	work = slices.DeleteFunc(work, func(record int32) bool {
		if shown > 0 {
			return !showsUsage(&s.entries[record])
		}
		return hasPrice(&s.entries[record])
	})
	return s.sameRequest(i, work)
}

// sameRequest returns which requests in view below are a record's own work (law 3): the same model family, or equal
// inclusive totals in sum (a router's name over the model it chose). Other inner calls are other work.
func (s *settling) sameRequest(i int32, work []int32) []int32 {
	own, shown := s.families[i], totals(s.entries[i].Reading)
	choose := func(keep func(record int32) bool) []int32 {
		var chosen []int32
		for _, record := range work {
			if keep(record) {
				chosen = append(chosen, record)
			}
		}
		return chosen
	}
	if own != "" {
		if matching := choose(func(record int32) bool { return s.hasFamily(record, own) }); len(matching) > 0 {
			return matching
		}
	}
	if shown != (tokens{}) {
		var sum tokens
		for _, record := range work {
			sum = sum.plus(totals(s.entries[record].Reading))
		}
		if sum == shown {
			return work
		}
		equal := choose(func(record int32) bool { return totals(s.entries[record].Reading) == shown })
		if len(equal) > 0 {
			return equal
		}
	}
	return choose(func(record int32) bool { return own == "" || !s.namesModel(record) })
}

// hasFamily tells whether some record of a request names a model family.
func (s *settling) hasFamily(record int32, name string) bool {
	return slices.ContainsFunc(s.members[record], func(i int32) bool { return s.families[i] == name })
}

func (s *settling) namesModel(record int32) bool {
	return slices.ContainsFunc(s.members[record], func(i int32) bool { return s.families[i] != "" })
}

// withoutCircles drops from what each request wraps those that already wrap it, directly or through others.
func (s *settling) withoutCircles(records []int32, wrapped [][]int32) [][]int32 {
	inner := make([][]int32, s.Len())
	outer := slices.DeleteFunc(slices.Clone(records), func(record int32) bool { return len(wrapped[record]) == 0 })
	slices.SortFunc(outer, s.byStart)
	for _, record := range outer {
		others := wrapped[record]
		slices.SortFunc(others, s.byStart)
		for _, other := range slices.Compact(others) {
			if !s.reaches(inner, other, record) {
				inner[record] = append(inner[record], other)
			}
		}
	}
	return inner
}

// reaches tells whether a request is the goal or wraps it, directly or through others.
func (s *settling) reaches(inner [][]int32, start, goal int32) bool {
	s.seen.clear()
	s.seen.add(start)
	stack := []int32{start}
	for len(stack) > 0 {
		here := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if here == goal {
			return true
		}
		for _, other := range inner[here] {
			if s.seen.add(other) {
				stack = append(stack, other)
			}
		}
	}
	return false
}

// innermostFirst visits requests in the order of their start, but each after those it wraps.
func (s *settling) innermostFirst(records []int32, inner [][]int32, visit func(record int32, inner []int32)) {
	slices.SortFunc(records, s.byStart)
	next := make([]int32, s.Len()) // how many of those it wraps were looked at
	const visited = -1
	var stack []int32
	for _, first := range records {
		stack = append(stack[:0], first)
		for len(stack) > 0 {
			record := stack[len(stack)-1]
			at := next[record]
			switch {
			case at == visited:
				stack = stack[:len(stack)-1]
			case int(at) < len(inner[record]):
				next[record]++
				stack = append(stack, inner[record][at])
			default:
				next[record] = visited
				stack = stack[:len(stack)-1]
				visit(record, inner[record])
			}
		}
	}
}

// chargedFor returns the requests that are charged for some requests, each once.
func (s *settling) chargedFor(requests []int32) []int32 {
	if len(requests) == 0 {
		return nil
	}
	s.seen.clear()
	var found []int32
	for _, record := range requests {
		for _, charged := range s.charged[record] {
			for s.replaced[charged] != none {
				charged = s.replaced[charged]
			}
			if s.seen.add(charged) {
				found = append(found, charged)
			}
		}
	}
	return found
}

// settleRequest gives a request's record its charge, after the requests it wraps have theirs; all other records are
// mirrors.
func (s *settling) settleRequest(record int32, inner []int32) {
	entry := &s.entries[record]
	s.mirror(record, entry)
	below := s.chargedFor(inner)
	s.charged[record] = below
	weaker := func(i int32) bool { return isWeaker(&s.entries[i], entry) }
	switch {
	case s.isFree(record):
		s.charge(record, Charge{
			Claimed: true, Status: Free, Reason: fetchResponse, Bill: entry.Bill, Currency: defaultCurrency,
		})
	case !slices.ContainsFunc(below, func(i int32) bool { return !weaker(i) }):
		for _, weak := range below {
			s.replaced[weak] = record
			s.mirror(weak, entry)
			s.charge(weak, mirrorOf(entry))
		}
		s.charged[record] = []int32{record}
		s.charge(record, chargeInFull(entry))
	case entry.Reading.Estimated || !showsUsage(entry):
		s.charge(record, mirrorOf(&s.entries[below[0]]))
	default:
		var covered tokens
		guess := false
		for _, i := range below {
			covered = covered.plus(tokensOf(s.charges[i].Usage))
			guess = guess || s.entries[i].Reading.Estimated
		}
		left := remainder(totals(entry.Reading), covered, guess)
		if left == (tokens{}) {
			s.charge(record, mirrorOf(&s.entries[below[0]]))
			return
		}
		s.charge(record, chargeRemainder(entry, entry.Reading, left, s.price))
		s.charged[record] = append([]int32{record}, below...)
	}
}

// mirror makes every record of a request but its own a mirror of an entry.
func (s *settling) mirror(record int32, of *Entry) {
	for _, i := range s.members[record] {
		if i != record {
			s.charge(i, mirrorOf(of))
		}
	}
}
