package pricing

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

func TestMoneyIsAnExactInteger(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	sum, exact := Money{}, new(big.Int)
	for range 20_000 {
		n := new(big.Int).SetUint64(random.Uint64())
		n.Mul(n, new(big.Int).SetUint64(random.Uint64()>>uint(random.IntN(64))))
		n.Rsh(n, uint(random.IntN(100)+24))
		if random.IntN(2) == 0 {
			n.Neg(n)
		}
		m, ok := moneyOf(n)
		if !ok || m.Big().Cmp(n) != 0 || m.Pico() != n.String() || m.Sign() != n.Sign() {
			t.Fatalf("%s became %s", n, m.Pico())
		}
		again, err := ParsePico(m.Pico())
		if err != nil || again != m {
			t.Fatalf("%s is read as %s: %v", m.Pico(), again.Pico(), err)
		}
		if whole, ok := m.Int64(); ok != n.IsInt64() || ok && whole != n.Int64() {
			t.Fatalf("%s as an int64 is %d, %v", n, whole, ok)
		}
		before := sum
		sum, exact = sum.Add(m), exact.Add(exact, n)
		if sum.Sub(m) != before || m.Neg().Neg() != m || sum.Cmp(before) != m.Sign() {
			t.Fatalf("%s: sums do not undo", n)
		}
	}
	if sum.Big().Cmp(exact) != 0 {
		t.Errorf("the sum is %s, want %s", sum.Pico(), exact)
	}
}

func TestMoneyIsWrittenAsAPlainDecimal(t *testing.T) {
	for pico, text := range map[string]string{
		"0": "0", "1": "0.000000000001", "-1": "-0.000000000001", "7500000000": "0.0075", "1000000000000": "1",
		"-1500000000000": "-1.5", "18014398509481984000000": "18014398509.481984", "123456789012": "0.123456789012",
	} {
		if got := mustPico(pico).String(); got != text {
			t.Errorf("%s is written %s, want %s", pico, got, text)
		}
	}
	for _, wrong := range []string{"", "1.5", "x", "1" + strings.Repeat("0", 40)} {
		if m, err := ParsePico(wrong); err == nil {
			t.Errorf("%q is read as %s", wrong, m.Pico())
		}
	}
}

func TestTheDoubleGivesTheIntegerBack(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 100_000 {
		n := random.Int64N(1<<51) - 1<<50
		if back := math.Round(Pico(n).Amount() * 1e12); int64(back) != n {
			t.Fatalf("%d became %d", n, int64(back))
		}
	}
	// Beyond 2^53 the quotient is still the nearest double, as in Python.
	if got := mustPico("18014398509481984000001").Amount(); got != 18014398509.481984 {
		t.Errorf("%v", got)
	}
}

func TestOneRoundingHalfToEven(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 50_000 {
		quantity := random.Uint64() >> uint(random.IntN(60))
		numerator := random.Uint64() >> uint(random.IntN(60))
		denominator := random.Uint64()>>uint(random.IntN(63)) | 1
		if random.IntN(3) == 0 {
			denominator = 1 << random.IntN(12) // halves are frequent then
		}
		product := new(big.Int).Mul(new(big.Int).SetUint64(quantity), new(big.Int).SetUint64(numerator))
		want := divideHalfEven(product, new(big.Int).SetUint64(denominator))
		got, ok := mulDiv(quantity, numerator, denominator)
		if ok && got.Big().Cmp(want) != 0 || !ok && want.BitLen() < 126 {
			t.Fatalf("%d x %d / %d is %s, want %s", quantity, numerator, denominator, got.Pico(), want)
		}
	}
	for numerator, want := range map[int64]int64{1: 0, 3: 2, 5: 2, 7: 4, -1: 0, -3: -2, -5: -2} {
		if got := divideHalfEven(big.NewInt(numerator), big.NewInt(2)); got.Int64() != want {
			t.Errorf("%d / 2 is %s, want %d", numerator, got, want)
		}
	}
}

// A bill does not depend on the order of the context, and its lines are quantities times the rates they show.
func TestLawsOfRandomBills(t *testing.T) {
	random := newMaker(t, 11)
	book, err := Bundled().WithOverrides(settingsOf(t, []byte(settings[1])))
	if err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		reading, _ := random.reading()
		at := int64(1_672_531_200+random.Int64N(150_000_000)) * 1_000_000_000
		bill := book.Price(reading, at)
		if bill.HasTotal == (bill.Status == Unpriced || bill.Status == Invalid) {
			t.Fatalf("%s with a total: %v", bill.Status, bill.HasTotal)
		}
		if len(bill.Items) > 0 {
			checkSums(t, &bill)
		}
		other := reading.Clone()
		slices.Reverse(other.Context)
		turned := book.Price(&other, at)
		if textOf(&bill).lineOf() != textOf(&turned).lineOf() {
			t.Fatalf("the order of the context counts: %+v", reading)
		}
	}
}

