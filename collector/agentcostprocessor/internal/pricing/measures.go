package pricing

import (
	"slices"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// stepKind is one way in which what is billed is not what was counted.
type stepKind uint8

const (
	atLeast  stepKind = iota // a minimum, where anything was counted at all
	once                     // one fee per prompt, whatever the number of queries
	block                    // a fixed block of tokens for each of another unit
	eachCall                 // exactly one
)

// step makes the billed quantity of one slot.
type step struct {
	kind     stepKind
	target   uint8
	origin   int8 // the slot it looks at; -1 when that was not reported
	quantity usage.Quantity
	prompts  bool // of once: the target is the prompts, not the queries
}

func (s *step) apply(values []usage.Quantity) {
	target := &values[s.target]
	var other usage.Quantity
	if s.origin >= 0 {
		other = values[s.origin]
	}
	switch s.kind {
	case atLeast:
		if !target.IsZero() && target.Less(s.quantity) {
			*target = s.quantity
		}
	case once:
		prompts, queries := other, *target
		if s.prompts {
			prompts, queries = queries, prompts
		}
		*target = prompts
		if prompts.IsZero() {
			*target = usage.Min(queries, usage.Count(1))
		}
	case block:
		*target = times(other, s.quantity.Whole())
	case eachCall:
		*target = usage.Count(1)
	}
}

// times multiplies a quantity with a small whole number; a product that nobody believes stops above MaxQuantity.
func times(quantity usage.Quantity, factor int64) usage.Quantity {
	if factor <= 0 {
		return usage.Quantity{}
	}
	if quantity.Whole() >= usage.MaxQuantity/factor+1 || factor > usage.MaxQuantity/1_000_000_000 {
		return usage.Count(usage.MaxQuantity + 1)
	}
	return usage.Nanos(quantity.Whole()*factor, int64(quantity.Fraction())*factor)
}

// measure fills slots and steps: how reported quantities become billed ones. It returns the billed units.
func (p *plan) measure(t *tariff, reported usage.UnitSet) usage.UnitSet {
	type named struct {
		step
		unit, looksAt usage.Unit
	}
	var steps []named
	billed := reported
	for _, rule := range t.measures {
		if rule.Unless != nil && rule.Unless.holds(t.context) {
			continue
		}
		switch {
		case rule.AtLeast != nil:
			for key, least := range rule.AtLeast {
				if unit, _ := usage.UnitOf(key); reported.Has(unit) {
					steps = append(steps, named{step{kind: atLeast, quantity: usage.Count(least)}, unit, usage.NoUnit})
				}
			}
		case rule.Once != "":
			queries, _ := usage.UnitOf(rule.Once)
			prompts, _ := usage.UnitOf(rule.Prompts)
			if pair := usage.SetOf(queries, prompts); reported&pair != 0 {
				// One of the two is billed, the prompts where they have a price of their own.
				_, byPrompt := t.rates[prompts]
				paid, other := queries, prompts
				if byPrompt {
					paid, other = prompts, queries
				}
				steps = append(steps, named{step{kind: once, prompts: byPrompt}, paid, other})
				billed = billed&^pair | usage.SetOf(paid)
			}
		case rule.Block != "":
			unit, _ := usage.UnitOf(rule.Block)
			per, _ := usage.UnitOf(rule.Per)
			if _, priced := t.rates[unit]; priced && reported.Has(per) && !reported.Has(unit) {
				billed |= usage.SetOf(unit)
				steps = append(steps, named{step{kind: block, quantity: usage.Count(rule.Quantity)}, unit, per})
			}
		case rule.EachCall != "":
			unit, _ := usage.UnitOf(rule.EachCall)
			if _, priced := t.rates[unit]; priced && !reported.Has(unit) {
				billed |= usage.SetOf(unit)
				steps = append(steps, named{step{kind: eachCall}, unit, usage.NoUnit})
			}
		}
	}
	p.slots = slices.Collect(billed.All())
	// A number that is looked at but not billed stands at the end, without a line.
	for _, s := range steps {
		if s.looksAt != usage.NoUnit && reported.Has(s.looksAt) && !slices.Contains(p.slots, s.looksAt) {
			p.slots = append(p.slots, s.looksAt)
		}
	}
	for _, s := range steps {
		s.target = uint8(slices.Index(p.slots, s.unit))
		s.origin = int8(-1)
		if s.looksAt != usage.NoUnit {
			s.origin = int8(slices.Index(p.slots, s.looksAt))
		}
		p.steps = append(p.steps, s.step)
	}
	return billed
}
