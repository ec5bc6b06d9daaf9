package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// countLifetimes turns lifetime totals into what was added since the same agent's previous figure.
func (s *settling) countLifetimes(lifetimes Lifetimes) {
	var cumulative []int32
	for i := range s.entries {
		if entry := &s.entries[i]; carriesUsage(entry) && entry.Reading.HasUsage && entry.Reading.Aggregate == usage.Cumulative {
			cumulative = append(cumulative, int32(i))
		}
	}
	if len(cumulative) == 0 {
		return
	}
	if lifetimes == nil {
		lifetimes = make(Lifetimes)
	}
	slices.SortFunc(cumulative, func(a, b int32) int {
		x, y := &s.entries[a], &s.entries[b]
		return cmp.Or(cmp.Compare(x.End, y.End), cmp.Compare(x.Start, y.Start), cmp.Compare(a, b))
	})
	for _, i := range cumulative {
		entry := &s.entries[i]
		key := Lifetime{Agent: agentOf(entry), Emitter: entry.Emitter}
		before, known := lifetimes[key]
		lifetimes[key] = entry.Reading.Usage
		if !known || startedAnew(&before, &entry.Reading.Usage) {
			continue
		}
		fresh := entry.Reading.WithUsage(increase(&before, &entry.Reading.Usage))
		entry.Reading = &fresh
		entry.Bill = s.price(&fresh, entry.Start)
	}
}

// startedAnew tells whether a lifetime total is below the previous one in any unit.
func startedAnew(before, now *usage.Usage) bool {
	for unit := range before.Units().All() {
		if now.Get(unit).Less(before.Get(unit)) {
			return true
		}
	}
	return false
}

func increase(before, now *usage.Usage) usage.Usage {
	var added usage.Quantities
	for unit := range now.Units().All() {
		added.Put(unit, now.Get(unit).Sub(before.Get(unit)))
	}
	return added.Usage()
}

// settleAggregates charges aggregates what the calls below them do not explain, after those below them (law 4).
func (s *settling) settleAggregates() {
	if !slices.ContainsFunc(s.entries, func(e Entry) bool { return e.Reading != nil && e.Reading.Kind == usage.KindAggregate }) {
		return
	}
	s.prepare()
	place := make([]int32, s.Len())
	last := make([]int32, s.Len()) // place of the last span below
	below := make([]*sums, s.Len())
	for at, i := range s.order {
		place[i] = int32(at)
	}
	for _, i := range slices.Backward(s.order) {
		entry := &s.entries[i]
		var under *sums
		last[i] = place[i]
		for _, child := range s.Children(i) {
			last[i] = max(last[i], last[child])
			under = under.merge(below[child])
			below[child] = nil
		}
		switch {
		case carriesUsage(entry):
			s.charge(i, chargeAggregate(entry, s.withElsewhere(under, place[i], last[i], place), s.price))
		case entry.Reading != nil && entry.Reading.Kind == usage.KindAggregate:
			s.charge(i, Charge{Currency: defaultCurrency})
		case isCall(entry) && len(s.members[s.request[i]]) > 1:
			if !s.isFree(s.request[i]) { // a stored response read again explains nothing
				under = under.made()
				under.shared = append(under.shared, s.request[i])
			}
		}
		if s.settled[i] {
			under = under.include(entry, &s.charges[i], s.families[i])
		}
		below[i] = under
	}
}

// withElsewhere adds to what is below an aggregate what was seen there and is charged elsewhere.
func (s *settling) withElsewhere(under *sums, first, last int32, place []int32) *sums {
	if under == nil || len(under.shared) == 0 {
		return under
	}
	slices.Sort(under.shared)
	under.shared = slices.Compact(under.shared)
	elsewhere := slices.DeleteFunc(s.chargedFor(under.shared), func(i int32) bool { return first <= place[i] && place[i] <= last })
	if len(elsewhere) == 0 {
		return under
	}
	everything := *under
	for _, i := range elsewhere {
		everything.include(&s.entries[i], &s.charges[i], s.families[i])
	}
	return &everything
}

