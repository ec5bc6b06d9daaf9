package usage

import (
	"iter"
	"math"
	"strconv"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/semconv"
)

// Label is one identity label in its canonical key.
type Label uint8

// String returns the canonical key.
func (l Label) String() string { return labelKeys[l] }

// Labels are the identity labels of a span; the zero value has none.
type Labels struct {
	of [LabelCount]string
}

// Get returns the value of a label, "" when it is not there.
func (l *Labels) Get(label Label) string { return l.of[label] }

// Set gives a label a value.
func (l *Labels) Set(label Label, value string) { l.of[label] = value }

// All ranges over the labels that are there, in the order of their keys.
func (l *Labels) All() iter.Seq2[Label, string] {
	return func(yield func(Label, string) bool) {
		for label, value := range l.of {
			if value != "" && !yield(Label(label), value) {
				return
			}
		}
	}
}

// labelPlace is where a label may stand: rank 0 is preferred; used tells that the key is a label's at all.
type labelPlace struct {
	label Label
	rank  uint8
	used  bool
}

func compileLabels(raw map[string][]string) (places [maxKeys]labelPlace) {
	for label, name := range labelKeys {
		sources, ok := raw[name]
		if !ok || len(raw) != LabelCount {
			panic("usage: labels_generated.go and dialects.json have different labels")
		}
		for rank, source := range sources {
			places[keys.number(source, InLabels)] = labelPlace{Label(label), uint8(rank), true}
		}
	}
	return places
}

// ReadLabels reads the identity of a span in canonical keys, whatever the dialect; a span's own label beats its
// resource's. Either evidence may be nil; both need Interest InLabels.
func ReadLabels(own, resource *Evidence, into *Labels) {
	*into = Labels{}
	var ranks [LabelCount]uint16
	for i := range ranks {
		ranks[i] = math.MaxUint16
	}
	for later, evidence := range [2]*Evidence{own, resource} {
		if evidence == nil {
			continue
		}
		for i := range evidence.entries {
			at := &evidence.entries[i]
			place := &tables.labels[at.key]
			rank := uint16(later)<<8 | uint16(place.rank)
			if !place.used || rank >= ranks[place.label] {
				continue
			}
			if text := at.value.label(); text != "" {
				into.of[place.label], ranks[place.label] = text, rank
			}
		}
	}
}

// Stated is the cost a span already carries, written by us or by whoever follows our registry.
type Stated struct {
	// Pico is the own cost in 1e-12 units of Currency, when HasPico; without, the span states only why there is none.
	Pico     int64
	HasPico  bool
	Status   string
	Reason   string
	Source   string
	PriceID  string
	Currency string
}

var statedKeys = struct{ amount, status, reason, source, priceID, currency Key }{
	keys.number(semconv.CostAmount, InStated), keys.number(semconv.CostStatus, InStated),
	keys.number(semconv.CostReason, InStated), keys.number(semconv.CostSource, InStated),
	keys.number(semconv.PriceID, InStated), keys.number(semconv.CostCurrency, InStated),
}

// ReadStated returns the agentcost.cost.* a span already carries; false when it carries neither amount nor status.
//
// The amount is the exact integer it was derived from; one that is no finite number, or beyond 2^63 pico, counts as
// absent. The evidence needs Interest InStated.
func ReadStated(evidence *Evidence) (Stated, bool) {
	amount, status := evidence.get(statedKeys.amount), evidence.get(statedKeys.status)
	if isNull(amount) && isNull(status) {
		return Stated{}, false
	}
	stated := Stated{
		Status:   plainText(status),
		Reason:   plainText(evidence.get(statedKeys.reason)),
		Source:   plainText(evidence.get(statedKeys.source)),
		PriceID:  plainText(evidence.get(statedKeys.priceID)),
		Currency: plainText(evidence.get(statedKeys.currency)),
	}
	if stated.Currency == "" {
		stated.Currency = "USD"
	}
	if amount != nil {
		if number, ok := amount.decimal(); ok {
			stated.Pico, stated.HasPico = number.Scaled(12)
		}
	}
	return stated, true
}

func isNull(v *Value) bool { return v == nil || v.kind == Null }

// plainText returns a text as it is and a number as Python writes it; "" for nothing, 0 and false.
func plainText(v *Value) string {
	if v == nil {
		return ""
	}
	switch v.kind {
	case Text:
		return v.text
	case Int:
		if v.bits != 0 {
			return strconv.FormatInt(int64(v.bits), 10)
		}
	case Double:
		if f := math.Float64frombits(v.bits); f != 0 {
			return string(appendDouble(nil, f))
		}
	case Bool:
		if v.bits != 0 {
			return "True"
		}
	}
	return ""
}
