package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// vectorFolder is tests/conformance/ledger, which Python runs too. AGENTCOST_LEDGER_VECTORS names another one: the
// differential test makes random vectors that say what Python makes of them.
func vectorFolder() string {
	if folder := os.Getenv("AGENTCOST_LEDGER_VECTORS"); folder != "" {
		return folder
	}
	return "../../../../tests/conformance/ledger"
}

const vectorTrace = "00000000000000000000000000000001"

// Decoding is strict: a key nobody knows fails.
type vector struct {
	About  string                       `json:"about"`
	Cites  []string                     `json:"cites"`
	Prices map[string]map[string]string `json:"prices"`
	Spans  []vectorSpan                 `json:"spans"`
	Expect struct {
		Total      *json.Number                          `json:"total"`
		Own        map[string][2]json.RawMessage         `json:"own"`
		Reasons    map[string]string                     `json:"reasons"`
		Root       *string                               `json:"root"`
		Calls      *int64                                `json:"calls"`
		Tokens     *[2]int64                             `json:"tokens"`
		Unpriced   *int64                                `json:"unpriced"`
		Errors     *int64                                `json:"errors"`
		Failed     *json.Number                          `json:"failed"`
		Complete   *bool                                 `json:"complete"`
		Labels     map[string]map[string]string          `json:"labels"`
		Attributes map[string]map[string]json.RawMessage `json:"attributes"`
	} `json:"expect"`
}

type vectorSpan struct {
	ID         string                     `json:"id"`
	Parent     string                     `json:"parent"`
	Start      int64                      `json:"start"`
	End        int64                      `json:"end"`
	Scope      string                     `json:"scope"`
	Kind       string                     `json:"kind"`
	Name       string                     `json:"name"`
	Attributes map[string]json.RawMessage `json:"attributes"`
	Failed     bool                       `json:"failed"`
	Reading    *vectorReading             `json:"reading"`

	Chain  int         `json:"chain"`
	Repeat int         `json:"repeat"`
	Below  string      `json:"below"`
	Step   int64       `json:"step"`
	Span   *vectorSpan `json:"span"`
}

type vectorReading struct {
	Kind       string            `json:"kind"`
	Status     string            `json:"status"`
	Reason     string            `json:"reason"`
	Aggregate  string            `json:"aggregate"`
	Provider   string            `json:"provider"`
	Model      string            `json:"model"`
	Operation  string            `json:"operation"`
	Agent      string            `json:"agent"`
	Tool       string            `json:"tool"`
	Identity   []string          `json:"identity"`
	Context    map[string]string `json:"context"`
	Usage      map[string]int64  `json:"usage"`
	Estimated  bool              `json:"estimated"`
	Server     bool              `json:"server"`
	ReportedBy string            `json:"reported_by"`
	// ReportedCost is told for the record; no vector prices by it.
	ReportedCost string `json:"reported_cost"`
}

