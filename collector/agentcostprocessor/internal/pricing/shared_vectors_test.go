package pricing

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Vectors that carry their own prices (form pricing-vectors/1), kept beside the repository: ../shared/vectors/pricing.json
// or $AGENTCOST_VECTORS. What was used is read by Python's readers where there are any, and always from the vector's
// own exclusive quantities; both give the expected lines, to the pico-unit.

type pricedVector struct {
	ID         string                     `json:"id"`
	Provider   string                     `json:"provider"`
	Model      string                     `json:"model"`
	Timestamp  string                     `json:"timestamp"`
	Usage      map[string]json.RawMessage `json:"usage"`
	Leaves     map[string]json.RawMessage `json:"normalized_leaf_quantities"`
	Context    map[string]string          `json:"context"`
	Prices     map[string]json.RawMessage `json:"prices"`
	Multiplier map[string]json.RawMessage `json:"multiplier"`
	TierMode   string                     `json:"tier_mode"`
	Expected   struct {
		Status string       `json:"status"`
		Total  *json.Number `json:"total_pico_usd"`
		Lines  []struct {
			Unit     string          `json:"unit"`
			Quantity json.RawMessage `json:"quantity"`
			Pico     json.Number     `json:"cost_pico_usd"`
		} `json:"lines"`
	} `json:"expected"`
}

func sharedVectors(t *testing.T) (vectors []pricedVector, raw []json.RawMessage) {
	t.Helper()
	folder := os.Getenv("AGENTCOST_VECTORS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "..", "shared", "vectors")
	}
	content, err := os.ReadFile(filepath.Join(folder, "pricing.json"))
	if err != nil {
		t.Skipf("the shared vectors are not here (%v): they are not priced", err)
	}
	var file struct{ Vectors []json.RawMessage }
	if err := json.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	vectors = make([]pricedVector, len(file.Vectors))
	for i, one := range file.Vectors {
		if err := json.Unmarshal(one, &vectors[i]); err != nil {
			t.Fatal(err)
		}
	}
	return vectors, file.Vectors
}

func TestSharedVectorsAsPythonReadsThem(t *testing.T) {
	vectors, raw := sharedVectors(t)
	python := pythonOf(t)
	lines := make([]string, len(raw))
	for i, one := range raw {
		lines[i] = strings.ReplaceAll(string(one), "\n", " ")
	}
	for i, answer := range askPython(t, python, "read_vectors.py", lines) {
		t.Run(vectors[i].ID, func(t *testing.T) {
			var read rawReading
			decodeStrictly(t, answer, &read)
			vectors[i].check(t, read.reading(t))
		})
	}
	t.Logf("%d vectors", len(vectors))
}

func TestSharedVectorsByTheirOwnQuantities(t *testing.T) {
	vectors, _ := sharedVectors(t)
	for i := range vectors {
		t.Run(vectors[i].ID, func(t *testing.T) { vectors[i].check(t, vectors[i].reading(t)) })
	}
}

// reading makes the reading a vector describes: from its exclusive quantities, or from what it has in their place.
func (v *pricedVector) reading(t *testing.T) *usage.Reading {
	t.Helper()
	raw := rawReading{Provider: v.Provider, Model: v.Model, Context: v.Context}
	switch {
	case len(v.Leaves) > 0:
		exclusive := usageOf(t, v.Leaves)
		var inclusive usage.Quantities
		for unit := range exclusive.Units().All() {
			whole := exclusive.Get(unit)
			for part := range (exclusive.Units() & unit.Inside()).All() {
				whole = whole.Add(exclusive.Get(part))
			}
			inclusive.Put(unit, whole)
		}
		// What nobody has a price for is no exclusive quantity of a bill, but was used all the same.
		if searches := strings.Count(string(v.Usage["output"]), "web_search_call"); searches > 0 {
			inclusive.Put(usage.WebSearches, usage.Count(int64(searches)))
		}
		made := raw.reading(t)
		made.Usage, made.HasUsage = inclusive.Usage(), true
		return made
	case v.Usage["cost"] != nil:
		var split struct {
			Total json.Number `json:"total_cost"`
		}
		raw.ReportedBy, raw.ReportedCost = "provider", string(v.Usage["cost"])
		if json.Unmarshal(v.Usage["cost"], &split) == nil {
			raw.ReportedCost = split.Total.String()
		}
	case v.Usage["http.response.status_code"] != nil:
		raw.Status, raw.Reason = "not_billed", "http_"+string(v.Usage["http.response.status_code"])
	case v.Usage["prompt_tokens_details"] != nil:
		var details map[string]json.RawMessage
		if err := json.Unmarshal(v.Usage["prompt_tokens_details"], &details); err != nil {
			t.Fatal(err)
		}
		raw.Usage = map[string]json.RawMessage{
			"input_tokens": v.Usage["prompt_tokens"], "output_tokens": v.Usage["completion_tokens"],
			"cache_read_tokens": details["cached_tokens"],
		}
	default:
		raw.Status, raw.Reason = "no_usage", "stream_without_usage"
	}
	return raw.reading(t)
}

const vectorSeller = "vector"

