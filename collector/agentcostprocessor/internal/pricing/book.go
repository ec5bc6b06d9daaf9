package pricing

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/data"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// bookFormat is the form of price book this engine reads.
const bookFormat = "agentcost-prices/1"

const (
	plansSize   = 4096
	matchesSize = 4096
	// maxKey is the longest key that is remembered; a longer one is hostile and is worked out each time.
	maxKey = 4096
)

// baseKeys are context keys every price may depend on.
var baseKeys = []string{
	"service_tier", "request_service_tier", "speed", "processing", "host", "region", "inference_geo", "data_zone",
}

// content is a parsed price book with its fee and machine files; shared by all books over it.
type content struct {
	version   string
	catalogue *catalogue
	fees      []map[string]any
	machines  []map[string]any
	relevant  map[string]uint64
}

// Book has dated prices of models, tools, APIs and machines, with the user's own laid over them:
//
//	provider-reported > user (stated, prices, discounts) > overlay > book > emitter's own figure > unpriced
//
// It never reads a clock, never fails for a reading, and keeps bounded memories of what it found and of what it did not
// find. Safe for many goroutines.
type Book struct {
	content   *content
	overrides *Overrides
	fees      *feeBook
	relevant  map[string]uint64 // context keys, numbered
	plans     *cache[question, *answer]
	matches   *cache[sought, *found]
}

// Bundled returns the book that is embedded; read on first use, then shared.
func Bundled() *Book { return bundled() }

var bundled = sync.OnceValue(func() *Book {
	book, err := NewBook(bundledFiles())
	if err != nil {
		panic(fmt.Errorf("embedded prices: %w", err))
	}
	return book
})

// NewBook reads a price book; fees and machines may be nil. Models are read when they are first asked for: Check reads
// them all.
func NewBook(prices, fees, machines []byte) (*Book, error) {
	var raw struct {
		Format    string        `json:"format"`
		Version   string        `json:"version"`
		Providers []rawProvider `json:"providers"`
	}
	if err := json.Unmarshal(prices, &raw); err != nil {
		return nil, fmt.Errorf("price book: %w", err)
	}
	if raw.Format != bookFormat {
		return nil, fmt.Errorf("price book: format %q is not %q", raw.Format, bookFormat)
	}
	if raw.Version == "" {
		return nil, fmt.Errorf("price book: no version")
	}
	c := &content{version: raw.Version}
	var err error
	if c.relevant, err = relevantKeys(raw.Providers); err != nil {
		return nil, fmt.Errorf("price book: %w", err)
	}
	if c.catalogue, err = newCatalogue(raw.Providers); err != nil {
		return nil, fmt.Errorf("price book: %w", err)
	}
	if c.fees, err = readEntries(fees, "fees"); err != nil {
		return nil, err
	}
	if c.machines, err = readEntries(machines, "compute"); err != nil {
		return nil, err
	}
	return newBook(c, NoOverrides())
}

func readEntries(raw []byte, section string) ([]map[string]any, error) {
	if raw == nil {
		return nil, nil
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber() // prices are read by their digits
	var file map[string]any
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("%s file: %w", section, err)
	}
	return entriesOf(file, section)
}

func newBook(c *content, o *Overrides) (*Book, error) {
	fees, err := readFees(c.fees, bookCurrency, false)
	if err != nil {
		return nil, err
	}
	machines, err := readMachines(c.machines, bookCurrency, false)
	if err != nil {
		return nil, err
	}
	relevant := c.relevant
	if len(o.prices) > 0 {
		relevant = maps.Clone(relevant)
		for i := range o.prices {
			for _, variant := range o.prices[i].variants {
				numberKeys(relevant, variant.when)
			}
		}
	}
	return &Book{
		content: c, overrides: o, relevant: relevant,
		fees:    newFeeBook(slices.Concat(o.fees, fees), slices.Concat(o.machines, machines), c.version, o),
		plans:   newCache[question, *answer](plansSize),
		matches: newCache[sought, *found](matchesSize),
	}, nil
}

// relevantKeys numbers the context keys any price depends on; nothing else may widen the memory.
func relevantKeys(providers []rawProvider) (map[string]uint64, error) {
	keys := make(map[string]uint64)
	for _, key := range baseKeys {
		numberKeys(keys, when{key: nil})
	}
	note := func(w when) { numberKeys(keys, w) }
	for i := range providers {
		for j := range providers[i].Multipliers {
			note(providers[i].Multipliers[j].When)
		}
		for j := range providers[i].Measures {
			note(providers[i].Measures[j].Unless)
		}
		for j := range providers[i].Models {
			model := &providers[i].Models[j]
			if model.Variants == nil {
				continue
			}
			var variants []struct {
				When when `json:"when"`
			}
			if err := json.Unmarshal(model.Variants, &variants); err != nil {
				return nil, fmt.Errorf("%s/%s: variants: %w", providers[i].ID, model.ID, err)
			}
			for _, variant := range variants {
				note(variant.When)
			}
		}
	}
	return keys, nil
}

