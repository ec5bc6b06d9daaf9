// Package pricing turns readings into bills: usage, model, time and context in, exact money out.
//
// It knows prices and currencies, and neither spans nor clocks. The Python room of the same name reads the same price
// book and passes the same vectors (tests/conformance/pricing); docs/prices.md states the rules.
package pricing

import (
	"math/big"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Status tells how far a bill can be trusted.
type Status uint8

// The statuses of a bill. Unpriced and Invalid bills claim no cost, which is not 0.
const (
	// Unpriced: no cost is claimed.
	Unpriced Status = iota
	// Priced: every unit has its rate.
	Priced
	// Estimated: a labelled guess took part.
	Estimated
	// Partial: something has no rate of its own.
	Partial
	// ProviderReported: the figure is the provider's.
	ProviderReported
	// Free: surely costs nothing.
	Free
	// NotBilled: the request failed without usage, or nobody asks a fee.
	NotBilled
	// Invalid: the usage contradicts itself.
	Invalid
)

var statusNames = [...]string{
	"unpriced", "priced", "estimated", "partial", "provider_reported", "free", "not_billed", "invalid",
}

// String returns the name used in attributes and vectors.
func (s Status) String() string { return statusNames[s] }

// Source tells where a figure comes from.
type Source uint8

// The sources of a figure.
const (
	NoSource Source = iota
	FromProvider
	FromUser
	FromBook
	FromEstimate
)

var sourceNames = [...]string{"", "provider", "user", "book", "estimated"}

// String returns the value of agentcost.cost.source.
func (s Source) String() string { return sourceNames[s] }

// Rate is the price of one unit: Price (decimal text) per Per units, times an exact fraction.
type Rate struct {
	Price string
	Per   int64
	// Factor is nil for 1.
	Factor *big.Rat
	// Note says which rule chose it, e.g. `tier>200000`, `processing=batch`, `x1.1 region=us`, `discount 10%`.
	Note string
}

// Cost returns what a quantity costs: one half-even rounding (accounting law 10). ok is false for an amount beyond
// 128 bits.
func (r *Rate) Cost(quantity usage.Quantity) (cost Money, ok bool) {
	exact := ratOf(quantity)
	exact.Mul(exact, decimalRat(r.Price))
	if r.Factor != nil {
		exact.Mul(exact, r.Factor)
	}
	exact.Mul(exact, new(big.Rat).SetFrac64(picoPerUnit, r.Per))
	return moneyOf(divideHalfEven(exact.Num(), exact.Denom()))
}

// ratOf returns a quantity as a fraction.
func ratOf(quantity usage.Quantity) *big.Rat {
	exact := new(big.Rat).SetInt64(quantity.Whole())
	if !quantity.IsWhole() {
		exact.Add(exact, big.NewRat(int64(quantity.Fraction()), 1_000_000_000))
	}
	return exact
}

// decimalRat reads a plain decimal of the book as a fraction; 0 for what is none, which checks refuse beforehand.
func decimalRat(text string) *big.Rat {
	exact, ok := new(big.Rat).SetString(text)
	if !ok {
		return new(big.Rat)
	}
	return exact
}

// LineItem is unit x quantity x rate = money.
type LineItem struct {
	Unit     usage.Unit
	Quantity usage.Quantity
	Rate     *Rate
	Pico     Money
	// Model is told where the parts of one call were priced separately.
	Model string
}

// Bill is what one reading costs, and why. Its slices are shared: read only.
type Bill struct {
	Status Status
	Source Source
	// Component is the bucket of money without line items (a figure somebody stated).
	Component usage.Component
	// HasTotal is false when no cost may be claimed (unpriced, invalid).
	HasTotal bool
	noCharge bool
	Total    Money
	Items    []LineItem
	// Reasons are machine-readable: `no_rate:<unit>`, `unknown_model`, `unknown_tier:turbo`, `stream_without_usage`.
	Reasons []string
	// PriceID is book version and entry, e.g. `2026-11-20/openai/gpt-5#default`.
	PriceID  string
	Currency string
	// Notes tell what was matched, chosen and skipped, in order.
	Notes []string
}

// NoCharge tells whether nobody has a fee for the tool or host: no charge at all, which is not an unknown price.
func (b *Bill) NoCharge() bool { return b.noCharge }

// Reason returns all reasons in one attribute value.
func (b *Bill) Reason() string {
	switch len(b.Reasons) {
	case 0:
		return ""
	case 1:
		return b.Reasons[0]
	}
	return strings.Join(b.Reasons, ",")
}

// ByComponent returns the money by rollup bucket; it sums to the total.
func (b *Bill) ByComponent() [usage.ComponentCount]Money {
	var by [usage.ComponentCount]Money
	if !b.HasTotal {
		return by
	}
	if len(b.Items) == 0 {
		by[b.Component] = b.Total
	}
	for i := range b.Items {
		component := b.Items[i].Unit.Component()
		by[component] = by[component].Add(b.Items[i].Pico)
	}
	return by
}

// ByDetail returns the money by agentcost.cost.<detail> attribute, line items only.
func (b *Bill) ByDetail() map[string]Money {
	by := make(map[string]Money)
	if b.HasTotal {
		for i := range b.Items {
			detail := b.Items[i].Unit.Detail()
			by[detail] = by[detail].Add(b.Items[i].Pico)
		}
	}
	return by
}

// unpriced is the bill of what nobody can price.
func unpriced(reasons []string, notes []string) Bill {
	return Bill{Status: Unpriced, Reasons: reasons, Notes: notes, Currency: bookCurrency}
}

// invalid is the bill of usage that contradicts itself: no lines, no total.
func invalid(problem string) Bill {
	return Bill{Status: Invalid, Reasons: []string{problem}, Currency: bookCurrency}
}