// chargeAggregate charges an aggregate what the calls below it do not explain (law 4).
func chargeAggregate(entry *Entry, below *sums, price Pricer) Charge {
	if !below.explains() {
		return chargeInFull(entry)
	}
	reading := entry.Reading
	if (reading.Aggregate == usage.Authoritative || below.tokens == tokens{}) && hasPrice(entry) {
		charge := Charge{
			Claimed: true, Status: Aggregate, Reason: coveredByCallsBelow,
			Bill: entry.Bill, Usage: &usage.Usage{}, Currency: entry.Bill.Currency,
		}
		if left := entry.Bill.Total.Sub(below.pico); left.Sign() > 0 {
			charge.Pico, charge.Status, charge.Reason = left, Remainder, beyondVisibleCalls
		}
		return charge
	}
	left := remainder(totals(reading), below.tokens, reading.Estimated || below.estimated)
	if left == (tokens{}) {
		return Charge{Claimed: true, Status: Aggregate, Reason: coveredByCallsBelow, Currency: defaultCurrency}
	}
	if reading.Model == "" && reading.RequestModel == "" && below.families == oneFamily {
		named := *reading
		named.Model = below.family
		reading = &named
	}
	return chargeRemainder(entry, reading, left, price)
}

const (
	beyondVisibleCalls  = "beyond_visible_calls"
	coveredByCallsBelow = "covered_by_calls_below"
)

// chargeRemainder charges tokens that no visible call explains, at plain input and output rates.
func chargeRemainder(entry *Entry, reading *usage.Reading, left tokens, price Pricer) Charge {
	var quantities usage.Quantities
	quantities.Put(usage.InputTokens, usage.Count(left.in))
	quantities.Put(usage.OutputTokens, usage.Count(left.out))
	rest := reading.WithUsage(quantities.Usage())
	charge := Charge{
		Status:   Unpriced,
		Reason:   fmt.Sprintf("%s:%d+%d", beyondVisibleCalls, left.in, left.out),
		Usage:    &rest.Usage,
		Currency: defaultCurrency,
	}
	bill := price(&rest, entry.Start)
	if bill == nil {
		return charge
	}
	charge.Bill, charge.Currency = bill, bill.Currency
	if reason := bill.Reason(); reason != "" {
		charge.Reason += "," + reason
	}
	if bill.HasTotal {
		charge.Pico, charge.Claimed, charge.Status = bill.Total, true, Remainder
	}
	return charge
}

// How many model families were seen below: none, one, several.
const (
	noFamily = iota
	oneFamily
	severalFamilies
)

// sums is what is charged below a span for calls and aggregates: tokens, money, and how well they are known. Nil is
// nothing.
type sums struct {
	tokens tokens
	// pico is all money of calls and aggregates, fees inside them included; no tools, APIs or compute.
	pico      pricing.Money
	sawUsage  bool
	estimated bool
	families  uint8
	family    string
	// shared are requests with several records: one may be charged elsewhere. They may repeat.
	shared []int32
}

// explains tells whether anything below is an explanation of what an aggregate shows.
func (b *sums) explains() bool {
	return b != nil && (b.sawUsage || b.tokens != tokens{} || !b.pico.IsZero())
}

func (b *sums) made() *sums {
	if b == nil {
		return &sums{}
	}
	return b
}

// merge adds other, which is given up.
func (b *sums) merge(other *sums) *sums {
	if b == nil || other == nil {
		if b == nil {
			return other
		}
		return b
	}
	b.tokens = b.tokens.plus(other.tokens)
	b.pico = b.pico.Add(other.pico)
	b.sawUsage = b.sawUsage || other.sawUsage
	b.estimated = b.estimated || other.estimated
	if len(b.shared) < len(other.shared) {
		b.shared, other.shared = other.shared, b.shared
	}
	b.shared = append(b.shared, other.shared...)
	switch other.families {
	case oneFamily:
		b.name(other.family)
	case severalFamilies:
		b.families = severalFamilies
	}
	return b
}

func (b *sums) name(family string) {
	switch {
	case b.families == noFamily:
		b.families, b.family = oneFamily, family
	case b.family != family:
		b.families = severalFamilies
	}
}

// include adds a call (of a model family) or an aggregate with what it was charged.
func (b *sums) include(entry *Entry, charge *Charge, family string) *sums {
	reading := entry.Reading
	if reading == nil || reading.Kind != usage.KindCall && reading.Kind != usage.KindAggregate {
		return b
	}
	b = b.made()
	b.pico = b.pico.Add(charge.pico())
	b.tokens = b.tokens.plus(tokensOf(charge.Usage))
	if reading.Kind == usage.KindCall && charge.Counts() && charge.Reason != fetchResponse && showsUsage(entry) {
		b.sawUsage = true
		b.estimated = b.estimated || reading.Estimated
		b.name(family)
	}
	return b
}
