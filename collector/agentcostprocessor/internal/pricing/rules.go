package pricing

import (
	"fmt"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Fee and machine rules: the bundled files and the user's have one form and one reader.

var (
	feeKeys = []string{
		"id", "tool", "host", "method", "path", "per_call", "per_unit", "per_megabyte", "free", "errors", "from", "to",
		"note",
	}
	machineKeys  = []string{"id", "provider", "machine", "gpu", "region", "rates", "estimated", "from", "to", "note"}
	machineUnits = func() (keys []string) {
		for _, unit := range unitsByName() {
			if unit.Component() == usage.Compute {
				keys = append(keys, unit.String())
			}
		}
		return keys
	}()
)

// ruleRate is the rate of one unit of a rule.
type ruleRate struct {
	unit usage.Unit
	unitRate
	exact fraction // pico-units of the rule's currency for each
}

func newRuleRate(unit usage.Unit, price string, per int64) ruleRate {
	made := ruleRate{unit: unit, unitRate: unitRate{price: price, per: per}}
	made.exact = fractionOf(made.pico(price))
	return made
}

// rule is one rule of fees.yaml, compute.yaml or the user's file. Empty conditions hold for everything.
type rule struct {
	id       string
	tool     *glob
	host     string
	method   string
	path     string
	provider string
	machine  *glob
	gpu      *glob
	region   *glob
	first    int64
	last     int64
	rates    []ruleRate // in the order they are asked for
	// countedBy is the attribute that tells the number of api_units; a header is `http.response.header.<name>`.
	countedBy    string
	defaultUnits int64 // 0 is none
	free         bool
	billErrors   bool
	estimated    bool
	byUser       bool
	currency     string
	priceID      string
}

func (r *rule) on(day int64) bool { return r.first <= day && day <= r.last }

func (r *rule) rate(unit usage.Unit) *ruleRate {
	for i := range r.rates {
		if r.rates[i].unit == unit {
			return &r.rates[i]
		}
	}
	return nil
}

// readFees reads `fees:` entries; errors name the dotted key.
func readFees(entries []map[string]any, currency string, byUser bool) ([]*rule, error) {
	return readRules("fees", entries, currency, byUser, readFee)
}

// readMachines reads `compute:` entries; errors name the dotted key.
func readMachines(entries []map[string]any, currency string, byUser bool) ([]*rule, error) {
	return readRules("compute", entries, currency, byUser, readMachine)
}

func readRules(
	section string, entries []map[string]any, currency string, byUser bool,
	read func(key string, entry map[string]any, made *rule) error,
) ([]*rule, error) {
	rules := make([]*rule, len(entries))
	for i, entry := range entries {
		key := fmt.Sprintf("%s[%d]", section, i)
		made := &rule{currency: currency, byUser: byUser}
		if err := read(key, entry, made); err != nil {
			return nil, err
		}
		rules[i] = made
	}
	return rules, nil
}

// reader takes values of one entry; after a mistake it reads no more, so the first one is told.
type reader struct {
	key   string
	entry map[string]any
	err   error
}

func (r *reader) has(name string) bool { _, ok := r.entry[name]; return ok }

func (r *reader) fail(name, problem, hint string) {
	if r.err == nil {
		key := r.key
		if name != "" {
			key += "." + name
		}
		r.err = wrong(key, problem, hint)
	}
}

func take[T any](r *reader, name string, read func(key string, value any) (T, error)) (value T) {
	if r.err == nil && r.has(name) {
		value, r.err = read(r.key+"."+name, r.entry[name])
	}
	return value
}

func (r *reader) days(made *rule) {
	if r.err != nil {
		return
	}
	var days constraint
	days, r.err = datesAt(r.key, r.entry)
	made.first, made.last = days.first, days.last
}

func (r *reader) id(made *rule) {
	made.id = r.key
	if r.has("id") {
		made.id = take(r, "id", textAt)
	}
}

func (r *reader) glob(name string) *glob {
	text := take(r, name, textAt)
	if text == "" {
		return nil
	}
	pattern := compileGlob(text)
	return &pattern
}

func readFee(key string, entry map[string]any, made *rule) error {
	if err := knownKeys(key, entry, feeKeys); err != nil {
		return err
	}
	r := &reader{key: key, entry: entry}
	if r.has("tool") == r.has("host") {
		r.fail("", "needs either `tool` or `host`", `e.g. tool: "web_search*" or host: api.example.com`)
	}
	call := usage.APIRequests
	if r.has("tool") {
		call = usage.ToolCalls
	}
	made.free = take(r, "free", flagAt)
	if made.free {
		made.rates = append(made.rates, newRuleRate(call, "0", 1))
	}
	if r.has("per_call") {
		price := take(r, "per_call", amountAt)
		if r.err == nil {
			made.rates = append(made.rates[:0], newRuleRate(call, price, 1))
		}
	}
	if r.has("per_megabyte") {
		price := take(r, "per_megabyte", amountAt)
		if r.err == nil {
			made.rates = append(made.rates, newRuleRate(usage.ResponseMegabytes, price, 1))
		}
	}
	if r.has("per_unit") && r.err == nil {
		r.err = readUnitFee(key+".per_unit", entry["per_unit"], made)
	}
	if len(made.rates) == 0 {
		r.fail("", "has no price", "per_call, per_unit, per_megabyte or free: true")
	}
	if errors, ok := entry["errors"]; ok && errors != "" && errors != "billed" {
		r.fail("errors", shown(errors)+" is unknown", "`billed`, or leave it out")
	} else {
		made.billErrors = errors == "billed"
	}
	r.days(made)
	r.id(made)
	made.tool = r.glob("tool")
	made.host = lower(take(r, "host", textAt))
	made.method = strings.ToUpper(take(r, "method", textAt))
	made.path = take(r, "path", textAt)
	return r.err
}

func readUnitFee(key string, value any, made *rule) error {
	unit, err := mappingAt(key, value)
	if err != nil {
		return err
	}
	if err := knownKeys(key, unit, []string{"price", "per", "attribute", "header", "default"}); err != nil {
		return err
	}
	r := &reader{key: key, entry: unit}
	per := int64(1)
	if r.has("per") {
		per = take(r, "per", positiveAt)
	}
	if r.err != nil {
		return r.err
	}
	price, err := amountAt(key+".price", unit["price"])
	if err != nil {
		return err
	}
	made.rates = append(made.rates, newRuleRate(usage.APIUnits, price, per))
	if r.has("attribute") {
		made.countedBy = take(r, "attribute", textAt)
	} else if r.has("header") {
		made.countedBy = headerPrefix + lower(take(r, "header", textAt))
	}
	made.defaultUnits = take(r, "default", positiveAt)
	return r.err
}

func readMachine(key string, entry map[string]any, made *rule) error {
	if err := knownKeys(key, entry, machineKeys); err != nil {
		return err
	}
	raw, err := mappingAt(key+".rates", entry["rates"])
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return wrong(key+".rates", "is empty", "one of "+strings.Join(machineUnits, ", "))
	}
	if err := knownKeys(key+".rates", raw, machineUnits); err != nil {
		return err
	}
	for _, name := range keysOf(raw) {
		unit, _ := usage.UnitOf(name)
		rate, err := readMachineRate(key+".rates."+name, unit, raw[name])
		if err != nil {
			return err
		}
		made.rates = append(made.rates, rate)
	}
	r := &reader{key: key, entry: entry}
	r.days(made)
	made.provider = usage.CanonicalProvider(take(r, "provider", textAt))
	made.machine = r.glob("machine")
	made.gpu = r.glob("gpu")
	made.region = r.glob("region")
	r.id(made)
	made.estimated = take(r, "estimated", flagAt)
	return r.err
}

func readMachineRate(key string, unit usage.Unit, value any) (ruleRate, error) {
	per := unit.Per()
	price := value
	priceKey := key
	if inner, isMapping := value.(map[string]any); isMapping {
		if err := knownKeys(key, inner, []string{"price", "per"}); err != nil {
			return ruleRate{}, err
		}
		if stated, ok := inner["per"]; ok {
			var err error
			if per, err = positiveAt(key+".per", stated); err != nil {
				return ruleRate{}, err
			}
		}
		price, priceKey = inner["price"], key+".price"
	}
	amount, err := amountAt(priceKey, price)
	if err != nil {
		return ruleRate{}, err
	}
	return newRuleRate(unit, amount, per), nil
}
