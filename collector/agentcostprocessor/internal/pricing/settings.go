package pricing

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// The price part of agentcost.yaml: read, checked, every mistake named.

// PriceKeys are the top-level keys of agentcost.yaml that ReadOverrides reads.
var PriceKeys = []string{"prices", "discounts", "fees", "compute", "aliases", "currency", "rates"}

var (
	dateKeys  = []string{"from", "to", "windows", "weekdays"}
	priceKeys = append([]string{
		"provider", "model", "units", "variants", "free", "tier_mode", "context_window", "currency", "note",
	}, dateKeys...)
)

// ReadOverrides reads and checks the price part of an already parsed agentcost.yaml: the keys of PriceKeys. Errors are
// *ConfigError and name the dotted key (`prices[0].units.input_tokens.price`), the value and what to do.
func ReadOverrides(settings map[string]any) (*Overrides, error) {
	if err := knownKeys("", settings, PriceKeys); err != nil {
		return nil, err
	}
	o := NoOverrides()
	steps := []func(map[string]any) error{
		o.readCurrency, o.readPrices, o.readDiscounts, o.readFees, o.readMachines, o.readAliases, o.checkCurrencies,
	}
	for _, read := range steps {
		if err := read(settings); err != nil {
			return nil, err
		}
	}
	isTimed := func(d dated) bool { return len(d.constraint.windows) > 0 }
	o.timed = slices.ContainsFunc(o.prices, func(p userPrice) bool {
		return isTimed(p.standard) || slices.ContainsFunc(p.variants, isTimed)
	}) || slices.ContainsFunc(o.discounts, func(d discount) bool { return len(d.constraint.windows) > 0 })
	return o, nil
}

