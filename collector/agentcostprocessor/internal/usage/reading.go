// Package usage reads what spans tell about consumption: attributes in, Reading out.
//
// It knows attribute names and no price. What to look for is data (semconv/dialects/), not code; the Python room of the
// same name reads the same tables and passes the same vectors (tests/conformance/usage).
package usage

import (
	"math/bits"
)

// few is how many quantities a Usage holds without an allocation; a call rarely has more.
const few = 8

// Usage is immutable quantities by unit: inclusive totals with their subsets. The zero value has none.
//
// InputTokens holds all input, CacheReadTokens the part of it that came from a cache. Leaves turns that into exclusive
// quantities, the only thing that is ever priced. A unit that is absent was not reported; one that is 0 was reported as
// zero.
type Usage struct {
	set    UnitSet
	inline [few]Quantity
	more   []Quantity // never written after it was made: copies of a Usage share it
}

// Of returns the usage of one unit.
func Of(unit Unit, quantity Quantity) Usage {
	return Usage{set: 1 << unit, inline: [few]Quantity{quantity}}
}

// Units are the units that were reported.
func (u *Usage) Units() UnitSet { return u.set }

// Has tells whether a unit was reported.
func (u *Usage) Has(unit Unit) bool { return u.set.Has(unit) }

// Get returns the quantity of a unit, 0 when it was not reported.
func (u *Usage) Get(unit Unit) Quantity {
	if !u.set.Has(unit) {
		return Quantity{}
	}
	return u.at(bits.OnesCount64(uint64(u.set & (1<<unit - 1))))
}

func (u *Usage) at(rank int) Quantity {
	if rank < few {
		return u.inline[rank]
	}
	return u.more[rank-few]
}

// IsEmpty tells whether nothing was reported.
func (u *Usage) IsEmpty() bool { return u.set == 0 }

// InputTokens is all input, cached tokens included.
func (u *Usage) InputTokens() Quantity { return u.Get(InputTokens) }

// OutputTokens is all output, reasoning included.
func (u *Usage) OutputTokens() Quantity { return u.Get(OutputTokens) }

// Detailed tells whether more is known than two totals: cache, reasoning, modality or a provider tool.
func (u *Usage) Detailed() bool {
	for unit := range (u.set &^ simple).All() {
		if !u.Get(unit).IsZero() {
			return true
		}
	}
	return false
}

// Equal tells whether both report the same units with the same quantities.
func (u *Usage) Equal(other *Usage) bool {
	if u.set != other.set {
		return false
	}
	for rank := range u.set.Len() {
		if u.at(rank) != other.at(rank) {
			return false
		}
	}
	return true
}

// Plus returns the sum, unit by unit.
func (u *Usage) Plus(other *Usage) Usage {
	var sum Quantities
	sum.Load(u)
	for unit := range other.set.All() {
		sum.Put(unit, sum.Get(unit).Add(other.Get(unit)))
	}
	return sum.Usage()
}

// Leaves returns the exclusive quantity of each unit: leaf(U) = usage(U) - sum of leaf(descendants of U).
//
// Only units of priced count as descendants and appear in the result, so what has no price of its own stays inside its
// nearest priced ancestor. A negative leaf means that the usage contradicts itself.
func (u *Usage) Leaves(priced UnitSet) Usage {
	leaves := Usage{set: u.set & priced}
	if extra := leaves.set.Len() - few; extra > 0 {
		leaves.more = make([]Quantity, extra)
	}
	rank := 0
	for unit := range leaves.set.All() { // parts come before the units that contain them
		left := u.Get(unit)
		for part := range (leaves.set & unit.Inside()).All() {
			left = left.Sub(leaves.Get(part))
		}
		if rank < few {
			leaves.inline[rank] = left
		} else {
			leaves.more[rank-few] = left
		}
		rank++
	}
	return leaves
}

// Contradiction says what is impossible about the quantities, naming both numbers, or returns "".
//
// Impossible: a negative or unbelievably large number, a subset larger than a total that was reported with it, disjoint
// subsets that add up to more than their total. Of several, the first by unit name is told.
func (u *Usage) Contradiction() string {
	for _, unit := range unitsByName {
		if !u.set.Has(unit) {
			continue
		}
		quantity := u.Get(unit)
		if quantity.Sign() < 0 {
			return "negative:" + unit.String() + "=" + quantity.String()
		}
		if Count(MaxQuantity).Less(quantity) {
			return "too_large:" + unit.String() + "=" + quantity.String()
		}
	}
	for _, unit := range unitsByName {
		if !u.set.Has(unit) {
			continue
		}
		quantity := u.Get(unit)
		for _, above := range unit.Ancestors() {
			if u.set.Has(above) && u.Get(above).Less(quantity) {
				return "subset_exceeds_total:" + unit.String() + "=" + quantity.String() + ">" +
					above.String() + "=" + u.Get(above).String()
			}
		}
	}
	leaves := u.Leaves(u.set)
	for unit := range leaves.set.All() {
		if leaves.Get(unit).Sign() < 0 {
			return "subsets_exceed_total:" + unit.String() + "=" + u.Get(unit).String()
		}
	}
	return ""
}

