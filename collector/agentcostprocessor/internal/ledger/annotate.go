package ledger

import (
	"math"
	"slices"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/semconv"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// ValueType is what the value of a written attribute is.
type ValueType uint8

// The types of values that are written.
const (
	TextValue ValueType = iota
	IntValue
	DoubleValue
	BoolValue
)

// Attribute is one attribute to write on a span.
type Attribute struct {
	Key  string
	Type ValueType
	// Text is the value of a text.
	Text string
	bits uint64
}

// Int is the value of an integer.
func (a *Attribute) Int() int64 { return int64(a.bits) }

// Double is the value of a double.
func (a *Attribute) Double() float64 { return math.Float64frombits(a.bits) }

// Bool is the value of a truth value.
func (a *Attribute) Bool() bool { return a.bits != 0 }

// Attributes are the attributes to write on one span, in the order in which they are written, each key once.
type Attributes []Attribute

// Get returns the attribute of a key; nil when there is none.
func (a Attributes) Get(key string) *Attribute {
	for i := range a {
		if a[i].Key == key {
			return &a[i]
		}
	}
	return nil
}

func (a *Attributes) put(one Attribute) {
	if known := a.Get(one.Key); known != nil {
		*known = one
		return
	}
	*a = append(*a, one)
}

func (a *Attributes) text(key, value string) {
	a.put(Attribute{Key: key, Type: TextValue, Text: value})
}

func (a *Attributes) int(key string, value int64) {
	a.put(Attribute{Key: key, Type: IntValue, bits: uint64(value)})
}

func (a *Attributes) double(key string, value float64) {
	a.put(Attribute{Key: key, Type: DoubleValue, bits: math.Float64bits(value)})
}

func (a *Attributes) bool(key string, value bool) {
	one := Attribute{Key: key, Type: BoolValue}
	if value {
		one.bits = 1
	}
	a.put(one)
}

// money writes an amount as a double, the only place where money becomes one.
func (a *Attributes) money(key string, amount pricing.Money) { a.double(key, amount.Amount()) }

// Writing is what a user chose about the attributes.
type Writing struct {
	// Full adds the breakdown of a charge by what it was for.
	Full bool
	// MirrorUsageCost repeats the cost of calls under gen_ai.usage.cost.
	MirrorUsageCost bool
}

const usageCost = "gen_ai.usage.cost"

// AppendCharge appends the attributes of one charged span: amount, source and price id; a status and reason only when
// not simply priced.
func (w Writing) AppendCharge(to Attributes, charge *Charge, isCall bool) Attributes {
	bill := charge.Bill
	if charge.Claimed {
		to.money(semconv.CostAmount, charge.Pico)
		if source := charge.Source(); source != "" {
			to.text(semconv.CostSource, source)
		}
		if bill != nil && bill.PriceID != "" && charge.Counts() {
			to.text(semconv.PriceID, bill.PriceID)
		}
		if charge.Currency != defaultCurrency {
			to.text(semconv.CostCurrency, charge.Currency)
		}
		if isCall && w.MirrorUsageCost && charge.Counts() {
			to.money(usageCost, charge.Pico)
		}
	}
	if charge.Status != Priced {
		to.text(semconv.CostStatus, charge.Status.String())
		if charge.Reason != "" {
			to.text(semconv.CostReason, charge.Reason)
		}
	}
	if w.Full && bill != nil && charge.Counts() && charge.Claimed && bill.HasTotal && charge.Pico == bill.Total {
		to.details(bill)
	}
	return to
}

// details writes the money of a bill by what it was for, by name.
func (a *Attributes) details(bill *pricing.Bill) {
	by := bill.ByDetail()
	names := make([]string, 0, len(by))
	for name := range by {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		a.money("agentcost.cost."+name, by[name])
	}
}

// scopeNames are the names of one rollup's attributes.
type scopeNames struct {
	total, pico, failed, band                         string
	money                                             [usage.ComponentCount]string
	input, output, cacheRead, cacheWrite, reasoning   string
	llmCalls, toolCalls, apiCalls                     string
	errors, unpriced, complete, driver, window, lates string
}

var sessionNames = scopeNames{
	total: semconv.SessionCostTotal, pico: semconv.SessionCostPico,
	failed: semconv.SessionCostFailed, band: semconv.SessionCostBand,
	money: [usage.ComponentCount]string{
		semconv.SessionCostLLM, semconv.SessionCostTool, semconv.SessionCostAPI, semconv.SessionCostCompute,
	},
	input: semconv.SessionTokensInput, output: semconv.SessionTokensOutput,
	cacheRead: semconv.SessionTokensCacheRead, cacheWrite: semconv.SessionTokensCacheWrite,
	reasoning: semconv.SessionTokensReasoning,
	llmCalls:  semconv.SessionCallsLLM, toolCalls: semconv.SessionCallsTool, apiCalls: semconv.SessionCallsAPI,
	errors: semconv.SessionErrors, unpriced: semconv.SessionUnpriced, complete: semconv.SessionComplete,
	driver: semconv.SessionDriver, window: semconv.SessionContextWindowMaxUtilization, lates: semconv.SessionLate,
}

var subtreeNames = scopeNames{
	total: semconv.SubtreeCostTotal, pico: semconv.SubtreeCostPico, failed: semconv.SubtreeCostFailed,
	money: [usage.ComponentCount]string{
		semconv.SubtreeCostLLM, semconv.SubtreeCostTool, semconv.SubtreeCostAPI, semconv.SubtreeCostCompute,
	},
	input: semconv.SubtreeTokensInput, output: semconv.SubtreeTokensOutput,
	cacheRead: semconv.SubtreeTokensCacheRead, cacheWrite: semconv.SubtreeTokensCacheWrite,
	reasoning: semconv.SubtreeTokensReasoning,
	llmCalls:  semconv.SubtreeCallsLLM, toolCalls: semconv.SubtreeCallsTool, apiCalls: semconv.SubtreeCallsAPI,
	errors: semconv.SubtreeErrors, unpriced: semconv.SubtreeUnpriced, complete: semconv.SubtreeComplete,
	driver: semconv.SubtreeDriver, window: semconv.SubtreeContextWindowMaxUtilization, lates: semconv.SubtreeLate,
}

// AppendSession appends agentcost.session.* from the totals of a session.
func AppendSession(to Attributes, rollup *Rollup, complete bool) Attributes {
	to.rollup(&sessionNames, rollup, complete)
	return to
}

// AppendSubtree appends agentcost.subtree.* from the totals of a span and everything below it.
func AppendSubtree(to Attributes, rollup *Rollup, complete bool) Attributes {
	to.rollup(&subtreeNames, rollup, complete)
	return to
}

func (a *Attributes) rollup(names *scopeNames, r *Rollup, complete bool) {
	total := r.Total()
	a.money(names.total, total)
	if pico, fits := total.Int64(); fits { // an attribute has 64 bits
		a.int(names.pico, pico)
	}
	for component, pico := range r.Money {
		if !pico.IsZero() || usage.Component(component) == usage.LLM {
			a.money(names.money[component], pico)
		}
	}
	a.int(names.input, r.InputTokens)
	a.int(names.output, r.OutputTokens)
	a.intUnless0(names.cacheRead, r.CacheReadTokens)
	a.intUnless0(names.cacheWrite, r.CacheWriteTokens)
	a.intUnless0(names.reasoning, r.ReasoningTokens)
	a.int(names.llmCalls, r.LLMCalls)
	a.intUnless0(names.toolCalls, r.ToolCalls)
	a.intUnless0(names.apiCalls, r.APICalls)
	a.bool(names.complete, complete && !r.Incomplete)
	a.intUnless0(names.errors, r.Errors)
	if !r.Failed.IsZero() {
		a.money(names.failed, r.Failed)
	}
	a.intUnless0(names.unpriced, r.Unpriced)
	if driver := r.Driver(); driver != "" {
		a.text(names.driver, driver)
	}
	if r.Window != 0 {
		a.double(names.window, r.Window)
	}
	if names.band != "" {
		a.text(names.band, Band(total))
	}
	if !r.Late.IsZero() {
		a.money(names.lates, r.Late)
	}
}

func (a *Attributes) intUnless0(key string, value int64) {
	if value != 0 {
		a.int(key, value)
	}
}

var bands = [...]struct {
	limit int64
	name  string
}{
	{1e8, "0-0.0001"},
	{1e9, "0.0001-0.001"},
	{1e10, "0.001-0.01"},
	{1e11, "0.01-0.10"},
	{1e12, "0.10-1.00"},
	{1e13, "1-10"},
	{1e14, "10-100"},
}

// Band names the decade of an amount, for backends that only search for equal strings: `0.10-1.00`.
func Band(amount pricing.Money) string {
	if amount.Sign() <= 0 {
		return "0"
	}
	for _, band := range bands {
		if amount.Cmp(pricing.Pico(band.limit)) < 0 {
			return band.name
		}
	}
	return "100+"
}
