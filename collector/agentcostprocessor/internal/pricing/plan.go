package pricing

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// maxSlots is how many units one plan has at most: all of them, and the other number of a `once` measure.
const maxSlots = usage.UnitCount + 1

// fraction is an exact factor of two 64-bit numbers; wide holds it where they do not suffice.
type fraction struct {
	numerator, denominator uint64
	wide                   *big.Rat
}

func fractionOf(exact *big.Rat) fraction {
	if exact.Num().IsUint64() && exact.Denom().IsUint64() {
		return fraction{numerator: exact.Num().Uint64(), denominator: exact.Denom().Uint64()}
	}
	return fraction{wide: exact}
}

// of returns quantity x fraction, rounded once, half to even; ok is false for an amount nobody believes.
func (f *fraction) of(quantity usage.Quantity) (m Money, ok bool) {
	whole := quantity.Whole()
	if f.wide == nil && whole >= 0 {
		if quantity.IsWhole() {
			m, ok = mulDiv(uint64(whole), f.numerator, f.denominator)
			return m, ok && !m.tooLarge()
		}
		// The same in steps of 1e-9, where both numbers have room for them.
		const nano, room = 1_000_000_000, math.MaxUint64/1_000_000_000 - 1
		if uint64(whole) < room && f.denominator < room {
			nanos := uint64(whole)*nano + uint64(quantity.Fraction())
			m, ok = mulDiv(nanos, f.numerator, f.denominator*nano)
			return m, ok && !m.tooLarge()
		}
	}
	exact := f.wide
	if exact == nil {
		exact = new(big.Rat).SetFrac(
			new(big.Int).SetUint64(f.numerator), new(big.Int).SetUint64(f.denominator))
	}
	return rounded(new(big.Rat).Mul(exact, ratOf(quantity)))
}

func rounded(exact *big.Rat) (m Money, ok bool) {
	m, ok = moneyOf(divideHalfEven(exact.Num(), exact.Denom()))
	return m, ok && !m.tooLarge()
}

// band is one step of a graduated price: from a quantity on, so much for each.
type band struct {
	start int64
	price *big.Rat
}

// line is one unit that is printed: whose exclusive quantities are priced here, and how.
type line struct {
	unit  usage.Unit
	slots []uint8 // the unit's own and those of units inside it that have no rate
	price fraction
	rate  *Rate
	bands []band // graduated tiers, ascending; nil for one price
}

// level is the lines that hold from a tier on; the first level has none.
type level struct {
	from  tier
	lines []line
}

// gap is what a bill must admit when a unit was used.
type gap struct {
	slot    uint8
	partial bool
	lost    bool // no unit that has a rate contains it: its money is missing altogether
	reason  string
}

// inner is a unit that contains others of the plan: their exclusive quantities are taken out of it.
type inner struct {
	slot  uint8
	parts []uint8
}

// plan prices one set of units under one tariff; made once, used for every reading of that shape. Immutable.
//
// Each reported unit's exclusive quantity is priced at its own rate, or at that of the nearest unit that contains it
// (the dearest, where two are equally near: an upper bound). Every line is rounded once, half to even.
type plan struct {
	slots    []usage.Unit // the billed units, parts before what contains them; then numbers that are only looked at
	steps    []step       // measures
	exclude  []inner
	levels   []level
	gaps     []gap
	basis    int8 // slot of input_tokens, which tiers look at (rule 10); -1 when it is not there
	reasons  []string
	source   Source
	priceID  string
	currency string
	notes    []string
}

func newPlan(t *tariff, reported usage.UnitSet, priceID, currency string) *plan {
	p := &plan{priceID: priceID, currency: currency, notes: t.notes, basis: -1, source: FromBook}
	for _, reason := range t.reasons {
		if !slices.Contains(p.reasons, reason) {
			p.reasons = append(p.reasons, reason)
		}
	}
	billed := p.measure(t, reported)
	held := t.rates
	if t.free {
		held = make(rates)
		for unit := range billed.All() {
			if !slices.ContainsFunc(unit.Ancestors(), billed.Has) {
				held[unit] = unitRate{price: "0", per: unit.Per(), note: "free"}
			}
		}
	}
	slot := make(map[usage.Unit]uint8, len(p.slots))
	for i, unit := range p.slots {
		slot[unit] = uint8(i)
	}
	home := make(map[usage.Unit]usage.Unit)
	var used usage.UnitSet
	for unit := range billed.All() {
		home[unit] = homeOf(unit, held)
		if home[unit] != usage.NoUnit {
			used |= usage.SetOf(home[unit])
		}
		if parts := billed & unit.Inside(); parts != 0 {
			takenOut := inner{slot: slot[unit]}
			for part := range parts.All() {
				takenOut.parts = append(takenOut.parts, slot[part])
			}
			p.exclude = append(p.exclude, takenOut)
		}
	}
	p.admit(t, held, home, slot, billed)
	if billed.Has(usage.InputTokens) {
		p.basis = int8(slot[usage.InputTokens])
	}
	p.levels = []level{{}}
	for unit := range used.All() {
		if held[unit].byUser {
			p.source = FromUser
		}
		for _, step := range held[unit].tiers {
			from := tier{threshold: step.threshold, inclusive: step.inclusive}
			if t.mode != graduated && !slices.ContainsFunc(p.levels[1:], func(l level) bool { return l.from == from }) {
				p.levels = append(p.levels, level{from: from})
			}
		}
	}
	slices.SortFunc(p.levels[1:], func(a, b level) int { return a.from.compare(b.from) })
	for i := range p.levels {
		for _, unit := range printed(used) {
			made := newLine(unit, held[unit], p.levels[i].from, i > 0, t.mode == graduated)
			for _, part := range printed(billed) {
				if home[part] == unit {
					made.slots = append(made.slots, slot[part])
				}
			}
			p.levels[i].lines = append(p.levels[i].lines, made)
		}
	}
	return p
}