func numberKeys(keys map[string]uint64, conditions when) {
	for key := range conditions {
		if keys[key] == 0 {
			keys[key] = uint64(len(keys) + 1)
		}
	}
}

// Version is the version of the price book, the first part of price ids.
func (b *Book) Version() string { return b.content.version }

// Currency is the currency of all bills.
func (b *Book) Currency() string { return b.overrides.currency }

// Check reads every model of the book, so that a file that was just loaded is known to be good.
func (b *Book) Check() error { return b.content.catalogue.check() }

// WithOverrides returns the same book under a user's prices, discounts, fees, aliases and currency.
func (b *Book) WithOverrides(o *Overrides) (*Book, error) { return newBook(b.content, o) }

// PricedTools tells which tools any rule has a fee for.
func (b *Book) PricedTools() Members { return b.fees.pricedTools }

// PricedHosts tells which hosts any rule has a fee for.
func (b *Book) PricedHosts() Members { return b.fees.pricedHosts }

// FeeAttributes are the attributes (`http.response.header.<name>` for headers) a reading's context must carry so that
// units can be counted; sorted.
func (b *Book) FeeAttributes() []string { return b.fees.attributes }

// ContextWindow returns how many tokens fit into a model's context; false when nobody says.
func (b *Book) ContextWindow(provider, model string) (int64, bool) {
	if len(b.overrides.prices) > 0 {
		names := namesOf(model)
		seller := usage.CanonicalProvider(provider)
		for i := len(b.overrides.prices) - 1; i >= 0; i-- {
			price := &b.overrides.prices[i]
			if price.window > 0 && price.matches(seller, names) {
				return price.window, true
			}
		}
	}
	match, _ := b.find(sought{provider: provider, model: model})
	if match == nil || match.entry == nil {
		return 0, false
	}
	return match.entry.tariff.window, match.entry.tariff.window > 0
}

// Price returns what a reading costs; at is the start of its span in Unix nanoseconds.
func (b *Book) Price(reading *usage.Reading, at int64) (bill Bill) {
	if reading.ReportedBy != usage.Nobody && reading.ReportedBy != usage.ByEmitter {
		if total, ok := b.reported(reading, at); ok {
			return b.stated(reading, total)
		}
	}
	if reading.Status == usage.StatusInvalid {
		return invalid(or(reading.Reason, "invalid_usage"))
	}
	switch reading.Kind {
	case usage.KindTool:
		bill = b.fees.tool(reading, dayOf(at))
	case usage.KindAPI:
		bill = b.fees.api(reading, dayOf(at))
	case usage.KindCompute:
		bill = b.fees.machine(reading, dayOf(at))
	default:
		if len(reading.Parts) > 0 {
			bill = b.parts(reading, at)
		} else if reading.HasUsage {
			b.usageBill(&bill, reading, reading.Model, &reading.Usage, at, "")
		} else {
			bill = withoutUsage(reading)
		}
	}
	if bill.Status == Unpriced && reading.ReportedBy == usage.ByEmitter {
		return b.emitted(reading, at, bill)
	}
	return bill
}

// stated: the figure of the provider (or of the user, through our API) wins over every table (rule 24).
func (b *Book) stated(reading *usage.Reading, total Money) Bill {
	bill := Bill{
		Status: ProviderReported, Source: FromProvider, HasTotal: true, Total: total, Currency: b.overrides.currency,
		Component: componentOf(reading.Kind), Notes: []string{"stated in the provider's response"},
	}
	if reading.ReportedBy == usage.ByUser {
		bill.Status, bill.Source, bill.Notes = Priced, FromUser, []string{"stated by the application"}
	}
	return bill
}

// emitted: the figure an instrumentation computed is the last resort, and an estimate.
func (b *Book) emitted(reading *usage.Reading, at int64, bill Bill) Bill {
	total, ok := b.reported(reading, at)
	if !ok {
		return bill
	}
	return Bill{
		Status: Estimated, Source: FromEstimate, HasTotal: true, Total: total, Currency: b.overrides.currency,
		Component: componentOf(reading.Kind), Notes: bill.Notes,
		Reasons: append([]string{"reported_by_emitter"}, bill.Reasons...),
	}
}

