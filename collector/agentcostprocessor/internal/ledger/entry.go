// Package ledger decides what every span of a trace costs, so that one billed request is charged once.
//
// It knows that spans have parents, and no attribute name, no price, no clock. Settle is the accounting laws; the Python
// room of the same name makes the same decisions and passes the same vectors (tests/conformance/ledger).
// docs/accounting.md explains each law with a small tree.
package ledger

import (
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Status is the value of agentcost.cost.status.
type Status uint8

// The statuses of a charge. Priced is written as no status at all.
const (
	Priced Status = iota
	Partial
	Unpriced
	Free
	Estimated
	Mirror
	Aggregate
	Remainder
	Correction
	Invalid
)

var statusNames = [...]string{
	"", "partial", "unpriced", "free", "estimated", "mirror", "aggregate", "remainder", "correction", "invalid",
}

// String returns the attribute's value, "" for a span that is simply priced.
func (s Status) String() string { return statusNames[s] }

// Pricer prices a reading at a time (Unix nanoseconds). Nil: nobody charges for such a thing.
type Pricer func(reading *usage.Reading, at int64) *pricing.Bill

// Entry is one ended span as the ledger sees it. What it points to is never written.
type Entry struct {
	SpanID string
	// ParentID is empty for a root. A parent that never arrives makes this entry an orphan (accounting law 4).
	ParentID string
	// Start and End are Unix nanoseconds.
	Start, End int64
	// Emitter is the name of the instrumentation scope: who says so.
	Emitter string
	Reading *usage.Reading
	// Bill is what the span would cost if nothing else showed the same request; nil for one nobody charges for.
	Bill   *pricing.Bill
	Failed bool
	Agent  string
	// Window is the share of the model's context window in use, 0 where unknown.
	Window float64
}

// Charge is what one span adds to the total: its bill, or 0 for a mirror, or a remainder, or a correction.
type Charge struct {
	// Pico is the cost; it means nothing unless Claimed. Negative only for a correction.
	Pico pricing.Money
	// Claimed is false when no cost may be claimed: unknown is never 0.
	Claimed bool
	Status  Status
	Reason  string
	// Bill is behind the figure, for line items, source and price id; nil for a mirror.
	Bill *pricing.Bill
	// Usage is inclusive usage this charge stands for; nil for a mirror.
	Usage    *usage.Usage
	Currency string
}

// Source is provider, user, book or estimated; empty when nothing is claimed.
func (c *Charge) Source() string {
	if c.Bill == nil || !c.Claimed {
		return ""
	}
	return c.Bill.Source.String()
}

// Counts tells whether the span stands for a request of its own (mirrors do not).
func (c *Charge) Counts() bool { return c.Status != Mirror && c.Status != Aggregate }

// pico is the cost, 0 where none is claimed.
func (c *Charge) pico() pricing.Money {
	if !c.Claimed {
		return pricing.Money{}
	}
	return c.Pico
}

var statusOfBill = map[pricing.Status]Status{
	pricing.Priced:           Priced,
	pricing.ProviderReported: Priced,
	pricing.Estimated:        Estimated,
	pricing.Partial:          Partial,
	pricing.Free:             Free,
	pricing.NotBilled:        Free,
	pricing.Unpriced:         Unpriced,
	pricing.Invalid:          Invalid,
}

// chargeInFull charges a span its own bill.
func chargeInFull(e *Entry) Charge {
	charge := Charge{Currency: defaultCurrency}
	if e.Reading != nil && e.Reading.HasUsage {
		charge.Usage = &e.Reading.Usage
	}
	bill := e.Bill
	if bill == nil {
		return charge
	}
	charge.Bill, charge.Currency = bill, bill.Currency
	charge.Pico, charge.Claimed = bill.Total, bill.HasTotal
	charge.Status, charge.Reason = statusOfBill[bill.Status], bill.Reason()
	if charge.Status == Priced && e.Reading != nil && !hasBothSides(e.Reading) && bill.Source != pricing.FromProvider {
		charge.Status, charge.Reason = Partial, "output_not_reported"
	}
	return charge
}

const defaultCurrency = "USD"

// mirrorOf charges nothing, because another span shows the same request.
func mirrorOf(other *Entry) Charge {
	return Charge{Claimed: true, Status: Mirror, Reason: "mirror_of:" + other.SpanID, Currency: defaultCurrency}
}
