package pricing

import (
	"math/big"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// headerPrefix stands before the name of a response header in a reading's context.
const headerPrefix = "http.response.header."

// feeBook is all rules of tools, HTTP APIs and machines, the user's first: found by what a span shows, never by its
// content.
type feeBook struct {
	tools, apis, machines []*rule
	currency              string
	exchange              func(currency string, day int64) (*big.Rat, bool)
	pricedTools           Members
	pricedHosts           Members
	attributes            []string
}

func newFeeBook(fees, machines []*rule, version string, o *Overrides) *feeBook {
	b := &feeBook{machines: machines, currency: o.currency, exchange: o.exchange}
	for _, r := range fees {
		component := usage.API
		if r.tool != nil {
			component = usage.Tool
			b.tools = append(b.tools, r)
		}
		if r.host != "" {
			b.apis = append(b.apis, r)
		}
		r.priceID = ruleID(r, version, component)
		if r.countedBy != "" && !slices.Contains(b.attributes, r.countedBy) {
			b.attributes = append(b.attributes, r.countedBy)
		}
	}
	slices.Sort(b.attributes)
	for _, r := range machines {
		r.priceID = ruleID(r, version, usage.Compute)
	}
	b.pricedTools = newMembers(len(b.tools) > 0, func(name string) bool {
		return slices.ContainsFunc(b.tools, func(r *rule) bool { return r.tool.matches(name) })
	})
	b.pricedHosts = newMembers(len(b.apis) > 0, func(host string) bool {
		host = lower(host)
		return slices.ContainsFunc(b.apis, func(r *rule) bool { return hostMatches(r.host, host) })
	})
	return b
}

func ruleID(r *rule, version string, component usage.Component) string {
	if r.byUser {
		version = userFile
	}
	return version + "/" + component.String() + "/" + r.id
}

// Members is a bounded, cached membership test: does any rule look at this name? Safe for many goroutines.
type Members struct {
	any   bool
	known *cache[string, bool]
	test  func(name string) bool
}

func newMembers(anyRule bool, test func(string) bool) Members {
	return Members{any: anyRule, known: newCache[string, bool](1024), test: test}
}

// Any tells whether there are any rules at all.
func (m Members) Any() bool { return m.any }

// Has tells whether any rule looks at a name.
func (m Members) Has(name string) bool {
	if !m.any {
		return false
	}
	hash := hashText(0, name)
	if found := m.known.get(hash, func(known *string) bool { return *known == name }); found != nil {
		return *found
	}
	found := m.test(name)
	if len(name) <= maxName {
		m.known.put(hash, strings.Clone(name), found)
	}
	return found
}

// hostMatches matches a host exactly, or anything below `*.example.com`; never in the middle of a name.
func hostMatches(pattern, host string) bool {
	if below, ok := strings.CutPrefix(pattern, "*"); ok && strings.HasPrefix(below, ".") {
		return strings.HasSuffix(host, below)
	}
	return host == pattern
}

// pathMatches matches a path with a template: `{x}` is one segment, a final `**` any rest (also none).
func pathMatches(template, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	wanted, given := segments(template), segments(path)
	if n := len(wanted); n > 0 && wanted[n-1] == "**" {
		wanted = wanted[:n-1]
		given = given[:min(n-1, len(given))]
	}
	return slices.EqualFunc(wanted, given, func(w, g string) bool {
		return w == g || strings.HasPrefix(w, "{") && strings.HasSuffix(w, "}")
	})
}

func segments(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" })
}

// noCharge is the bill of a tool or host nobody has a fee for.
var noCharge = Bill{
	Status: NotBilled, HasTotal: true, noCharge: true, Component: usage.Tool, Currency: bookCurrency,
	Reasons: []string{"no_fee"},
}

// tool prices a tool call; the first rule whose pattern matches the tool's name wins.
func (b *feeBook) tool(reading *usage.Reading, day int64) Bill {
	for _, r := range b.tools {
		if r.on(day) && r.tool.matches(reading.Tool) {
			return b.fee(r, reading, day, usage.Tool)
		}
	}
	return noCharge
}

// api prices an HTTP request by host, method and path.
func (b *feeBook) api(reading *usage.Reading, day int64) Bill {
	host := reading.Context.Get("host")
	if host == "" {
		host = reading.Tool
	}
	host = lower(host)
	if colon := strings.LastIndexByte(host, ':'); allDigits(host[colon+1:]) {
		host = host[:max(colon, 0)]
	}
	if !b.pricedHosts.Has(host) {
		return noCharge
	}
	method, path := strings.ToUpper(reading.Context.Get("method")), reading.Context.Get("path")
	for _, r := range b.apis {
		if r.on(day) && hostMatches(r.host, host) && (r.method == "" || r.method == method) &&
			(r.path == "" || pathMatches(r.path, path)) {
			return b.fee(r, reading, day, usage.API)
		}
	}
	return noCharge
}

// priced is the rate of a unit and the rule it is from.
type priced struct {
	rule *rule
	rate *ruleRate
}

func (b *feeBook) fee(r *rule, reading *usage.Reading, day int64, component usage.Component) Bill {
	failed := reading.Status == usage.StatusError || reading.Status == usage.StatusNotBilled
	if failed && !r.billErrors && component == usage.API {
		return Bill{
			Status: NotBilled, HasTotal: true, Component: component, Currency: bookCurrency,
			Reasons: []string{or(reading.Reason, "request_failed")},
		}
	}
	var quantities usage.Quantities
	if reading.HasUsage {
		quantities.Load(&reading.Usage)
	}
	if made := quantities.Usage(); made.IsEmpty() {
		call := usage.APIRequests
		if component == usage.Tool {
			call = usage.ToolCalls
		}
		quantities.Put(call, usage.Count(1))
	}
	if r.rate(usage.APIUnits) != nil && !quantities.Has(usage.APIUnits) {
		if counted, ok := countOf(reading.Context, r.countedBy); ok {
			quantities.Put(usage.APIUnits, counted)
		} else if r.defaultUnits > 0 {
			quantities.Put(usage.APIUnits, usage.Count(r.defaultUnits))
		}
	}
	if quantities.Has(usage.ToolCalls) && r.rate(usage.APIRequests) != nil {
		quantities.Put(usage.APIRequests, quantities.Get(usage.ToolCalls))
		quantities.Drop(usage.ToolCalls)
	}
	used := quantities.Usage()
	if problem := used.Contradiction(); problem != "" {
		bill := invalid(problem)
		bill.Component = component
		return bill
	}
	var found [usage.UnitCount]priced
	var missing []string
	for i := range r.rates {
		rate := &r.rates[i]
		found[rate.unit] = priced{r, rate}
		if !used.Has(rate.unit) {
			missing = append(missing, "no_quantity:"+rate.unit.String())
		}
	}
	return b.bill(&found, &used, day, missing, component)
}

// machine prices machine time: for each unit the first rule that matches the machine and prices the unit.
func (b *feeBook) machine(reading *usage.Reading, day int64) Bill {
	context := reading.Context
	machine := or(context.Get("machine"), reading.Model)
	provider := usage.CanonicalProvider(or(context.Get("cloud"), reading.Provider))
	var used usage.Usage
	if reading.HasUsage {
		used = reading.Usage
	}
	if problem := used.Contradiction(); problem != "" {
		bill := invalid(problem)
		bill.Component = usage.Compute
		return bill
	}
	var found [usage.UnitCount]priced
	for _, r := range b.machines {
		if r.on(day) && (r.provider == "" || provider == "" || r.provider == provider) &&
			holds(r.machine, machine) && holds(r.gpu, context.Get("gpu")) && holds(r.region, context.Get("region")) {
			for i := range r.rates {
				if place := &found[r.rates[i].unit]; place.rule == nil {
					*place = priced{r, &r.rates[i]}
				}
			}
		}
	}
	var missing []string
	if whole := found[usage.MachineSeconds]; whole.rule != nil && used.Has(usage.MachineSeconds) {
		// The whole machine is paid for: what ran inside it is detail, not a second price.
		found = [usage.UnitCount]priced{usage.MachineSeconds: whole}
	} else {
		for _, unit := range printed(used.Units()) {
			if found[unit].rule == nil && !used.Get(unit).IsZero() {
				missing = append(missing, "no_rate:"+unit.String())
			}
		}
	}
	bill := b.bill(&found, &used, day, missing, usage.Compute)
	if reading.Estimated && (bill.Status == Priced || bill.Status == Estimated) {
		bill.Status, bill.Source = Estimated, FromEstimate
		bill.Reasons = append(slices.Clip(bill.Reasons), or(reading.Reason, "estimated_usage"))
	}
	return bill
}

func (b *feeBook) bill(
	found *[usage.UnitCount]priced, used *usage.Usage, day int64, missing []string, component usage.Component,
) Bill {
	bill := Bill{HasTotal: true, Reasons: missing, Source: FromBook, Component: component, Currency: b.currency}
	free := true
	for _, unit := range unitsByName() {
		p := found[unit]
		if p.rule == nil || !used.Has(unit) {
			continue
		}
		quantity := used.Get(unit)
		worth, ok := b.exchange(p.rule.currency, day)
		if !ok {
			return unpriced([]string{"no_exchange_rate:" + p.rule.currency}, nil)
		}
		exact, factor := p.rate.exact, (*big.Rat)(nil)
		if worth.Cmp(one) != 0 {
			factor = worth
			exact = fractionOf(new(big.Rat).Mul(p.rate.pico(p.rate.price), worth))
		}
		cost, ok := exact.of(quantity)
		if !ok {
			bill = invalid(amountTooLarge)
			bill.Component = component
			return bill
		}
		if len(bill.Items) == 0 {
			bill.PriceID = p.rule.priceID
		}
		shown := &Rate{Price: p.rate.price, Per: p.rate.per, Factor: factor, Note: p.rule.id}
		bill.Items = append(bill.Items, LineItem{Unit: unit, Quantity: quantity, Rate: shown, Pico: cost})
		bill.Total = bill.Total.Add(cost)
		if p.rule.estimated {
			bill.Reasons = append(bill.Reasons, "market_rate:"+p.rule.id)
		}
		if p.rule.byUser {
			bill.Source = FromUser
		}
		free = free && p.rule.free
	}
	if len(bill.Items) == 0 {
		if len(bill.Reasons) == 0 {
			bill.Reasons = []string{"no_usage"}
		}
		return Bill{Status: Unpriced, Reasons: bill.Reasons, Component: component, Currency: bookCurrency}
	}
	switch {
	case len(missing) > 0:
		bill.Status = Partial
	case len(bill.Reasons) > 0:
		bill.Status = Estimated
	case free:
		bill.Status = Free
	default:
		bill.Status = Priced
	}
	return bill
}

func holds(pattern *glob, value string) bool {
	return pattern == nil || value != "" && pattern.matches(value)
}

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

// countOf reads a number of units from an attribute or a header; false when it is none.
func countOf(context usage.Context, key string) (usage.Quantity, bool) {
	if key == "" || !context.Has(key) {
		return usage.Quantity{}, false
	}
	number, ok := usage.ParseDecimal(trim(context.Get(key)))
	if !ok || number.Sign() < 0 {
		return usage.Quantity{}, false
	}
	exact, _ := new(big.Rat).SetString(number.String())
	if exact.Cmp(largestCount) > 0 {
		return usage.Quantity{}, false
	}
	nanos := divideHalfEven(new(big.Int).Mul(exact.Num(), billion), exact.Denom())
	whole, rest := new(big.Int).DivMod(nanos, billion, new(big.Int))
	return usage.Nanos(whole.Int64(), rest.Int64()), true
}

var (
	billion      = big.NewInt(1_000_000_000)
	largestCount = new(big.Rat).SetInt64(usage.MaxQuantity)
)