// reported returns a stated amount in the book's currency: rounded to a pico-unit as it was stated, and once more when
// the currency is changed. False when no rate is known for the currency, or the amount is beyond belief.
func (b *Book) reported(reading *usage.Reading, at int64) (Money, bool) {
	worth, ok := b.overrides.exchange(or(reading.ReportedCurrency, bookCurrency), dayOf(at))
	if !ok {
		return Money{}, false
	}
	var amount Money
	if pico, fits := reading.ReportedCost.Scaled(12); fits {
		amount = Pico(pico)
	} else {
		exact, _ := new(big.Rat).SetString(reading.ReportedCost.String())
		if amount, ok = rounded(exact.Mul(exact, new(big.Rat).SetInt64(picoPerUnit))); !ok {
			return Money{}, false
		}
	}
	if worth.Cmp(one) != 0 {
		return rounded(new(big.Rat).Mul(new(big.Rat).SetInt(amount.Big()), worth))
	}
	return amount, true
}

func componentOf(kind usage.Kind) usage.Component {
	switch kind {
	case usage.KindTool:
		return usage.Tool
	case usage.KindAPI:
		return usage.API
	case usage.KindCompute:
		return usage.Compute
	}
	return usage.LLM
}

// withoutUsage: a failed request without usage costs nothing, anything else nobody knows (rule 39).
func withoutUsage(reading *usage.Reading) Bill {
	if reading.Status == usage.StatusError || reading.Status == usage.StatusNotBilled {
		bill := Bill{Status: NotBilled, HasTotal: true, Currency: bookCurrency}
		if reading.Reason != "" {
			bill.Reasons = []string{reading.Reason}
		}
		return bill
	}
	return unpriced([]string{or(reading.Reason, "no_usage")}, nil)
}

func (b *Book) usageBill(
	bill *Bill, reading *usage.Reading, model string, used *usage.Usage, at int64, label string,
) {
	asked := question{
		sought:  sought{reading.Provider, model, reading.RequestModel, "", dayOf(at)},
		units:   used.Units(),
		minute:  anyMinute,
		context: reading.Context,
	}
	known := b.answer(&asked)
	if known.timed {
		asked.minute = int32(minuteOf(at))
		known = b.answer(&asked)
	}
	if known.plan == nil {
		*bill = known.bill
		return
	}
	estimated := ""
	if reading.Estimated {
		estimated = or(reading.Reason, "estimated_usage")
	}
	known.plan.bill(bill, used, estimated, label)
}

// parts prices each model's part at its own rates: the sum is the bill.
func (b *Book) parts(reading *usage.Reading, at int64) Bill {
	bills := make([]Bill, len(reading.Parts))
	for i := range reading.Parts {
		part := &reading.Parts[i]
		b.usageBill(&bills[i], reading, or(part.Model, reading.Model), &part.Usage, at, part.Model)
	}
	return merged(bills, b.overrides.currency)
}

// ranks orders statuses by how little they promise.
var ranks = map[Status]int{Priced: 0, Free: 0, Estimated: 1, Partial: 2, Unpriced: 3, Invalid: 4}

func merged(bills []Bill, currency string) Bill {
	sum := Bill{Currency: currency}
	worst := &bills[0]
	var ids []string
	anyPriced := false
	sources := make(map[Source]bool)
	for i := range bills {
		bill := &bills[i]
		if ranks[bill.Status] > ranks[worst.Status] {
			worst = bill
		}
		anyPriced = anyPriced || bill.Status == Priced
		for _, reason := range bill.Reasons {
			if !slices.Contains(sum.Reasons, reason) {
				sum.Reasons = append(sum.Reasons, reason)
			}
		}
		if bill.PriceID != "" && !slices.Contains(ids, bill.PriceID) {
			ids = append(ids, bill.PriceID)
		}
		sum.Items = append(sum.Items, bill.Items...)
		sum.Notes = append(sum.Notes, bill.Notes...)
		if bill.HasTotal {
			sum.HasTotal = true
			sum.Total = sum.Total.Add(bill.Total)
			sources[bill.Source] = true
		}
	}
	if worst.Status == Invalid || !sum.HasTotal {
		failed := *worst
		failed.Reasons = sum.Reasons
		return failed
	}
	if sum.Total.tooLarge() {
		return invalid(amountTooLarge)
	}
	switch {
	case worst.Status == Unpriced:
		sum.Status = Partial
	case worst.Status == Free && anyPriced:
		sum.Status = Priced
	default:
		sum.Status = worst.Status
	}
	for _, source := range []Source{FromEstimate, FromUser, FromBook} {
		if sources[source] {
			sum.Source = source
			break
		}
	}
	sum.PriceID = strings.Join(ids, "+")
	return sum
}

func bundledFiles() (prices, fees, machines []byte) { return data.Prices, data.Fees, data.Compute }
