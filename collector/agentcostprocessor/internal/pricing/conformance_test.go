package pricing

import (
	"bytes"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// The hand-written vectors every implementation of the price engine must hold: tests/conformance/pricing/*.json.

var vectorsFolder = filepath.Join("..", "..", "..", "..", "tests", "conformance", "pricing")

type vectorFile struct {
	Format   string          `json:"format"`
	Topic    string          `json:"topic"`
	Book     json.RawMessage `json:"book"`
	Fees     json.RawMessage `json:"fees"`
	Machines json.RawMessage `json:"machines"`
	Vectors  []vector        `json:"vectors"`
}

type vector struct {
	Name      string          `json:"name"`
	At        string          `json:"at"`
	Overrides json.RawMessage `json:"overrides"`
	Reading   rawReading      `json:"reading"`
	Expect    struct {
		Status    string               `json:"status"`
		Total     *json.Number         `json:"total"`
		Lines     [][3]json.RawMessage `json:"lines"`
		Reasons   []string             `json:"reasons"`
		Source    *string              `json:"source"`
		PriceID   *string              `json:"price_id"`
		Component *string              `json:"component"`
		Currency  *string              `json:"currency"`
		NoCharge  bool                 `json:"no_charge"`
	} `json:"expect"`
}

type rawReading struct {
	Kind             string                     `json:"kind"`
	Provider         string                     `json:"provider"`
	Model            string                     `json:"model"`
	RequestModel     string                     `json:"request_model"`
	Context          map[string]string          `json:"context"`
	Usage            map[string]json.RawMessage `json:"usage"`
	Status           string                     `json:"status"`
	Reason           string                     `json:"reason"`
	Estimated        bool                       `json:"estimated"`
	ReportedCost     string                     `json:"reported_cost"`
	ReportedBy       string                     `json:"reported_by"`
	ReportedCurrency string                     `json:"reported_currency"`
	Parts            []struct {
		Model string                     `json:"model"`
		Usage map[string]json.RawMessage `json:"usage"`
	} `json:"parts"`
	Tool string `json:"tool"`
}

// decodeStrictly fails on a key it does not know: a key nobody reads is a test that does not test.
func decodeStrictly(t testing.TB, raw []byte, into any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// quantityOf reads a count, or a measured amount as decimal text.
func quantityOf(t testing.TB, raw json.RawMessage) usage.Quantity {
	t.Helper()
	text := strings.Trim(string(raw), `"`)
	exact, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%s is no quantity", raw)
	}
	nanos := new(big.Int).Quo(new(big.Int).Mul(exact.Num(), billion), exact.Denom())
	whole, rest := new(big.Int).DivMod(nanos, billion, new(big.Int))
	return usage.Nanos(whole.Int64(), rest.Int64())
}

func usageOf(t testing.TB, raw map[string]json.RawMessage) usage.Usage {
	t.Helper()
	var quantities usage.Quantities
	for key, value := range raw {
		unit, known := usage.UnitOf(key)
		if !known {
			t.Fatalf("unknown unit %q", key)
		}
		quantities.Put(unit, quantityOf(t, value))
	}
	return quantities.Usage()
}

func named[T any](t testing.TB, name, otherwise string, read func(string) (T, bool)) T {
	t.Helper()
	value, ok := read(or(name, otherwise))
	if !ok {
		t.Fatalf("unknown name %q", name)
	}
	return value
}

func (r *rawReading) reading(t testing.TB) *usage.Reading {
	t.Helper()
	made := &usage.Reading{
		Kind: named(t, r.Kind, "call", usage.KindOf), Status: named(t, r.Status, "usage", usage.StatusOf),
		Provider: r.Provider, Model: r.Model, RequestModel: r.RequestModel, Reason: r.Reason, Estimated: r.Estimated,
		Tool: r.Tool, ReportedCurrency: or(r.ReportedCurrency, "USD"), HasUsage: r.Usage != nil,
		ReportedBy: named(t, r.ReportedBy, "", usage.ReporterOf), Usage: usageOf(t, r.Usage),
	}
	for key, value := range r.Context {
		made.Context = made.Context.With(key, value)
	}
	for _, part := range r.Parts {
		made.Parts = append(made.Parts, usage.Part{Model: part.Model, Usage: usageOf(t, part.Usage)})
	}
	if r.ReportedCost != "" {
		cost, ok := usage.ParseDecimal(r.ReportedCost)
		if !ok {
			t.Fatalf("%q is no amount", r.ReportedCost)
		}
		made.ReportedCost = cost
	}
	return made
}

func settingsOf(t testing.TB, raw []byte) *Overrides {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var settings map[string]any
	if err := decoder.Decode(&settings); err != nil {
		t.Fatal(err)
	}
	o, err := ReadOverrides(settings)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func section(name string, raw json.RawMessage) []byte {
	if raw == nil {
		return nil
	}
	return slices.Concat([]byte(`{"`+name+`":`), raw, []byte(`}`))
}

func (f *vectorFile) book(t testing.TB, overrides json.RawMessage) *Book {
	t.Helper()
	prices := slices.Concat([]byte(`{"format":"agentcost-prices/1","version":"test","providers":`), f.Book, []byte(`}`))
	if f.Book == nil {
		prices = []byte(`{"format":"agentcost-prices/1","version":"test","providers":[]}`)
	}
	book, err := NewBook(prices, section("fees", f.Fees), section("compute", f.Machines))
	if err != nil {
		t.Fatal(err)
	}
	if err := book.Check(); err != nil {
		t.Fatal(err)
	}
	if overrides != nil {
		if book, err = book.WithOverrides(settingsOf(t, overrides)); err != nil {
			t.Fatal(err)
		}
	}
	return book
}

func nanoseconds(t testing.TB, text string) int64 {
	t.Helper()
	if text == "" {
		text = "2026-11-21T12:00:00Z"
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateOnly} {
		if moment, err := time.Parse(layout, text); err == nil {
			return moment.UnixNano()
		}
	}
	t.Fatalf("%q is no time", text)
	return 0
}

// linesOf writes the lines of a bill as vectors do.
func linesOf(bill *Bill) []string {
	lines := make([]string, len(bill.Items))
	for i, item := range bill.Items {
		lines[i] = item.Unit.String() + " " + item.Quantity.String() + " " + item.Pico.Pico()
	}
	return lines
}

func TestConformance(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(vectorsFolder, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors in %s: %v", vectorsFolder, err)
	}
	run := 0
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file vectorFile
		decodeStrictly(t, raw, &file)
		if file.Format != "agentcost-conformance/pricing/1" {
			t.Fatalf("%s: unknown kind of vectors %q", path, file.Format)
		}
		for i := range file.Vectors {
			run++
			t.Run(strings.TrimSuffix(filepath.Base(path), ".json")+": "+file.Vectors[i].Name, func(t *testing.T) {
				checkVector(t, &file, &file.Vectors[i])
			})
		}
	}
	t.Logf("%d vectors of %d files", run, len(paths))
}

func checkVector(t *testing.T, file *vectorFile, v *vector) {
	book := file.book(t, v.Overrides)
	at, reading := nanoseconds(t, v.At), v.Reading.reading(t)
	bill := book.Price(reading, at)
	again := book.Price(reading, at)
	if !slices.Equal(linesOf(&bill), linesOf(&again)) || bill.Total != again.Total || bill.Reason() != again.Reason() {
		t.Errorf("a remembered answer differs from the first: %+v, %+v", bill, again)
	}
	want := &v.Expect
	if want.NoCharge != bill.NoCharge() {
		t.Fatalf("no charge is %v: %+v", bill.NoCharge(), bill)
	}
	if want.NoCharge {
		return
	}
	if want.Status != bill.Status.String() {
		t.Errorf("status is %s (%s), want %s", bill.Status, bill.Reason(), want.Status)
	}
	total := "none"
	if bill.HasTotal {
		total = bill.Total.Pico()
	}
	if wanted := numberOr(want.Total, "none"); wanted != total {
		t.Errorf("total is %s, want %s", total, wanted)
	}
	wanted := make([]string, len(want.Lines))
	for i, line := range want.Lines {
		quantity := quantityOf(t, line[1])
		wanted[i] = strings.Trim(string(line[0]), `"`) + " " + quantity.String() + " " + string(line[2])
	}
	if got := linesOf(&bill); !slices.Equal(wanted, got) {
		t.Errorf("lines are %q, want %q", got, wanted)
	}
	if !slices.Equal(want.Reasons, bill.Reasons) && len(want.Reasons)+len(bill.Reasons) > 0 {
		t.Errorf("reasons are %q, want %q", bill.Reasons, want.Reasons)
	}
	for name, pair := range map[string][2]*string{
		"source": {want.Source, ptr(bill.Source.String())}, "price id": {want.PriceID, &bill.PriceID},
		"component": {want.Component, ptr(bill.Component.String())}, "currency": {want.Currency, &bill.Currency},
	} {
		if pair[0] != nil && *pair[0] != *pair[1] {
			t.Errorf("%s is %q, want %q", name, *pair[1], *pair[0])
		}
	}
	checkSums(t, &bill)
}

// checkSums: lines add up to the total, and each is its quantity times the rate it shows.
func checkSums(t *testing.T, bill *Bill) {
	t.Helper()
	if len(bill.Items) == 0 {
		return
	}
	var sum Money
	for i := range bill.Items {
		item := &bill.Items[i]
		sum = sum.Add(item.Pico)
		if cost, ok := item.Rate.Cost(item.Quantity); !ok || cost != item.Pico {
			if !strings.Contains(item.Rate.Note, graduated) {
				t.Errorf("%s: the rate shown gives %s, the line says %s", item.Unit, cost.Pico(), item.Pico.Pico())
			}
		}
	}
	if sum != bill.Total {
		t.Errorf("lines add up to %s, the total is %s", sum.Pico(), bill.Total.Pico())
	}
	var components Money
	for _, part := range bill.ByComponent() {
		components = components.Add(part)
	}
	if components != bill.Total {
		t.Errorf("components add up to %s, the total is %s", components.Pico(), bill.Total.Pico())
	}
}

func numberOr(number *json.Number, otherwise string) string {
	if number == nil {
		return otherwise
	}
	return number.String()
}

func ptr[T any](value T) *T { return &value }