func readVectors(t *testing.T) map[string]*vector {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(vectorFolder(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	vectors := make(map[string]*vector)
	for _, path := range paths {
		name, isJSON := strings.CutSuffix(filepath.Base(path), ".json")
		if !isJSON {
			t.Errorf("%s: nobody runs this", path)
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		read := &vector{}
		if err := decoder.Decode(read); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if read.Expect.Total == nil {
			t.Errorf("%s: expects no total", path)
			continue
		}
		vectors[name] = read
	}
	if len(vectors) < 40 {
		t.Fatalf("%d vectors: an empty folder would make every check true", len(vectors))
	}
	return vectors
}

// spans writes out chains and repetitions.
func (v *vector) spans() []vectorSpan {
	var spans []vectorSpan
	for _, span := range v.Spans {
		switch {
		case span.Chain > 0:
			below := span.Below
			for i := range span.Chain {
				link := vectorSpan{
					ID: fmt.Sprintf("%s-%d", span.ID, i), Parent: below, Start: span.Start, End: span.End,
					Kind: "internal", Name: "link",
				}
				below = link.ID
				spans = append(spans, link)
			}
		case span.Repeat > 0:
			for i := range span.Repeat {
				one := *span.Span
				one.ID = fmt.Sprintf("%s-%d", span.ID, i)
				one.Parent = span.Below
				one.Start = span.Start + int64(i)*span.Step
				one.End = span.End + int64(i)*span.Step
				spans = append(spans, one)
			}
		default:
			spans = append(spans, span)
		}
	}
	return spans
}

func (s *vectorSpan) record(t *testing.T) SpanRecord {
	t.Helper()
	kind, known := usage.SpanKindOf(s.Kind)
	if !known {
		t.Fatalf("span kind %q", s.Kind)
	}
	attributes := usage.Map{}
	for key, raw := range s.Attributes {
		attributes[key] = valueOf(t, raw)
	}
	return SpanRecord{
		TraceID: vectorTrace, SpanID: s.ID, ParentID: s.Parent, Name: s.Name, Kind: kind, Scope: s.Scope,
		Start: s.Start, End: s.End, Attributes: attributes, AttributeCount: len(attributes), Resource: usage.Map{},
		Failed: s.Failed,
	}
}

// valueOf reads a JSON value as an attribute has it: a number without fraction and exponent is whole.
func valueOf(t *testing.T, raw json.RawMessage) usage.Value {
	t.Helper()
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return attributeValue(t, value)
}

func attributeValue(t *testing.T, value any) usage.Value {
	t.Helper()
	switch v := value.(type) {
	case nil:
		return usage.NullValue()
	case bool:
		return usage.BoolValue(v)
	case string:
		return usage.TextValue(v)
	case json.Number:
		if whole, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return usage.IntValue(whole)
		}
		double, err := v.Float64()
		if err != nil {
			t.Fatal(err)
		}
		return usage.DoubleValue(double)
	case []any:
		list := usage.List{}
		for _, one := range v {
			list = append(list, attributeValue(t, one))
		}
		return usage.ListValue(list)
	case map[string]any:
		inside := usage.Map{}
		for key, one := range v {
			inside[key] = attributeValue(t, one)
		}
		return usage.MapValue(inside)
	}
	t.Fatalf("attribute %v", value)
	return usage.Value{}
}

func named[T any](t *testing.T, name string, of func(string) (T, bool), otherwise T) T {
	t.Helper()
	if name == "" {
		return otherwise
	}
	value, known := of(name)
	if !known {
		t.Fatalf("nobody knows %q", name)
	}
	return value
}

func (r *vectorReading) reading(t *testing.T) *usage.Reading {
	t.Helper()
	made := &usage.Reading{
		Kind:       named(t, r.Kind, usage.KindOf, usage.NoKind),
		Status:     named(t, r.Status, usage.StatusOf, usage.StatusUsage),
		Aggregate:  named(t, r.Aggregate, usage.AggregateModeOf, usage.Sum),
		ReportedBy: named(t, r.ReportedBy, usage.ReporterOf, usage.Nobody),
		HasUsage:   r.Usage != nil,
		Estimated:  r.Estimated,
		Server:     r.Server,
		Reason:     r.Reason,
		Provider:   r.Provider,
		Model:      r.Model,
		Operation:  firstOf(r.Operation, "chat"),
		Identity:   r.Identity,
		Agent:      r.Agent,
		Tool:       r.Tool,
	}
	var quantities usage.Quantities
	for key, count := range r.Usage {
		unit, known := usage.UnitOf(key)
		if !known {
			t.Fatalf("unit %q", key)
		}
		quantities.Put(unit, usage.Count(count))
	}
	made.Usage = quantities.Usage()
	for key, text := range r.Context {
		made.Context = made.Context.With(key, text)
	}
	return made
}

// vectorBook prices a reading by the vector's own table: leaf quantities times rates, nothing else.
type vectorBook struct {
	t      *testing.T
	prices map[string]map[string]string
}

func (b *vectorBook) FeeAttributes() []string { return nil }

func (b *vectorBook) ContextWindow(string, string) (int64, bool) { return 0, false }

// Price has no bill of no charge to return; price does.
func (b *vectorBook) Price(reading *usage.Reading, at int64) pricing.Bill {
	if bill := b.price(reading, at); bill != nil {
		return *bill
	}
	return b.nothing()
}

// nothing is the bill of what nobody charges for: the bundled book knows no fee of such a tool.
func (b *vectorBook) nothing() pricing.Bill {
	bill := pricing.Bundled().Price(&usage.Reading{Kind: usage.KindTool, HasUsage: true, Tool: "nobody charges"}, 0)
	if !bill.NoCharge() {
		b.t.Fatal("the bundled book charges for a tool it does not know")
	}
	return bill
}

func (b *vectorBook) price(reading *usage.Reading, _ int64) *pricing.Bill {
	switch reading.Kind {
	case usage.KindTool, usage.KindAPI, usage.KindCompute:
		rates, known := b.prices[reading.Kind.String()+":"+reading.Tool]
		if !known {
			return nil
		}
		bill := b.bill(&reading.Usage, rates, reading.Tool)
		return &bill
	}
	family := usage.ModelFamily(firstOf(reading.Model, reading.RequestModel))
	rates, known := b.prices[family+"@"+reading.Context.Get("service_tier")]
	if !known {
		rates, known = b.prices[family]
	}
	switch {
	case reading.Status == usage.StatusError, reading.Status == usage.StatusNotBilled:
		return &pricing.Bill{
			Status: pricing.NotBilled, HasTotal: true, Reasons: []string{reading.Reason}, Currency: "USD",
		}
	case !known:
		return &pricing.Bill{Status: pricing.Unpriced, Reasons: []string{"unknown_model"}, Currency: "USD"}
	case !reading.HasUsage:
		return &pricing.Bill{Status: pricing.Unpriced, Reasons: []string{reading.Reason}, Currency: "USD"}
	}
	var priced usage.UnitSet
	for key := range rates {
		unit, ok := usage.UnitOf(key)
		if !ok {
			b.t.Fatalf("unit %q", key)
		}
		priced |= usage.SetOf(unit)
	}
	leaves := reading.Usage.Leaves(priced)
	bill := b.bill(&leaves, rates, family)
	return &bill
}

func (b *vectorBook) bill(quantities *usage.Usage, rates map[string]string, name string) pricing.Bill {
	bill := pricing.Bill{
		Status: pricing.Priced, Source: pricing.FromBook, HasTotal: true, PriceID: "vector/" + name, Currency: "USD",
	}
	for unit := range quantities.Units().All() {
		quantity := quantities.Get(unit)
		if quantity.IsZero() {
			continue
		}
		rate := &pricing.Rate{Price: rates[unit.String()], Per: 1_000_000}
		cost, ok := rate.Cost(quantity)
		if !ok {
			b.t.Fatal("too much money")
		}
		bill.Items = append(bill.Items, pricing.LineItem{Unit: unit, Quantity: quantity, Rate: rate, Pico: cost})
		bill.Total = bill.Total.Add(cost)
	}
	return bill
}

func (v *vector) entries(t *testing.T) []Entry {
	t.Helper()
	book := &vectorBook{t, v.Prices}
	reader := NewSpanReader(book, Missing)
	var entries []Entry
	for _, span := range v.spans() {
		record := span.record(t)
		if span.Reading == nil {
			entries = append(entries, reader.Entry(&record))
			continue
		}
		reading := span.Reading.reading(t)
		entries = append(entries, Entry{
			SpanID: span.ID, ParentID: span.Parent, Start: span.Start, End: span.End, Emitter: span.Scope,
			Reading: reading, Bill: book.price(reading, 0), Failed: span.Failed,
		})
	}
	return entries
}
