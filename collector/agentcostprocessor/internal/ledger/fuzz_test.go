package ledger

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
)

func addSeeds(f *testing.F) {
	f.Add([]byte("chat in chat in agent, twice told"), uint64(1))
	f.Add([]byte{
		0, 8, 79, 0, 0, 1, // an aggregate as root
		1, 0, 0, 0, 0, 0, // a call below it with an id
		1, 16, 0, 1, 0, 0, // its twin of another scope with the same id
		2, 5, 0, 0, 0, 0, // a fetch of it
		3, 11, 0, 0, 0, 1, // a tool
		1, 2, 4, 2, 1, 3, // another call inside the tool
	}, uint64(2))
	f.Add([]byte{0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1}, uint64(3)) // a circle
}

// Law 1: no order of arrival, no repetition and no split changes any charge; no charge is below nothing or above what
// the span shows; the total is the sum.
func FuzzSettle(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		entries := entriesOf(data)
		if len(entries) == 0 {
			return
		}
		settlement := Settle(entries, toyPrice, nil)
		random := rand.New(rand.NewPCG(seed, seed))
		for range 3 {
			again := Settle(shuffled(entries, random), toyPrice, nil)
			for i := range settlement.Charges {
				checkEqual(t, settlement.Tree.entries[i].SpanID, &settlement.Charges[i], &again.Charges[i])
			}
		}
		var sum pricing.Money
		for i := range settlement.Charges {
			charge, entry := &settlement.Charges[i], &settlement.Tree.entries[i]
			sum = sum.Add(charge.pico())
			most := pricing.Money{}
			if hasPrice(entry) {
				most = entry.Bill.Total
			}
			if charge.pico().Sign() < 0 || charge.pico().Cmp(most) > 0 {
				t.Errorf("%s is charged %s of %s", entry.SpanID, charge.pico(), most)
			}
		}
		if sum != settlement.Total() {
			t.Errorf("total %s, sum %s", settlement.Total(), sum)
		}
	})
}

func checkEqual(t *testing.T, id string, a, b *Charge) {
	t.Helper()
	if a.Pico != b.Pico || a.Claimed != b.Claimed || a.Status != b.Status || a.Reason != b.Reason {
		t.Errorf("%s: %s %s %s, in another order %s %s %s", id, a.Pico, a.Status, a.Reason, b.Pico, b.Status, b.Reason)
	}
	if tokensOf(a.Usage) != tokensOf(b.Usage) {
		t.Errorf("%s: %v, in another order %v", id, tokensOf(a.Usage), tokensOf(b.Usage))
	}
}

// The tree holds every entry once, parents before what is below them, whatever the links say.
func FuzzTree(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		entries := entriesOf(data)
		if len(entries) == 0 {
			return
		}
		tree := NewTree(shuffled(entries, rand.New(rand.NewPCG(seed, 0))))
		ids := make(map[string]bool)
		for _, entry := range entries {
			ids[entry.SpanID] = true
		}
		if tree.Len() != len(ids) || len(tree.OutermostFirst()) != tree.Len() {
			t.Fatalf("%d entries, %d in the walk, %d spans", tree.Len(), len(tree.OutermostFirst()), len(ids))
		}
		place := make([]int, tree.Len())
		for at, i := range tree.OutermostFirst() {
			place[i] = at
		}
		if !slices.Equal(slices.Sorted(maps.Keys(ids)), sortedIDs(tree)) {
			t.Error("other spans in the tree than were given")
		}
		for i := range int32(tree.Len()) {
			if above := tree.Parent(i); above != none && place[above] >= place[i] {
				t.Errorf("%s comes after %s", tree.Entry(above).SpanID, tree.Entry(i).SpanID)
			}
		}
	})
}

func sortedIDs(tree *Tree) []string {
	var ids []string
	for i := range int32(tree.Len()) {
		ids = append(ids, tree.Entry(i).SpanID)
	}
	return ids
}

// Subtrees add up: the totals of the roots are the charges, and no order of spans or traces changes what is written.
func FuzzAccountFor(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		spans := recordsOf(data)
		if len(spans) == 0 {
			return
		}
		book := pricing.Bundled()
		accounts := AccountFor(slices.Clone(spans), book, Missing, Writing{Full: true})
		random := rand.New(rand.NewPCG(seed, 1))
		mixed := slices.Clone(spans)
		for range random.IntN(4) {
			mixed = append(mixed, spans[random.IntN(len(spans))])
		}
		random.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		again := AccountFor(mixed, book, Missing, Writing{Full: true})
		if len(accounts.Spans) != len(again.Spans) {
			t.Fatalf("%d spans, in another order %d", len(accounts.Spans), len(again.Spans))
		}
		for i, account := range accounts.Spans {
			if !slices.Equal(account.Attributes, again.Spans[i].Attributes) {
				t.Errorf("%s: %v, in another order %v", account.Span.SpanID, account.Attributes, again.Spans[i].Attributes)
			}
		}
		var sessions pricing.Money
		for i := range accounts.Sessions {
			sessions = sessions.Add(accounts.Sessions[i].Rollup.Total())
		}
		if sessions != accounts.Total() {
			t.Errorf("sessions add up to %s, charges to %s", sessions, accounts.Total())
		}
	})
}
