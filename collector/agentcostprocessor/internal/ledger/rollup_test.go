package ledger

import (
	"fmt"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

func spending(model string, pico pricing.Money) (Entry, Charge) {
	reading := &usage.Reading{Kind: usage.KindCall, HasUsage: true, Model: model, Operation: "chat"}
	return Entry{Reading: reading}, Charge{Pico: pico, Claimed: true, Currency: "USD"}
}

// The driver is what costs most, the first by name where two cost the same, with its share rounded half up.
func TestDriver(t *testing.T) {
	million, err := pricing.ParsePico("1000000000000000000000") // beyond an int64
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		costs map[string]pricing.Money
		want  string
	}{
		{"nothing", nil, ""},
		{"free", map[string]pricing.Money{"a": {}}, ""},
		{"one", map[string]pricing.Money{"a": pricing.Pico(7)}, "model:a 100%"},
		{"tie", map[string]pricing.Money{"b": pricing.Pico(5), "a": pricing.Pico(5)}, "model:a 50%"},
		{"half up", map[string]pricing.Money{"a": pricing.Pico(125), "b": pricing.Pico(75)}, "model:a 63%"},
		{"beyond 64 bits", map[string]pricing.Money{"a": million, "b": million.Add(million)}, "model:b 67%"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var rollup Rollup
			for model, pico := range test.costs {
				entry, charge := spending(model, pico)
				rollup.Include(&entry, &charge)
			}
			if rollup.Driver() != test.want {
				t.Errorf("%q, expected %q", rollup.Driver(), test.want)
			}
		})
	}
}

// Beyond 64 names the rest is `other`; no money is lost.
func TestDriversAreBounded(t *testing.T) {
	var rollup Rollup
	for i := range 100 {
		entry, charge := spending(fmt.Sprintf("m%d", i), pricing.Pico(1))
		rollup.Include(&entry, &charge)
	}
	if len(rollup.drivers) != maxDrivers+1 || rollup.Driver() != "other 36%" {
		t.Errorf("%d drivers, %s", len(rollup.drivers), rollup.Driver())
	}
	if rollup.Total() != pricing.Pico(100) {
		t.Errorf("total %s", rollup.Total())
	}
}

// Money falls into the buckets of its line items; what differs from the bill falls into the kind's own.
func TestChargesAreSharedOutByComponent(t *testing.T) {
	bill := &pricing.Bill{Status: pricing.Priced, HasTotal: true, Total: pricing.Pico(10), Items: []pricing.LineItem{
		{Unit: usage.InputTokens, Pico: pricing.Pico(7)}, {Unit: usage.WebSearches, Pico: pricing.Pico(3)},
	}}
	entry, charge := spending("m", pricing.Pico(10))
	charge.Bill = bill
	var rollup Rollup
	rollup.Include(&entry, &charge)
	if rollup.Money[usage.LLM] != pricing.Pico(7) || rollup.Money[usage.Tool] != pricing.Pico(3) {
		t.Errorf("%v", rollup.Money)
	}
	charge.Pico, charge.Status = pricing.Pico(12), Correction
	rollup = Rollup{}
	rollup.Include(&entry, &charge)
	if rollup.Money[usage.LLM] != pricing.Pico(9) || rollup.LLMCalls != 0 {
		t.Errorf("%v, %d calls", rollup.Money, rollup.LLMCalls)
	}
}

// An amount is in the band it has reached.
func TestBand(t *testing.T) {
	for pico, want := range map[int64]string{
		-1: "0", 0: "0", 1: "0-0.0001", 1e8: "0.0001-0.001", 1e12 - 1: "0.10-1.00", 1e12: "1-10", 1e14: "100+",
	} {
		if got := Band(pricing.Pico(pico)); got != want {
			t.Errorf("%d is in %s, expected %s", pico, got, want)
		}
	}
}

// A mirror writes 0 and why, and neither source nor price; details are written only for a charge of the whole bill.
func TestChargeAttributes(t *testing.T) {
	bill := &pricing.Bill{
		Status: pricing.Priced, HasTotal: true, Total: pricing.Pico(10), Source: pricing.FromBook, PriceID: "b/m",
		Currency: "EUR", Items: []pricing.LineItem{{Unit: usage.InputTokens, Pico: pricing.Pico(10)}},
	}
	full := Charge{Pico: pricing.Pico(10), Claimed: true, Bill: bill, Currency: "EUR"}
	part := Charge{Pico: pricing.Pico(4), Claimed: true, Bill: bill, Currency: "EUR", Status: Remainder, Reason: "r"}
	unknown := Charge{Status: Unpriced, Reason: "unknown_model", Currency: "USD"}
	mirror := mirrorOf(&Entry{SpanID: "a"})
	for _, test := range []struct {
		charge *Charge
		want   string
	}{
		{&full, "agentcost.cost.amount=0.00000000001 agentcost.cost.source=\"book\" agentcost.price.id=\"b/m\" " +
			"agentcost.cost.currency=\"EUR\" gen_ai.usage.cost=0.00000000001 agentcost.cost.input=0.00000000001"},
		{&part, "agentcost.cost.amount=0.000000000004 agentcost.cost.source=\"book\" agentcost.price.id=\"b/m\" " +
			"agentcost.cost.currency=\"EUR\" gen_ai.usage.cost=0.000000000004 agentcost.cost.status=\"remainder\" " +
			"agentcost.cost.reason=\"r\""},
		{&unknown, "agentcost.cost.status=\"unpriced\" agentcost.cost.reason=\"unknown_model\""},
		{&mirror, "agentcost.cost.amount=0.0 agentcost.cost.status=\"mirror\" agentcost.cost.reason=\"mirror_of:a\""},
	} {
		got := ""
		for _, one := range (Writing{Full: true, MirrorUsageCost: true}).AppendCharge(nil, test.charge, true) {
			got += one.Key + "=" + shownAs(&one) + " "
		}
		if got != test.want+" " {
			t.Errorf("%s\nexpected %s", got, test.want)
		}
	}
}