func (b billText) lineOf() string { return b.String() }

func TestMemoriesAreBounded(t *testing.T) {
	book, err := Bundled().WithOverrides(NoOverrides())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 30_000 {
		reading := callOf("openai", fmt.Sprintf("gpt-4o-%d", n), map[usage.Unit]int64{usage.InputTokens: 1})
		if bill := book.Price(reading, noon); bill.Status == Priced {
			t.Fatalf("%s is priced", reading.Model)
		}
	}
	if size := len(book.plans.slots); size != plansSize {
		t.Errorf("%d places for plans, want %d", size, plansSize)
	}
	kept := 0
	for i := range book.plans.slots {
		if book.plans.slots[i].Load() != nil {
			kept++
		}
	}
	if kept < plansSize/2 {
		t.Errorf("only %d plans are remembered", kept)
	}
	long := callOf("openai", strings.Repeat("x", 100_000), map[usage.Unit]int64{usage.InputTokens: 1})
	if bill := book.Price(long, noon); bill.Status != Unpriced {
		t.Errorf("a hostile name is %s", bill.Status)
	}
}

func TestManyGoroutinesGetTheSameBills(t *testing.T) {
	book, err := Bundled().WithOverrides(NoOverrides())
	if err != nil {
		t.Fatal(err)
	}
	random := newMaker(t, 12)
	readings := make([]*usage.Reading, 300)
	want := make([]string, len(readings))
	for i := range readings {
		readings[i], _ = random.reading()
		bill := Bundled().Price(readings[i], noon)
		want[i] = textOf(&bill).lineOf()
	}
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for n := range 600 {
				i := (n*7 + g*37) % len(readings)
				if bill := book.Price(readings[i], noon); textOf(&bill).lineOf() != want[i] {
					t.Errorf("%s, want %s", textOf(&bill).lineOf(), want[i])
				}
			}
		})
	}
	group.Wait()
}