// check prices a reading by the vector's own prices, as sold by the one seller of the vector's book.
func (v *pricedVector) check(t *testing.T, reading *usage.Reading) {
	at := nanoseconds(t, v.Timestamp)
	book := v.book(t, reading, at)
	sold := *reading
	sold.Kind, sold.Provider = usage.KindCall, vectorSeller
	sold.Context = slices.DeleteFunc(slices.Clone(sold.Context), func(e usage.ContextEntry) bool { return e.Key == "host" })
	bill := book.Price(&sold, at)
	total := "none"
	if bill.HasTotal {
		total = bill.Total.Pico()
	}
	wanted := numberOr(v.Expected.Total, "none")
	if bill.Status.String() != v.Expected.Status || total != wanted {
		t.Errorf("%s %s (%s), want %s %s", bill.Status, total, bill.Reason(), v.Expected.Status, wanted)
	}
	lines := make(map[usage.Unit]LineItem)
	for _, item := range bill.Items {
		sum := lines[item.Unit]
		lines[item.Unit] = LineItem{Quantity: sum.Quantity.Add(item.Quantity), Pico: sum.Pico.Add(item.Pico)}
	}
	for key, raw := range v.Leaves {
		// A line of quantity 0 is shown when the vector names the unit with 0.
		quantity := quantityOf(t, raw)
		if unit, _ := usage.UnitOf(key); quantity.IsZero() && bill.HasTotal && bill.Status != ProviderReported {
			lines[unit] = LineItem{Quantity: lines[unit].Quantity, Pico: lines[unit].Pico}
		}
	}
	if len(lines) != len(v.Expected.Lines) {
		t.Errorf("%d lines, want %d: %q", len(lines), len(v.Expected.Lines), linesOf(&bill))
	}
	for _, line := range v.Expected.Lines {
		unit, known := usage.UnitOf(line.Unit)
		item, ok := lines[unit]
		if quantity := quantityOf(t, line.Quantity); !known || !ok || item.Quantity != quantity || item.Pico.Pico() != line.Pico.String() {
			t.Errorf("%s: %s = %s, want %s = %s", line.Unit, item.Quantity, item.Pico.Pico(), quantity, line.Pico)
		}
	}
	checkSums(t, &bill)
}

// book makes a book of one entry of the vector's prices. What a seller measures and covers is the bundled book's.
func (v *pricedVector) book(t *testing.T, reading *usage.Reading, at int64) *Book {
	t.Helper()
	bundled, err := Bundled().content.catalogue.find(v.Provider, reading.Model, "", dayOf(at))
	if err != nil {
		t.Fatal(err)
	}
	seller := rawProvider{ID: vectorSeller}
	if bundled != nil {
		seller.Tiers = bundled.rules.Tiers
		for _, rule := range bundled.rules.Measures {
			if rule.appliesTo(bundled.tariff.id) {
				rule.scope = scope{}
				seller.Measures = append(seller.Measures, rule)
			}
		}
		for _, rule := range bundled.rules.Covers {
			if rule.appliesTo(bundled.tariff.id) {
				rule.scope = scope{}
				seller.Covers = append(seller.Covers, rule)
			}
		}
	}
	if v.Multiplier != nil {
		decodeStrictly(t, marshal(t, []any{v.Multiplier}), &seller.Multipliers)
	}
	free := strings.HasSuffix(v.Model, ":free") || bundled != nil && (bundled.tariff.free || bundled.rules.Free)
	if len(v.Prices) > 0 || free {
		model := rawModel{ID: v.Model, Match: json.RawMessage(`{"contains":""}`), TierMode: v.TierMode, Free: len(v.Prices) == 0}
		if !model.Free {
			model.Rates = marshal(t, v.Prices)
			model.Variants = v.variants(t, reading, bundled, at)
		}
		seller.Models = append(seller.Models, model)
	}
	relevant, err := relevantKeys([]rawProvider{seller})
	if err != nil {
		t.Fatal(err)
	}
	made := &content{version: vectorSeller, relevant: relevant}
	if made.catalogue, err = newCatalogue([]rawProvider{seller}); err != nil {
		t.Fatal(err)
	}
	book, err := newBook(made, NoOverrides())
	if err != nil {
		t.Fatal(err)
	}
	return book
}

// variants: the vector's prices are those of the tier that was billed, if anybody knows such a tier. A price that our
// own book only inherits from the standard tier makes an estimate (rule 14).
func (v *pricedVector) variants(t *testing.T, reading *usage.Reading, bundled *entry, at int64) json.RawMessage {
	t.Helper()
	context := make(map[string]string)
	for _, e := range reading.Context {
		context[e.Key] = e.Value
	}
	rules := noRules
	own := make(rates)
	if bundled != nil {
		rules = bundled.rules
		own = bundled.resolve(context, dayOf(at), minuteOf(at)).rates
	}
	settled, _ := settleTier(context, rules)
	asked := make(map[string]string)
	for _, key := range tierKeys {
		if value, ok := settled[key]; ok {
			if !slices.Contains(knownTiers, value) && !slices.Contains(standardTiers, value) {
				return nil
			}
			asked[key] = value
		}
	}
	if len(asked) == 0 {
		return nil
	}
	stated := make(map[string]json.RawMessage)
	for key, raw := range v.Prices {
		unit, _ := usage.UnitOf(key)
		var price rawRate
		if err := json.Unmarshal(raw, &price); err != nil {
			t.Fatal(err)
		}
		theirs, err := price.compile(unit)
		if err != nil {
			t.Fatal(err)
		}
		ours, ok := own[unit]
		if !ok || !ours.inherited || ours.perUnit().Cmp(theirs.perUnit()) != 0 {
			stated[key] = raw
		}
	}
	return marshal(t, []map[string]any{{"when": asked, "rates": stated}})
}

func marshal(t *testing.T, value any) []byte {
	t.Helper()
	written, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return written
}
