package pricing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// tier says that from a number of input tokens on (beyond it, or including it) the price is another.
type tier struct {
	threshold int64
	inclusive bool
	price     string
}

// compare orders tiers by where they begin: an inclusive threshold begins one token earlier.
func (t tier) compare(other tier) int {
	switch {
	case t.threshold != other.threshold:
		if t.threshold < other.threshold {
			return -1
		}
		return 1
	case t.inclusive == other.inclusive:
		return 0
	case t.inclusive:
		return -1
	}
	return 1
}

// reached tells whether so much input is in the tier.
func (t tier) reached(input usage.Quantity) bool {
	order := input.Compare(usage.Count(t.threshold))
	return order > 0 || (order == 0 && t.inclusive)
}

// unitRate is the rate of one unit for one moment and context.
type unitRate struct {
	price  string
	per    int64
	tiers  []tier
	factor *big.Rat // nil is 1
	note   string
	// inherited: a variant was chosen that says nothing about this unit, so the standard rate is a guess.
	inherited bool
	byUser    bool
}

func (r unitRate) times(factor *big.Rat, note string) unitRate {
	if r.factor != nil {
		factor = new(big.Rat).Mul(r.factor, factor)
	}
	r.factor = factor
	r.note = strings.TrimSpace(r.note + " " + note)
	return r
}

func (r unitRate) noted(note string) unitRate {
	r.note = note
	return r
}

// perUnit is the price of one unit, for comparisons.
func (r unitRate) perUnit() *big.Rat {
	return new(big.Rat).Quo(decimalRat(r.price), new(big.Rat).SetInt64(r.per))
}

// equal tells whether two rates of the book are the same.
func (r unitRate) equal(other unitRate) bool {
	return r.price == other.price && r.per == other.per && slices.Equal(r.tiers, other.tiers)
}

type rates map[usage.Unit]unitRate

// rawRate is a rate of the book: a decimal string per the unit's own block, or {price, per, tiers}.
type rawRate struct {
	Price string `json:"price"`
	Per   int64  `json:"per"`
	Tiers []struct {
		GT    *int64 `json:"gt"`
		GTE   *int64 `json:"gte"`
		Price string `json:"price"`
	} `json:"tiers"`
}

// UnmarshalJSON reads both forms.
func (r *rawRate) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(raw, []byte(`"`)) {
		return json.Unmarshal(raw, &r.Price)
	}
	type fields rawRate
	return json.Unmarshal(raw, (*fields)(r))
}

func (r *rawRate) compile(unit usage.Unit) (unitRate, error) {
	rate := unitRate{price: r.Price, per: r.Per}
	if rate.per == 0 {
		rate.per = unit.Per()
	}
	if rate.per < 0 || !plainDecimal(rate.price) {
		return rate, fmt.Errorf("%q per %d is no price", r.Price, r.Per)
	}
	for _, step := range r.Tiers {
		var t tier
		switch {
		case step.GTE != nil:
			t = tier{*step.GTE, true, step.Price}
		case step.GT != nil:
			t = tier{*step.GT, false, step.Price}
		default:
			return rate, fmt.Errorf("a tier needs gt or gte")
		}
		if !plainDecimal(t.price) {
			return rate, fmt.Errorf("%q is no price", t.price)
		}
		rate.tiers = append(rate.tiers, t)
	}
	return rate, nil
}

// plainDecimal tells whether a text is digits with at most one point between them.
func plainDecimal(text string) bool {
	whole, decimals, point := strings.Cut(text, ".")
	return allDigits(whole) && (!point || allDigits(decimals)) && len(text) <= 64
}

func allDigits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}

// rawDated is an entry of prices, amend or variants.
type rawDated struct {
	rawDates
	When  when               `json:"when"`
	Rates map[string]rawRate `json:"rates"`
}

// dated is rates with their dates, and for a variant its conditions.
type dated struct {
	constraint constraint
	when       when
	rates      rates
}

func (r *rawDated) compile() (dated, error) {
	compiled := dated{when: r.When, rates: make(rates, len(r.Rates))}
	var err error
	if compiled.constraint, err = r.rawDates.compile(); err != nil {
		return compiled, err
	}
	for key, raw := range r.Rates {
		unit, known := usage.UnitOf(key)
		if !known {
			return compiled, fmt.Errorf("unknown unit %q", key)
		}
		if compiled.rates[unit], err = raw.compile(unit); err != nil {
			return compiled, fmt.Errorf("%s: %w", key, err)
		}
	}
	return compiled, nil
}

// rawModel is one model of the book; its tariffs are read when they are first asked for.
type rawModel struct {
	ID       string          `json:"id"`
	Match    json.RawMessage `json:"match"`
	Window   int64           `json:"window"`
	Free     bool            `json:"free"`
	Unpriced bool            `json:"unpriced"`
	TierMode string          `json:"tier_mode"`
	Rates    json.RawMessage `json:"rates"`
	Prices   json.RawMessage `json:"prices"`
	Amend    json.RawMessage `json:"amend"`
	Variants json.RawMessage `json:"variants"`
}

// modelTariff is all tariffs of one model, compiled once.
type modelTariff struct {
	id         string
	window     int64
	free       bool
	unpriced   bool
	timed      bool
	mode       string
	standards  []dated
	amendments []dated
	variants   []dated
}

func (r *rawModel) compile() (*modelTariff, error) {
	m := &modelTariff{id: r.ID, window: r.Window, free: r.Free, unpriced: r.Unpriced, mode: r.TierMode}
	if m.mode == "" {
		m.mode = wholeRequest
	}
	prices := r.Prices
	if r.Rates != nil {
		prices = slices.Concat(json.RawMessage(`[{"rates":`), r.Rates, json.RawMessage(`}]`))
	}
	for _, section := range []struct {
		raw json.RawMessage
		to  *[]dated
	}{{prices, &m.standards}, {r.Amend, &m.amendments}, {r.Variants, &m.variants}} {
		if section.raw == nil {
			continue
		}
		var entries []rawDated
		if err := json.Unmarshal(section.raw, &entries); err != nil {
			return nil, fmt.Errorf("%s: %w", r.ID, err)
		}
		for i := range entries {
			entry, err := entries[i].compile()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.ID, err)
			}
			m.timed = m.timed || len(entry.constraint.windows) > 0
			*section.to = append(*section.to, entry)
		}
	}
	return m, nil
}

// standard returns the ordinary rates of a moment; ok is false when no tariff holds then.
func (m *modelTariff) standard(day, minute int64) (found rates, ok bool) {
	for i := len(m.standards) - 1; i >= 0; i-- {
		if m.standards[i].constraint.holds(day, minute) {
			found = maps.Clone(m.standards[i].rates)
			break
		}
	}
	if found == nil {
		return nil, false
	}
	for i := range m.amendments {
		if !m.amendments[i].constraint.holds(day, minute) {
			continue
		}
		for unit, rate := range m.amendments[i].rates {
			if _, priced := found[unit]; priced {
				found[unit] = rate
			}
		}
	}
	return found, true
}

// entry is a model found in the book: its tariffs, the rules of its seller, and how it was found.
type entry struct {
	provider string
	tariff   *modelTariff
	rules    *sellerRules
	// resold is the maker whose list price stands in, when the seller has no own one.
	resold string
	// context is what the name itself told (`eu/` data zones).
	context map[string]string
	// reasons say why this match is a guess: `family_of:gpt-4o`, `provider_guessed:openai`.
	reasons []string
	notes   []string
}