// Quantities collects the quantities of one Usage; the zero value is empty. Too large to copy about: reuse one.
type Quantities struct {
	set UnitSet
	of  [64]Quantity
}

// Reset forgets everything.
func (c *Quantities) Reset() { c.set = 0 }

// Load starts from what a usage has.
func (c *Quantities) Load(u *Usage) {
	c.set = u.set
	rank := 0
	for unit := range u.set.All() {
		c.of[unit] = u.at(rank)
		rank++
	}
}

// Has tells whether a unit is there.
func (c *Quantities) Has(unit Unit) bool { return c.set.Has(unit) }

// Get returns the quantity of a unit, 0 when it is not there.
func (c *Quantities) Get(unit Unit) Quantity {
	if !c.set.Has(unit) {
		return Quantity{}
	}
	return c.of[unit]
}

// Put sets the quantity of a unit.
func (c *Quantities) Put(unit Unit, quantity Quantity) {
	c.set |= 1 << unit
	c.of[unit] = quantity
}

// Drop takes a unit out.
func (c *Quantities) Drop(unit Unit) { c.set &^= 1 << unit }

// Usage returns what was collected; it allocates only for more than eight units.
func (c *Quantities) Usage() Usage {
	made := Usage{set: c.set}
	if extra := c.set.Len() - few; extra > 0 {
		made.more = make([]Quantity, extra)
	}
	rank := 0
	for unit := range c.set.All() {
		if rank < few {
			made.inline[rank] = c.of[unit]
		} else {
			made.more[rank-few] = c.of[unit]
		}
		rank++
	}
	return made
}

// Part is the consumption of one model inside a call that used several.
type Part struct {
	Model string
	Usage Usage
}

// Reading is what one span tells about consumption. Readers make it, the price book prices it.
//
// An empty text means that it is not known. Slices belong to the reading: who keeps it beyond the next read copies them
// (Clone does).
type Reading struct {
	Kind      Kind
	Status    Status
	Aggregate AggregateMode
	// ReportedBy tells who stated ReportedCost; Nobody when there is none.
	ReportedBy Reporter
	// HasUsage is false when the evidence has no usage at all: unknown is never 0.
	HasUsage bool
	// Estimated token counts are guesses from text, not the provider's.
	Estimated bool
	// Server: the span was emitted by the model server itself, not by a caller.
	Server bool

	// Usage is inclusive totals with subsets.
	Usage Usage
	// Reason tells, with another status than OK, why: `no_usage`, `http_429`, `negative:input_tokens=-1`.
	Reason string
	// Provider is the canonical id (semconv/providers.yaml), or the name as it is when nobody knows it.
	Provider string
	// Model answered; the requested one where the answering one is not known.
	Model        string
	RequestModel string
	// Operation is chat, text_completion, embeddings, rerank, image, speech, ...
	Operation string
	// Context is what a price may depend on: service_tier, region, host ...
	Context Context
	// Identity holds ids of the billed request, strongest first.
	Identity []string
	// Parts is the split of a call that used several models.
	Parts []Part
	// ReportedCost is money stated in the evidence, in ReportedCurrency.
	ReportedCost     Decimal
	ReportedCurrency string
	// Dialect is the table that read it.
	Dialect string
	// Tool is the tool's name for kind Tool, the host for kind API.
	Tool  string
	Agent string
	// WindowTokens is what is in the context window at the last turn, where it differs from the billed input; 0 when
	// it is not known.
	WindowTokens int64
}

// Reset makes the reading empty and keeps the memory of its slices.
func (r *Reading) Reset() {
	*r = Reading{Context: r.Context[:0], Identity: r.Identity[:0], Parts: r.Parts[:0], ReportedCurrency: "USD"}
}

// Clone returns a reading that shares no slice with r.
func (r *Reading) Clone() Reading {
	copied := *r
	copied.Context = append(Context(nil), r.Context...)
	copied.Identity = append([]string(nil), r.Identity...)
	copied.Parts = append([]Part(nil), r.Parts...)
	return copied
}

// WithUsage returns the same reading about other quantities (used for remainders): no parts, no reported cost.
func (r *Reading) WithUsage(usage Usage) Reading {
	other := *r
	other.Usage, other.HasUsage = usage, true
	other.Parts = nil
	other.ReportedCost, other.ReportedBy = Decimal{}, Nobody
	other.Status, other.Reason = StatusUsage, ""
	return other
}

// Context is what a price may depend on, by key; small, without order and without repeated keys.
type Context []ContextEntry

// ContextEntry is one thing a price may depend on.
type ContextEntry struct {
	Key, Value string
}

// Get returns the value of a key, "" when it is not there.
func (c Context) Get(key string) string {
	for i := range c {
		if c[i].Key == key {
			return c[i].Value
		}
	}
	return ""
}

// Has tells whether a key is there.
func (c Context) Has(key string) bool {
	for i := range c {
		if c[i].Key == key {
			return true
		}
	}
	return false
}

// With returns the context with the value of a key set; it may reuse the memory of c.
func (c Context) With(key, value string) Context {
	for i := range c {
		if c[i].Key == key {
			c[i].Value = value
			return c
		}
	}
	return append(c, ContextEntry{Key: key, Value: value})
}
