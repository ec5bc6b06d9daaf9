package ledger

import (
	"math/big"
	"strconv"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// maxDrivers is how many models and tools a rollup tells apart; the rest is `other`.
const maxDrivers = 64

// Rollup is exact totals of a subtree, a trace or a session: money, tokens, calls, and what is not known. Addition is
// all there is, so every split merges alike. The zero value is empty.
type Rollup struct {
	// Money is the cost by component.
	Money [usage.ComponentCount]pricing.Money
	// Model is the cost of calls and aggregates in whatever component.
	Model pricing.Money
	// Failed is what was spent on calls that failed.
	Failed pricing.Money
	// Late is what arrived after the root was written.
	Late pricing.Money

	InputTokens, OutputTokens, CacheReadTokens, CacheWriteTokens, ReasoningTokens int64

	LLMCalls, ToolCalls, APICalls int64
	Errors                        int64
	// Unpriced counts calls with no cost claimed.
	Unpriced int64

	Incomplete bool
	// Window is the largest share of a context window in use.
	Window float64

	// drivers are what money was spent on, in the order of their first appearance.
	drivers []driver
}

type driver struct {
	name string
	pico pricing.Money
}

// Total is all money.
func (r *Rollup) Total() pricing.Money {
	var total pricing.Money
	for _, part := range r.Money {
		total = total.Add(part)
	}
	return total
}

// IsEmpty tells whether nothing at all was counted.
func (r *Rollup) IsEmpty() bool {
	for _, money := range [...]pricing.Money{
		r.Money[usage.LLM], r.Money[usage.Tool], r.Money[usage.API], r.Money[usage.Compute], r.Model, r.Failed, r.Late,
	} {
		if !money.IsZero() {
			return false
		}
	}
	return r.InputTokens|r.OutputTokens|r.CacheReadTokens|r.CacheWriteTokens|r.ReasoningTokens|
		r.LLMCalls|r.ToolCalls|r.APICalls|r.Errors|r.Unpriced == 0
}

// Merge adds another rollup's figures to these.
func (r *Rollup) Merge(other *Rollup) {
	for i := range r.Money {
		r.Money[i] = r.Money[i].Add(other.Money[i])
	}
	r.Model = r.Model.Add(other.Model)
	r.Failed = r.Failed.Add(other.Failed)
	r.Late = r.Late.Add(other.Late)
	r.InputTokens += other.InputTokens
	r.OutputTokens += other.OutputTokens
	r.CacheReadTokens += other.CacheReadTokens
	r.CacheWriteTokens += other.CacheWriteTokens
	r.ReasoningTokens += other.ReasoningTokens
	r.LLMCalls += other.LLMCalls
	r.ToolCalls += other.ToolCalls
	r.APICalls += other.APICalls
	r.Errors += other.Errors
	r.Unpriced += other.Unpriced
	r.Incomplete = r.Incomplete || other.Incomplete
	r.Window = max(r.Window, other.Window)
	for _, d := range other.drivers {
		r.drive(d.name, d.pico)
	}
}

// drive counts money under the name of what it was spent on.
func (r *Rollup) drive(name string, pico pricing.Money) {
	at := r.driverAt(name)
	if at < 0 && len(r.drivers) >= maxDrivers {
		name = "other"
		at = r.driverAt(name)
	}
	if at < 0 {
		r.drivers = append(r.drivers, driver{name, pico})
		return
	}
	r.drivers[at].pico = r.drivers[at].pico.Add(pico)
}

func (r *Rollup) driverAt(name string) int {
	for i := range r.drivers {
		if r.drivers[i].name == name {
			return i
		}
	}
	return -1
}

// Driver names what costs most, with its share: `model:gpt-5 62%`; empty while nothing costs anything.
func (r *Rollup) Driver() string {
	var total pricing.Money
	var most *driver
	for i := range r.drivers {
		d := &r.drivers[i]
		if d.pico.Sign() > 0 {
			total = total.Add(d.pico)
		}
		if most == nil || d.pico.Cmp(most.pico) > 0 || d.pico == most.pico && d.name < most.name {
			most = d
		}
	}
	if total.IsZero() {
		return ""
	}
	return most.name + " " + strconv.FormatInt(percent(most.pico, total), 10) + "%"
}

// percent is a share of a total, rounded half up.
func percent(part, total pricing.Money) int64 {
	const fits = 1 << 54 // 200 times as much fits an int64
	if p, ok := part.Int64(); ok && p < fits {
		if t, ok := total.Int64(); ok && t < fits {
			return (200*p + t) / (2 * t)
		}
	}
	twice := new(big.Int).Lsh(total.Big(), 1)
	share := new(big.Int).Mul(part.Big(), big.NewInt(200))
	share.Add(share, total.Big())
	return share.Div(share, twice).Int64()
}

// Include counts one span with what it was charged. Spans that only mirror another bring money 0 and no call.
func (r *Rollup) Include(entry *Entry, charge *Charge) {
	if pico := charge.pico(); !pico.IsZero() {
		r.spend(entry, charge, pico)
	}
	reading := entry.Reading
	if reading == nil {
		return
	}
	if charge.Counts() {
		r.count(entry, charge)
		r.Window = max(r.Window, entry.Window)
		if charge.Status == Unpriced || charge.Status == Invalid {
			r.Unpriced++
		}
	}
	if charge.Usage != nil {
		r.InputTokens += charge.Usage.InputTokens().Whole()
		r.OutputTokens += charge.Usage.OutputTokens().Whole()
		r.CacheReadTokens += charge.Usage.Get(usage.CacheReadTokens).Whole()
		r.CacheWriteTokens += charge.Usage.Get(usage.CacheWriteTokens).Whole()
		r.ReasoningTokens += charge.Usage.Get(usage.OutputReasoningTokens).Whole()
	}
}

func (r *Rollup) spend(entry *Entry, charge *Charge, pico pricing.Money) {
	for component, part := range split(entry, charge, pico) {
		r.Money[component] = r.Money[component].Add(part)
	}
	if reading := entry.Reading; reading != nil && (reading.Kind == usage.KindCall || reading.Kind == usage.KindAggregate) {
		r.Model = r.Model.Add(pico)
	}
	if entry.Failed && pico.Sign() > 0 {
		r.Failed = r.Failed.Add(pico)
	}
	r.drive(driverName(entry.Reading), pico)
}

func (r *Rollup) count(entry *Entry, charge *Charge) {
	switch entry.Reading.Kind {
	case usage.KindCall:
		if charge.Status != Correction && charge.Status != Remainder && charge.Reason != fetchResponse {
			r.LLMCalls++
		}
	case usage.KindTool:
		r.ToolCalls++
	case usage.KindAPI:
		r.APICalls++
	default:
		return
	}
	if entry.Failed {
		r.Errors++
	}
}

// split shares a charge out to the components of its bill; what differs from the bill goes to the kind's own bucket.
func split(entry *Entry, charge *Charge, pico pricing.Money) (shares [usage.ComponentCount]pricing.Money) {
	home := homeOf(entry.Reading)
	bill := charge.Bill
	if bill == nil || !bill.HasTotal {
		shares[home] = pico
		return shares
	}
	if len(bill.Items) == 0 {
		shares[home] = bill.Total
	} else {
		shares = bill.ByComponent()
	}
	rest := pico
	for _, part := range shares {
		rest = rest.Sub(part)
	}
	shares[home] = shares[home].Add(rest)
	return shares
}

// homeOf is the bucket a reading's money falls into where no line item says it.
func homeOf(reading *usage.Reading) usage.Component {
	if reading == nil {
		return usage.LLM
	}
	switch reading.Kind {
	case usage.KindTool:
		return usage.Tool
	case usage.KindAPI:
		return usage.API
	case usage.KindCompute:
		return usage.Compute
	}
	return usage.LLM
}

// driverName names what a span spends on: its model, tool, API host, or compute.
func driverName(reading *usage.Reading) string {
	if reading == nil {
		return "other"
	}
	switch reading.Kind {
	case usage.KindCompute:
		return "compute"
	case usage.KindTool, usage.KindAPI:
		return reading.Kind.String() + ":" + firstOf(reading.Tool, "unnamed")
	}
	return "model:" + firstOf(reading.Model, reading.RequestModel, "unknown")
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
