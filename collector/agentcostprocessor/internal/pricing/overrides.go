package pricing

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// bookCurrency is the currency of the shipped prices.
const bookCurrency = "USD"

// userFile stands in price ids for what the user says.
const userFile = "agentcost.yaml"

var (
	one     = big.NewRat(1, 1)
	hundred = big.NewRat(100, 1)
)

// Overrides is everything about prices a user may say, compiled; immutable.
//
// A user's rates stand above the book's, unit by unit; of several entries that name the same unit the last one wins. A
// discount is taken off whatever rate then holds; discounts never stack, the last entry that matches a unit wins.
type Overrides struct {
	prices    []userPrice
	discounts []discount
	fees      []*rule
	machines  []*rule
	aliases   map[string][]userAlias
	currency  string
	rates     map[string][]worth
	timed     bool
}

// worth is how much of the user's currency one unit of another is, from a day on.
type worth struct {
	first int64
	rate  *big.Rat
}

// target is which models of which providers an entry is meant for.
type target struct {
	provider *glob // nil is any
	model    glob
}

func (t *target) matches(provider string, names []string) bool {
	return (t.provider == nil || t.provider.matches(provider)) && slices.ContainsFunc(names, t.model.matches)
}

// userPrice is one entry of `prices:`.
type userPrice struct {
	target
	key      string
	standard dated
	variants []dated
	free     bool
	mode     string
	window   int64 // 0 is not stated
	currency string
}

// discount is one entry of `discounts:`; factor is what remains to be paid.
type discount struct {
	target
	key        string
	units      usage.UnitSet // 0 is all
	factor     *big.Rat
	percent    string
	constraint constraint
}

// userAlias is a deployment name, ARN or own name, and the model it stands for.
type userAlias struct {
	model      string
	provider   string
	constraint constraint
}

// NoOverrides is what a user who says nothing says.
func NoOverrides() *Overrides { return &Overrides{currency: bookCurrency} }

// exchange returns how much of the user's currency one unit of another is worth on a day; false when nobody says.
func (o *Overrides) exchange(currency string, day int64) (*big.Rat, bool) {
	if currency == o.currency {
		return one, true
	}
	steps := o.rates[currency]
	if len(steps) == 0 {
		return nil, false
	}
	rate := steps[0].rate
	for _, step := range steps {
		if step.first <= day {
			rate = step.rate
		}
	}
	return rate, true
}

// alias returns what an own name stands for on a day, nil for nothing; the last entry that holds wins.
func (o *Overrides) alias(name string, day int64) *userAlias {
	if len(o.aliases) == 0 {
		return nil
	}
	steps := o.aliases[lower(trim(name))]
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i].constraint.onDay(day) {
			return &steps[i]
		}
	}
	return nil
}

// priced tells whether an entry of the user's is meant for a model.
func (o *Overrides) priced(provider string, names []string) bool {
	return slices.ContainsFunc(o.prices, func(p userPrice) bool { return p.matches(provider, names) })
}

// apply lays the user's rates, discounts and currency over a tariff; it returns the key of the price entry used, or "".
func (o *Overrides) apply(t *tariff, provider string, names []string, day, minute int64) (used string, ok bool) {
	worth, ok := o.exchange(bookCurrency, day)
	if !ok {
		return "", false
	}
	if worth.Cmp(one) != 0 {
		shown, _ := worth.Float64()
		note := fmt.Sprintf("1 %s = %.6g %s", bookCurrency, shown, o.currency)
		for unit, rate := range t.rates {
			t.rates[unit] = rate.times(worth, note)
		}
	}
	for i := range o.prices {
		price := &o.prices[i]
		if !price.matches(provider, names) || !price.standard.constraint.holds(day, minute) {
			continue
		}
		used = price.key
		if ok = o.applyPrice(t, price, day, minute); !ok {
			return "", false
		}
	}
	for unit, rate := range t.rates {
		if d := o.discount(unit, provider, names, day, minute); d != nil {
			rate = rate.times(d.factor, "discount "+d.percent+"% "+d.key)
			rate.byUser = true
			t.rates[unit] = rate
		}
	}
	return used, true
}

func (o *Overrides) applyPrice(t *tariff, price *userPrice, day, minute int64) bool {
	if price.mode != "" {
		t.mode = price.mode
	}
	t.free = price.free
	if price.free {
		t.reasons = nil
	}
	chosen := make(rates)
	var told []string
	variants := false
	for i := range price.variants {
		variant := &price.variants[i]
		if !variant.when.holds(t.context) || !variant.constraint.holds(day, minute) {
			continue
		}
		variants = true
		for unit, rate := range variant.rates {
			if _, ok := chosen[unit]; !ok {
				chosen[unit] = rate
			}
		}
		for _, wanted := range variant.when {
			told = append(told, wanted...)
		}
	}
	for unit, rate := range price.standard.rates {
		if _, ok := chosen[unit]; !ok {
			chosen[unit] = rate
		}
	}
	if variants {
		t.reasons = slices.DeleteFunc(slices.Clone(t.reasons), func(reason string) bool {
			_, value, _ := strings.Cut(reason, ":")
			return slices.Contains(told, value)
		})
	}
	worth, ok := o.exchange(price.currency, day)
	if !ok {
		return false
	}
	for unit, rate := range chosen {
		rate.byUser = true
		rate.note = price.key
		if worth.Cmp(one) != 0 {
			rate.factor = worth
		}
		t.rates[unit] = rate
	}
	return true
}

func (o *Overrides) discount(unit usage.Unit, provider string, names []string, day, minute int64) *discount {
	for i := len(o.discounts) - 1; i >= 0; i-- {
		d := &o.discounts[i]
		if (d.units == 0 || d.units.Has(unit)) && d.matches(provider, names) && d.constraint.holds(day, minute) {
			return d
		}
	}
	return nil
}
