package ledger

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Laws 1 to 7: the charges are those the vector states, in the order given, reversed, shuffled, and with spans twice.
func TestConformanceOwnCosts(t *testing.T) {
	for name, v := range readVectors(t) {
		t.Run(name, func(t *testing.T) {
			book := &vectorBook{t, v.Prices}
			entries := v.entries(t)
			for order, given := range ordersOf(entries) {
				settlement := Settle(given, book.price, nil)
				if total := settlement.Total().Pico(); total != v.Expect.Total.String() {
					t.Fatalf("order %d: total %s, expected %s", order, total, *v.Expect.Total)
				}
				for id, expected := range v.Expect.Own {
					charge, there := settlement.Of(id)
					if !there {
						t.Fatalf("no span %s", id)
					}
					checkOwn(t, id, &charge, expected)
				}
				for id, expected := range v.Expect.Reasons {
					if charge, _ := settlement.Of(id); charge.Reason != expected {
						t.Errorf("%s: reason %q, expected %q", id, charge.Reason, expected)
					}
				}
			}
		})
	}
}

func ordersOf(entries []Entry) [][]Entry {
	reversed := slices.Clone(entries)
	slices.Reverse(reversed)
	orders := [][]Entry{entries, reversed, slices.Concat(entries, entries[:len(entries)/2])}
	random := rand.New(rand.NewPCG(1, uint64(len(entries))))
	count := 40
	if len(entries) > 100 {
		count = 2
	}
	for range count {
		shuffled := slices.Concat(entries, entries[:random.IntN(len(entries)+1)])
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		orders = append(orders, shuffled)
	}
	return orders
}

func checkOwn(t *testing.T, id string, charge *Charge, expected [2]json.RawMessage) {
	t.Helper()
	pico := "null"
	if charge.Claimed {
		pico = charge.Pico.Pico()
	}
	status := strconv.Quote(charge.Status.String())
	if pico != string(expected[0]) || status != string(expected[1]) {
		t.Errorf("%s: [%s, %s], expected %s", id, pico, status, expected)
	}
}

// The root shows the session; spans show their own cost under names of their own.
func TestConformanceRollups(t *testing.T) {
	for name, v := range readVectors(t) {
		t.Run(name, func(t *testing.T) {
			spans := v.spans()
			if slices.ContainsFunc(spans, func(s vectorSpan) bool { return s.Reading != nil }) {
				if v.Expect.Attributes != nil {
					t.Fatal("attributes of spans that have none")
				}
				return
			}
			for _, backwards := range []bool{false, true} {
				var records []SpanRecord
				for _, span := range spans {
					records = append(records, span.record(t))
				}
				if backwards {
					slices.Reverse(records)
				}
				checkRollups(t, v, AccountFor(records, &vectorBook{t, v.Prices}, Missing, Writing{}))
			}
		})
	}
}

func checkRollups(t *testing.T, v *vector, accounts *Accounts) {
	t.Helper()
	if len(accounts.Sessions) != 1 {
		t.Fatalf("%d sessions", len(accounts.Sessions))
	}
	session := &accounts.Sessions[0]
	rollup := &session.Rollup
	expect := &v.Expect
	checkMoney(t, "total", expect.Total, rollup.Total())
	if expect.Root != nil {
		if session.Root == nil || session.Root.Span.SpanID != *expect.Root {
			t.Fatalf("root %v, expected %s", session.Root, *expect.Root)
		}
		written := session.Root.Attributes
		if pico := shownAs(written.Get("agentcost.session.cost.pico")); pico != expect.Total.String() {
			t.Errorf("the root says %s", pico)
		}
		total := math.RoundToEven(written.Get("agentcost.session.cost.total").Double() * 1e12)
		if pico := strconv.FormatFloat(total, 'f', 0, 64); pico != expect.Total.String() {
			t.Errorf("the root says %s", pico)
		}
	}
	check(t, "calls", expect.Calls, rollup.LLMCalls)
	check(t, "unpriced", expect.Unpriced, rollup.Unpriced)
	check(t, "errors", expect.Errors, rollup.Errors)
	checkMoney(t, "failed", expect.Failed, rollup.Failed)
	if expect.Tokens != nil && *expect.Tokens != [2]int64{rollup.InputTokens, rollup.OutputTokens} {
		t.Errorf("tokens %d+%d, expected %v", rollup.InputTokens, rollup.OutputTokens, *expect.Tokens)
	}
	if expect.Complete != nil && *expect.Complete != session.Complete {
		t.Errorf("complete is %t", session.Complete)
	}
	for id, attributes := range expect.Attributes {
		account := accounts.Of(vectorTrace, id)
		for key, wanted := range attributes {
			if shown := shownAs(account.Attributes.Get(key)); shown != string(wanted) {
				t.Errorf("%s: %s is %s, expected %s", id, key, shown, wanted)
			}
		}
	}
	for id, labels := range expect.Labels {
		evidence := usage.Gather(usage.InLabels, accounts.Of(vectorTrace, id).Span.Attributes)
		var found usage.Labels
		usage.ReadLabels(evidence, nil, &found)
		told := make(map[string]string)
		for label, value := range found.All() {
			told[label.String()] = value
		}
		for key, wanted := range labels {
			if told[key] != wanted {
				t.Errorf("%s: label %s is %q, expected %q", id, key, told[key], wanted)
			}
		}
	}
}

func check(t *testing.T, what string, expected *int64, actual int64) {
	t.Helper()
	if expected != nil && actual != *expected {
		t.Errorf("%s is %d, expected %d", what, actual, *expected)
	}
}

func checkMoney(t *testing.T, what string, expected *json.Number, actual pricing.Money) {
	t.Helper()
	if expected != nil && actual.Pico() != expected.String() {
		t.Errorf("%s is %s, expected %s", what, actual.Pico(), *expected)
	}
}

// shownAs writes an attribute's value as JSON, null when it is not there.
func shownAs(one *Attribute) string {
	if one == nil {
		return "null"
	}
	switch one.Type {
	case IntValue:
		return strconv.FormatInt(one.Int(), 10)
	case DoubleValue:
		shown := strconv.FormatFloat(one.Double(), 'f', -1, 64)
		if !strings.Contains(shown, ".") {
			shown += ".0"
		}
		return shown
	case BoolValue:
		return strconv.FormatBool(one.Bool())
	}
	return strconv.Quote(one.Text)
}