func entriesOf(settings map[string]any, section string) ([]map[string]any, error) {
	items, err := optionalList(section, settings[section])
	if err != nil {
		return nil, err
	}
	entries := make([]map[string]any, len(items))
	for i, item := range items {
		if entries[i], err = mappingAt(fmt.Sprintf("%s[%d]", section, i), item); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func (o *Overrides) readCurrency(settings map[string]any) error {
	if stated, ok := settings["currency"]; ok {
		code, err := currencyAt("currency", stated)
		if err != nil {
			return err
		}
		o.currency = code
	}
	section, err := optionalMapping("rates", settings["rates"])
	if err != nil {
		return err
	}
	o.rates = make(map[string][]worth, len(section))
	for _, code := range keysOf(section) {
		if o.rates[code], err = readWorth("rates."+code, code, section[code]); err != nil {
			return err
		}
	}
	if _, known := o.rates[bookCurrency]; o.currency != bookCurrency && !known {
		return wrong("rates.USD", "is missing, but currency is "+o.currency,
			"say how much "+o.currency+" one dollar is: rates: {USD: 0.92}")
	}
	return nil
}

func readWorth(key, code string, value any) ([]worth, error) {
	if _, err := currencyAt(key, code); err != nil {
		return nil, err
	}
	steps, isList := value.([]any)
	if !isList {
		steps = []any{map[string]any{"rate": value}}
	}
	var read []worth
	for i, step := range steps {
		where, rateKey := key, key
		if isList {
			where = fmt.Sprintf("%s[%d]", key, i)
			rateKey = where + ".rate"
		}
		entry, err := mappingAt(where, step)
		if err != nil {
			return nil, err
		}
		if err := knownKeys(where, entry, []string{"from", "rate"}); err != nil {
			return nil, err
		}
		rate, err := numberAt(rateKey, entry["rate"])
		if err != nil {
			return nil, err
		}
		if rate.Sign() <= 0 {
			return nil, wrong(key, shown(entry["rate"])+" is not above 0", "")
		}
		first := int64(firstDay)
		if from, ok := entry["from"]; ok {
			day, err := dayAt(where+".from", from)
			if err != nil {
				return nil, err
			}
			first, _ = dayNumber(day)
		}
		read = append(read, worth{first, rate})
	}
	slices.SortStableFunc(read, func(a, b worth) int {
		if a.first != b.first {
			return int(a.first - b.first)
		}
		return a.rate.Cmp(b.rate)
	})
	return read, nil
}

func (o *Overrides) checkCurrencies(map[string]any) error {
	for i := range o.prices {
		if _, ok := o.exchange(o.prices[i].currency, 0); !ok {
			code := o.prices[i].currency
			return wrong(o.prices[i].key+".currency", "no rate for "+code, "add rates: {"+code+": ...}")
		}
	}
	return nil
}

// providerPattern reads `provider:`; a plain name is known by any of its aliases.
func (r *reader) providerPattern() (pattern *glob, plain string) {
	name := take(r, "provider", textAt)
	if name == "" {
		return nil, ""
	}
	plain = usage.CanonicalProvider(name)
	if strings.ContainsAny(name, "*?") {
		plain = lower(name)
	}
	made := compileGlob(plain)
	return &made, plain
}

func (o *Overrides) readPrices(settings map[string]any) error {
	entries, err := entriesOf(settings, "prices")
	if err != nil {
		return err
	}
	for i, entry := range entries {
		price, err := o.readPrice(fmt.Sprintf("prices[%d]", i), entry)
		if err != nil {
			return err
		}
		o.prices = append(o.prices, price)
	}
	return nil
}

func (o *Overrides) readPrice(key string, entry map[string]any) (userPrice, error) {
	price := userPrice{key: key, currency: o.currency}
	if err := knownKeys(key, entry, priceKeys); err != nil {
		return price, err
	}
	r := &reader{key: key, entry: entry}
	if !r.has("model") {
		r.fail("model", "is missing", `name a model or a pattern, e.g. "acme-*"`)
	}
	price.free = take(r, "free", flagAt)
	if !price.free && saysNothing(entry["units"]) {
		r.fail("units", "is missing", "give at least one unit, e.g. units: {input_tokens: 1.5}, or free: true")
	}
	if mode := entry["tier_mode"]; !saysNothing(mode) {
		if mode != wholeRequest && mode != graduated {
			r.fail("tier_mode", shown(mode)+" is unknown", "one of "+wholeRequest+", "+graduated)
		} else {
			price.mode = mode.(string)
		}
	}
	price.provider, _ = r.providerPattern()
	if model := r.glob("model"); model != nil {
		price.model = *model
	}
	if r.err != nil {
		return price, r.err
	}
	var err error
	if price.standard, err = readDated(key, entry, nil); err != nil {
		return price, err
	}
	variants, err := optionalList(key+".variants", entry["variants"])
	if err != nil {
		return price, err
	}
	for i, item := range variants {
		variant, err := readVariant(fmt.Sprintf("%s.variants[%d]", key, i), item)
		if err != nil {
			return price, err
		}
		price.variants = append(price.variants, variant)
	}
	if window, ok := entry["context_window"]; ok && window != nil {
		price.window = take(r, "context_window", positiveAt)
	}
	if r.has("currency") {
		price.currency = take(r, "currency", currencyAt)
	}
	return price, r.err
}

func readDated(key string, entry map[string]any, conditions when) (dated, error) {
	read := dated{when: conditions, rates: make(rates)}
	units, err := optionalMapping(key+".units", entry["units"])
	if err != nil {
		return read, err
	}
	for _, name := range keysOf(units) {
		unit, known := usage.UnitOf(name)
		if !known {
			return read, unknownUnit(key+".units", name)
		}
		if read.rates[unit], err = readUserRate(key+".units."+name, unit, units[name]); err != nil {
			return read, err
		}
	}
	read.constraint, err = datesAt(key, entry)
	return read, err
}

func unknownUnit(key, name string) error {
	names := make([]string, 0, usage.UnitCount)
	for _, unit := range unitsByName() {
		names = append(names, unit.String())
	}
	return knownKeys(key, map[string]any{name: nil}, names)
}

func readVariant(key string, item any) (dated, error) {
	entry, err := mappingAt(key, item)
	if err != nil {
		return dated{}, err
	}
	if err := knownKeys(key, entry, append([]string{"when", "units"}, dateKeys...)); err != nil {
		return dated{}, err
	}
	conditions, err := mappingAt(key+".when", entry["when"])
	if err != nil {
		return dated{}, err
	}
	if len(conditions) == 0 {
		return dated{}, wrong(key+".when", "is empty", "e.g. when: {service_tier: flex}")
	}
	wanted := make(when, len(conditions))
	for _, name := range keysOf(conditions) {
		value, err := textAt(key+".when."+name, conditions[name])
		if err != nil {
			return dated{}, err
		}
		wanted[name] = texts{value}
	}
	return readDated(key, entry, wanted)
}

func readUserRate(key string, unit usage.Unit, value any) (unitRate, error) {
	rate := unitRate{per: unit.Per()}
	raw, err := mappingAt(key, value)
	if err != nil {
		rate.price, err = amountAt(key, value)
		return rate, err
	}
	if err := knownKeys(key, raw, []string{"price", "per", "tiers"}); err != nil {
		return rate, err
	}
	if _, ok := raw["price"]; !ok {
		return rate, wrong(key+".price", "is missing", "")
	}
	if rate.price, err = amountAt(key+".price", raw["price"]); err != nil {
		return rate, err
	}
	if per, ok := raw["per"]; ok {
		if rate.per, err = positiveAt(key+".per", per); err != nil {
			return rate, err
		}
	}
	rate.tiers, err = readTiers(key+".tiers", raw["tiers"])
	return rate, err
}

func readTiers(key string, value any) ([]tier, error) {
	steps, err := optionalList(key, value)
	if err != nil {
		return nil, err
	}
	var tiers []tier
	for i, item := range steps {
		where := fmt.Sprintf("%s[%d]", key, i)
		step, err := mappingAt(where, item)
		if err != nil {
			return nil, err
		}
		if err := knownKeys(where, step, []string{"gt", "gte", "price"}); err != nil {
			return nil, err
		}
		_, beyond := step["gt"]
		_, from := step["gte"]
		if beyond == from {
			return nil, wrong(where, "needs `gt` or `gte`", "e.g. {gt: 200000, price: 2.5}")
		}
		op := "gt"
		if from {
			op = "gte"
		}
		made := tier{inclusive: from}
		if made.threshold, err = positiveAt(where+"."+op, step[op]); err != nil {
			return nil, err
		}
		if made.price, err = amountAt(where+".price", step["price"]); err != nil {
			return nil, err
		}
		tiers = append(tiers, made)
	}
	if !slices.IsSortedFunc(tiers, func(a, b tier) int { return int(a.threshold - b.threshold) }) {
		return nil, wrong(key, "are not in ascending order", "")
	}
	return tiers, nil
}

func (o *Overrides) readDiscounts(settings map[string]any) error {
	entries, err := entriesOf(settings, "discounts")
	if err != nil {
		return err
	}
	for i, entry := range entries {
		read, err := readDiscount(fmt.Sprintf("discounts[%d]", i), entry)
		if err != nil {
			return err
		}
		o.discounts = append(o.discounts, read)
	}
	return nil
}

func readDiscount(key string, entry map[string]any) (discount, error) {
	read := discount{key: key, target: target{model: glob{all: true}}}
	if err := knownKeys(key, entry, append([]string{"provider", "model", "units", "percent", "note"}, dateKeys...)); err != nil {
		return read, err
	}
	r := &reader{key: key, entry: entry}
	if !r.has("percent") {
		r.fail("percent", "is missing", "e.g. percent: 15")
	}
	percent := take(r, "percent", numberAt)
	if r.err != nil {
		return read, r.err
	}
	read.percent, _ = plainText(percent, 4*maxSize)
	if percent.Sign() < 0 || percent.Cmp(hundred) > 0 {
		return read, wrong(key+".percent", read.percent+" is not between 0 and 100", "")
	}
	units, err := optionalList(key+".units", entry["units"])
	if err != nil {
		return read, err
	}
	for i, item := range units {
		name := fmt.Sprint(item)
		unit, known := usage.UnitOf(name)
		if !known {
			return read, unknownUnit(fmt.Sprintf("%s.units[%d]", key, i), name)
		}
		read.units |= usage.SetOf(unit)
	}
	read.provider, _ = r.providerPattern()
	if r.has("model") {
		if model := r.glob("model"); model != nil {
			read.model = *model
		}
	}
	read.factor = new(big.Rat).Sub(one, new(big.Rat).Quo(percent, hundred))
	if r.err == nil {
		read.constraint, r.err = datesAt(key, entry)
	}
	return read, r.err
}

func (o *Overrides) readFees(settings map[string]any) error {
	entries, err := entriesOf(settings, "fees")
	if err == nil {
		o.fees, err = readFees(entries, o.currency, true)
	}
	return err
}

func (o *Overrides) readMachines(settings map[string]any) error {
	entries, err := entriesOf(settings, "compute")
	if err == nil {
		o.machines, err = readMachines(entries, o.currency, true)
	}
	return err
}

func (o *Overrides) readAliases(settings map[string]any) error {
	section, err := optionalMapping("aliases", settings["aliases"])
	if err != nil {
		return err
	}
	o.aliases = make(map[string][]userAlias, len(section))
	for _, name := range keysOf(section) {
		steps, isList := section[name].([]any)
		if !isList {
			steps = []any{section[name]}
		}
		read := make([]userAlias, len(steps))
		for i, step := range steps {
			if read[i], err = readAlias("aliases."+name, step); err != nil {
				return err
			}
		}
		o.aliases[lower(trim(name))] = read
	}
	return nil
}

func readAlias(key string, step any) (userAlias, error) {
	read := userAlias{constraint: always}
	if plain, ok := step.(string); ok {
		var err error
		read.model, err = textAt(key, plain)
		return read, err
	}
	entry, err := mappingAt(key, step)
	if err != nil {
		return read, err
	}
	if err := knownKeys(key, entry, []string{"model", "provider", "from", "to"}); err != nil {
		return read, err
	}
	r := &reader{key: key, entry: entry}
	if !r.has("model") {
		r.fail("model", "is missing", "the model this name stands for")
	}
	_, read.provider = r.providerPattern()
	read.model = take(r, "model", textAt)
	if r.err == nil {
		read.constraint, r.err = datesAt(key, entry)
	}
	return read, r.err
}