// homeOf returns the unit at whose rate a unit is priced: itself, else the nearest containing unit that has one.
func homeOf(unit usage.Unit, held rates) usage.Unit {
	if _, ok := held[unit]; ok {
		return unit
	}
	best := usage.NoUnit
	for _, above := range unit.Ancestors() {
		if _, ok := held[above]; !ok {
			continue
		}
		if best == usage.NoUnit {
			best = above
			continue
		}
		if unitPlaces[above].dimensions != unitPlaces[best].dimensions {
			break // ancestors come nearest first
		}
		order := held[above].perUnit().Cmp(held[best].perUnit())
		if order > 0 || (order == 0 && above.String() > best.String()) {
			best = above
		}
	}
	return best
}

func newLine(unit usage.Unit, rate unitRate, from tier, tiered, byStep bool) line {
	price, note := rate.price, rate.note
	if tiered {
		for _, t := range rate.tiers {
			if t.compare(from) <= 0 {
				op := ">"
				if t.inclusive {
					op = ">="
				}
				price = t.price
				note = strings.TrimSpace(fmt.Sprintf("%s tier%s%d", rate.note, op, t.threshold))
			}
		}
	}
	made := line{unit: unit, price: fractionOf(rate.pico(price))}
	if byStep && len(rate.tiers) > 0 {
		made.bands = []band{{0, rate.pico(rate.price)}}
		steps := []string{"0: " + rate.price}
		for _, t := range rate.tiers {
			made.bands = append(made.bands, band{t.threshold, rate.pico(t.price)})
			steps = append(steps, fmt.Sprintf("%d: %s", t.threshold, t.price))
		}
		note = strings.TrimSpace(note + " graduated from " + strings.Join(steps, ", "))
	}
	made.rate = &Rate{Price: price, Per: rate.per, Factor: rate.factor, Note: note}
	return made
}

// pico returns the pico-units one unit costs at a price of the rate.
func (r *unitRate) pico(price string) *big.Rat {
	exact := decimalRat(price)
	exact.Mul(exact, new(big.Rat).SetFrac64(picoPerUnit, r.per))
	if r.factor != nil {
		exact.Mul(exact, r.factor)
	}
	return exact
}

// admit notes for every billed unit without a rate of its own what a bill must say (units.yaml, without_rate).
func (p *plan) admit(t *tariff, held rates, home map[usage.Unit]usage.Unit, slot map[usage.Unit]uint8, billed usage.UnitSet) {
	if t.free {
		return
	}
	for _, unit := range printed(billed) {
		at := home[unit]
		lost := at == usage.NoUnit
		if !lost && held[at].inherited {
			p.gaps = append(p.gaps, gap{slot: slot[unit], reason: "no_" + t.label + "_rate:" + at.String()})
		}
		if at == unit {
			continue
		}
		if missing := blamed(unit, held, t.covered); missing != usage.NoUnit {
			p.gaps = append(p.gaps, gap{
				slot: slot[unit], partial: lost || missing.WithoutRate() == usage.Partial, lost: lost,
				reason: "no_rate:" + missing.String(),
			})
		}
	}
}

// blamed returns the unit whose missing rate is to be told: a unit that inherits asks the one around it.
func blamed(unit usage.Unit, held rates, covered usage.UnitSet) usage.Unit {
	for {
		if _, ok := held[unit]; ok {
			return usage.NoUnit
		}
		rule := unit.WithoutRate()
		switch {
		case rule == usage.Free:
			return usage.NoUnit
		case rule != usage.Inherit && !covered.Has(unit):
			return unit
		case len(unit.Ancestors()) > 0:
			unit = unit.Ancestors()[0]
		case covered.Has(unit):
			return usage.NoUnit
		default:
			return unit
		}
	}
}

// fewSlots is how many quantities are priced without an allocation for them.
const fewSlots = 12