func TestUnusableFilesAreRefused(t *testing.T) {
	book := func(providers string) string {
		return `{"format":"agentcost-prices/1","version":"1","providers":` + providers + `}`
	}
	for name, c := range map[string]struct{ prices, says string }{
		"no JSON":          {`{`, "price book"},
		"another format":   {`{"format":"x"}`, "format"},
		"no version":       {`{"format":"agentcost-prices/1"}`, "no version"},
		"unknown clause":   {book(`[{"id":"a","models":[{"id":"m","match":{"like":"x"}}]}]`), "a/m: match: unknown clause"},
		"two keys":         {book(`[{"id":"a","models":[{"id":"m","match":{"starts":"x","ends":"y"}}]}]`), "one key"},
		"no regexp":        {book(`[{"id":"a","guess":{"regex":"("},"models":[]}]`), "guess"},
		"unknown unit":     {book(`[{"id":"a","models":[{"id":"m","rates":{"tokens":"1"}}]}]`), `unknown unit "tokens"`},
		"no price":         {book(`[{"id":"a","models":[{"id":"m","rates":{"input_tokens":"-1"}}]}]`), "no price"},
		"no tier":          {book(`[{"id":"a","models":[{"id":"m","rates":{"input_tokens":{"price":"1","tiers":[{"price":"1"}]}}}]}]`), "gt or gte"},
		"no date":          {book(`[{"id":"a","models":[{"id":"m","prices":[{"from":"soon","rates":{}}]}]}]`), "no date"},
		"no window":        {book(`[{"id":"a","models":[{"id":"m","prices":[{"windows":[["a","b"]],"rates":{}}]}]}]`), "no time window"},
		"no weekday":       {book(`[{"id":"a","models":[{"id":"m","prices":[{"weekdays":[9],"rates":{}}]}]}]`), "no weekday"},
		"no factor":        {book(`[{"id":"a","models":[],"multipliers":[{"when":{"region":"us"},"factor":"x"}]}]`), "no factor"},
		"multiplier unit":  {book(`[{"id":"a","models":[],"multipliers":[{"factor":"1","units":["x"]}]}]`), "multipliers: unknown unit"},
		"measure unit":     {book(`[{"id":"a","models":[],"measures":[{"each_call":"x"}]}]`), "measures: unknown unit"},
		"cover unit":       {book(`[{"id":"a","models":[],"covers":[{"units":["x"]}]}]`), "covers: unknown unit"},
		"cover clause":     {book(`[{"id":"a","models":[],"covers":[{"units":[],"except":[{}]}]}]`), "covers"},
		"alias date":       {book(`[{"id":"a","models":[],"aliases":[{"name":"x","model":"m","from":"x"}]}]`), "alias x"},
		"broken variants":  {book(`[{"id":"a","models":[{"id":"m","variants":[{"when":5}]}]}]`), "variants"},
		"nested no regexp": {book(`[{"id":"a","models":[{"id":"m","match":{"or":[{"not":{"regex":"["}}]}}]}]`), "regex"},
	} {
		made, err := NewBook([]byte(c.prices), nil, nil)
		if err == nil {
			err = made.Check()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if _, err := NewBook([]byte(book(`[]`)), []byte(`{"fees":[{"tool":"x"}]}`), nil); err == nil || !strings.Contains(err.Error(), "fees[0]") {
		t.Errorf("a fee without a price: %v", err)
	}
	if _, err := NewBook([]byte(book(`[]`)), nil, []byte(`{"compute":[{}]}`)); err == nil || !strings.Contains(err.Error(), "compute[0].rates") {
		t.Errorf("a machine without rates: %v", err)
	}
	if err := Bundled().Check(); err != nil {
		t.Errorf("the book that is shipped: %v", err)
	}
}

// A model that cannot be read is no panic and no price, whatever else the book has.
func TestABrokenModelIsUnpriced(t *testing.T) {
	book, err := NewBook([]byte(`{"format":"agentcost-prices/1","version":"1","providers":[{"id":"openai","models":[`+
		`{"id":"broken","rates":{"tokens":"1"}},{"id":"good","rates":{"input_tokens":"1"}}]}]}`), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	one := map[usage.Unit]int64{usage.InputTokens: 1}
	if bill := book.Price(callOf("openai", "broken", one), noon); bill.Status != Unpriced || bill.Reason() != "pricing_error:book" {
		t.Errorf("%s %s", bill.Status, bill.Reason())
	}
	if bill := book.Price(callOf("openai", "good", one), noon); bill.Status != Priced {
		t.Errorf("%s %s", bill.Status, bill.Reason())
	}
}

func TestMembersAskOnlyForWhatIsPriced(t *testing.T) {
	book := Bundled()
	if hosts := book.PricedHosts(); !hosts.Any() || !hosts.Has("api.tavily.com") || !hosts.Has("API.tavily.com") || hosts.Has("tavily.com") {
		t.Error("hosts of the shipped fees")
	}
	if tools := book.PricedTools(); tools.Any() || tools.Has("crm") {
		t.Error("no tool has a fee before the user says so")
	}
	priced, err := book.WithOverrides(settingsOf(t, []byte(settings[1])))
	if err != nil {
		t.Fatal(err)
	}
	if tools := priced.PricedTools(); !tools.Any() || !tools.Has("CRM_x") || tools.Has("crm") {
		t.Error("tools of the user's fees")
	}
	if got := book.FeeAttributes(); !slices.Equal(got, []string{"http.response.header.x-credits-used"}) {
		t.Errorf("%q", got)
	}
}

func FuzzPrice(f *testing.F) {
	f.Add("openai", "gpt-4o", "", "api.openai.com", "flex", int64(1000), int64(400), int64(noon), uint64(3))
	f.Add("azure.ai.openai", "eu/gpt-4o", "gpt-4o", "", "auto", int64(-1), int64(0), int64(0), uint64(0xff))
	f.Add("local", strings.Repeat("a/", 300), "[", "[::1]:11434", "\x00", int64(math.MaxInt64), int64(math.MinInt64), int64(math.MinInt64), ^uint64(0))
	book, err := Bundled().WithOverrides(settingsOf(f, []byte(settings[1])))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, provider, model, requested, host, tier string, first, second, at int64, units uint64) {
		var all usage.Quantities
		n := 0
		for unit := range usage.UnitSet(units & (1<<usage.UnitCount - 1)).All() {
			quantity := usage.Nanos(first>>(n%30), second>>(n%17))
			all.Put(unit, quantity)
			n++
		}
		reading := &usage.Reading{
			Provider: provider, Model: model, RequestModel: requested, HasUsage: true, Usage: all.Usage(), Tool: model,
			Context: usage.Context{{Key: "host", Value: host}, {Key: "service_tier", Value: tier}, {Key: "path", Value: model}},
		}
		for kind := range usage.KindCompute + 1 {
			reading.Kind = kind
			bill := book.Price(reading, at)
			checkSums(t, &bill)
			if bill.Total.tooLarge() || bill.Total.Sign() < 0 {
				t.Errorf("the total is %s", bill.Total)
			}
			again := book.Price(reading, at)
			if textOf(&bill).lineOf() != textOf(&again).lineOf() {
				t.Errorf("%s, then %s", textOf(&bill).lineOf(), textOf(&again).lineOf())
			}
		}
		book.ContextWindow(provider, model)
		compileGlob(model).matches(host)
	})
}

func FuzzOverrides(f *testing.F) {
	for _, text := range settings {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4096 {
			return
		}
		value, ok := decodeLoosely(raw)
		if !ok {
			return
		}
		o, err := ReadOverrides(value)
		if err != nil {
			return
		}
		book, err := Bundled().WithOverrides(o)
		if err != nil {
			t.Fatal(err)
		}
		bill := book.Price(callOf("openai", "gpt-4o", map[usage.Unit]int64{usage.InputTokens: 1000}), noon)
		checkSums(t, &bill)
	})
}