// bill fills in the bill of a usage with exactly this plan's units; estimated is why the counts are guesses.
func (p *plan) bill(b *Bill, u *usage.Usage, estimated, model string) {
	var small [fewSlots]usage.Quantity
	values := small[:]
	if len(p.slots) > fewSlots {
		values = make([]usage.Quantity, len(p.slots))
	}
	for i, unit := range p.slots {
		quantity := u.Get(unit)
		if quantity.Sign() < 0 || usage.Count(usage.MaxQuantity).Less(quantity) {
			*b = invalid(u.Contradiction())
			return
		}
		values[i] = quantity
	}
	if len(p.steps) > 0 {
		if problem := u.Contradiction(); problem != "" {
			*b = invalid(problem)
			return
		}
		for i := range p.steps {
			p.steps[i].apply(values)
			if target := p.steps[i].target; usage.Count(usage.MaxQuantity).Less(values[target]) {
				*b = invalid("too_large:" + p.slots[target].String())
				return
			}
		}
	}
	var input usage.Quantity
	if p.basis >= 0 {
		input = values[p.basis]
	}
	for i := range p.exclude {
		outer := &p.exclude[i]
		whole := values[outer.slot]
		left := whole
		for _, part := range outer.parts {
			left = left.Sub(values[part])
		}
		if left.Sign() < 0 {
			problem := u.Contradiction()
			if problem == "" {
				problem = "subsets_exceed_total:" + p.slots[outer.slot].String() + "=" + whole.String()
			}
			*b = invalid(problem)
			return
		}
		values[outer.slot] = left // outer units come later, so nobody needs the whole any more
	}
	lines := p.levels[0].lines
	if p.basis >= 0 {
		for i := 1; i < len(p.levels) && p.levels[i].from.reached(input); i++ {
			lines = p.levels[i].lines
		}
	}
	p.total(b, lines, values, estimated, model)
}

func (p *plan) total(b *Bill, lines []line, values []usage.Quantity, estimated, model string) {
	items := make([]LineItem, len(lines))
	used := 0
	var total Money
	for i := range lines {
		l := &lines[i]
		quantity := values[l.slots[0]]
		for _, slot := range l.slots[1:] {
			quantity = quantity.Add(values[slot])
		}
		if quantity.IsZero() {
			continue
		}
		var cost Money
		var ok bool
		if l.bands != nil {
			cost, ok = byBands(quantity, l.bands)
		} else {
			cost, ok = l.price.of(quantity)
		}
		if !ok {
			*b = invalid(amountTooLarge)
			return
		}
		total = total.Add(cost)
		item := &items[used]
		item.Unit, item.Quantity, item.Rate, item.Pico, item.Model = l.unit, quantity, l.rate, cost, model
		used++
	}
	if total.tooLarge() {
		*b = invalid(amountTooLarge)
		return
	}
	b.HasTotal, b.Total, b.Items = true, total, items[:used]
	b.PriceID, b.Currency, b.Notes = p.priceID, p.currency, p.notes
	p.judge(b, values, estimated)
}

// judge gives a bill its status, reasons and source.
func (p *plan) judge(b *Bill, values []usage.Quantity, estimated string) {
	b.Status, b.Reasons, b.Source = Priced, p.reasons, p.source
	if estimated != "" {
		b.Reasons = append(slices.Clip(b.Reasons), estimated)
		b.Source = FromEstimate
	}
	if len(b.Reasons) > 0 {
		b.Status = Estimated
	}
	lost := false
	for i := range p.gaps {
		g := &p.gaps[i]
		if values[g.slot].IsZero() {
			continue
		}
		if !slices.Contains(b.Reasons, g.reason) {
			b.Reasons = append(slices.Clip(b.Reasons), g.reason)
		}
		lost = lost || g.lost
		switch {
		case g.partial:
			b.Status = Partial
		case b.Status == Priced:
			b.Status = Estimated
		}
	}
	switch {
	case lost && len(b.Items) == 0:
		*b = unpriced(b.Reasons, p.notes)
	case b.Status == Priced && b.Total.IsZero() && len(b.Items) > 0 &&
		!slices.ContainsFunc(b.Items, func(item LineItem) bool { return item.Rate.Price != "0" }):
		b.Status = Free
	}
}

// amountTooLarge is the reason of a bill whose amount is beyond MaxMoney.
const amountTooLarge = "amount_too_large"

// byBands prices each step at its own price, and rounds once.
func byBands(quantity usage.Quantity, bands []band) (Money, bool) {
	exact := new(big.Rat)
	for i, b := range bands {
		upper := quantity
		if i+1 < len(bands) {
			upper = usage.Min(quantity, usage.Count(bands[i+1].start))
		}
		if inside := upper.Sub(usage.Count(b.start)); inside.Sign() > 0 {
			exact.Add(exact, new(big.Rat).Mul(ratOf(inside), b.price))
		}
	}
	return rounded(exact)
}

// A unit vocabulary that outgrows the small numbers of slots does not compile.
const _ = uint(math.MaxInt8 - maxSlots)
