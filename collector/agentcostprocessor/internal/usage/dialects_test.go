package usage

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func readMap(reader *Reader, name, scope string, attributes, resource Map) (Reading, bool) {
	span := Span{
		Name: name, Scope: scope, Kind: SpanInternal,
		Attributes: Gather(InUsage, attributes), Resource: Gather(InResource, resource),
	}
	var reading Reading
	ok := reader.Read(&span, &reading)
	return reading, ok
}

// Nothing is allocated for a span that is not ours, nor for a call that is read again and again.
func TestReadingAllocatesNothing(t *testing.T) {
	for name, attributes := range map[string]Map{"stranger": stranger(), "call": call()} {
		pairs := listed(attributes)
		evidence, reader, reading := &Evidence{}, NewReader(), &Reading{}
		span := Span{Name: name, Scope: "scope", Kind: SpanClient, Attributes: evidence}
		var labels Labels
		got := testing.AllocsPerRun(100, func() {
			collect(evidence, InAll, pairs)
			reader.Read(&span, reading)
			ReadLabels(evidence, nil, &labels)
			ReadStated(evidence)
		})
		if got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

// What a reader has read before changes nothing.
func TestReaderHasNoMemoryOfSpans(t *testing.T) {
	used := NewReader()
	var reused Reading
	everyVectorSpan(t, func(id string, span *Span) {
		var fresh Reading
		want := NewReader().Read(span, &fresh)
		for range 2 {
			got := used.Read(span, &reused)
			if got != want || got && !same(&reused, &fresh) {
				t.Errorf("%s: got %+v, want %+v", id, reused, fresh)
			}
		}
	})
}

// A clone shares nothing that the next read overwrites.
func TestCloneOutlivesTheNextRead(t *testing.T) {
	reader := NewReader()
	reading, _ := readMap(reader, "chat", "", call(), nil)
	kept := reading.Clone()
	other := call()
	other["gen_ai.response.id"] = TextValue("another")
	other["server.address"] = TextValue("eu.api.openai.com")
	span := Span{Name: "chat", Attributes: Gather(InUsage, other)}

	reader.Read(&span, &reading)

	if kept.Identity[0] != "chatcmpl-123" || kept.Context.Get("host") != "api.openai.com" || reading.Context.Get("region") != "eu" {
		t.Errorf("kept %+v", kept)
	}
}

// Hostile scopes, models, hosts and providers fill no memory.
func TestMemoriesAreBounded(t *testing.T) {
	reader := NewReader()
	for i := range 5000 {
		attributes := Map{
			"gen_ai.operation.name": TextValue("chat"), "gen_ai.request.model": TextValue(fmt.Sprintf("x/model-%d", i)),
			"gen_ai.provider.name": TextValue(fmt.Sprintf("provider %d", i)), "server.address": TextValue(fmt.Sprintf("h%d.example", i)),
		}
		readMap(reader, "chat", fmt.Sprintf("scope %d", i), attributes, nil)
	}
	sizes := map[string]int{
		"candidates": len(reader.candidates) - maxCandidates,
		"billers":    len(reader.billers.young) + len(reader.billers.old) - 2*reader.billers.size,
		"hosts":      len(reader.hosts.young) + len(reader.hosts.old) - 2*reader.hosts.size,
		"models":     len(modelNames.memory.young) + len(modelNames.memory.old) - 2*modelNames.memory.size,
		"providers":  len(canonical.memory.young) + len(canonical.memory.old) - 2*canonical.memory.size,
	}
	for name, over := range sizes {
		if over > 0 {
			t.Errorf("%s: %d too many", name, over)
		}
	}
	readMap(reader, "chat", strings.Repeat("s", 10_000), call(), nil)
	if got := NameOf(strings.Repeat("x", 10_000)).Bare; len(got) != maxText {
		t.Errorf("a name of %d characters is kept", len(got))
	}
}

// Only what is asked for is collected; of a repeated key the last value counts.
func TestEvidenceKeepsWhatIsWanted(t *testing.T) {
	evidence := &Evidence{}
	evidence.Begin(InLabels)
	for _, name := range []string{"gen_ai.usage.input_tokens", "agentcost.cost.amount", "", "nobody.reads.this"} {
		if _, wanted := evidence.Find(name); wanted {
			t.Errorf("%q is wanted", name)
		}
	}
	for _, value := range []string{"a", "b"} {
		key, wanted := evidence.Find("session.id")
		if !wanted {
			t.Fatal("session.id is not wanted")
		}
		evidence.Put(key, TextValue(value))
	}
	var labels Labels
	ReadLabels(evidence, nil, &labels)
	if got := maps.Collect(labels.All()); len(got) != 1 || got[LabelSessionID] != "b" {
		t.Errorf("got %v", got)
	}
	evidence.Begin(InLabels)
	if ReadLabels(evidence, nil, &labels); labels != (Labels{}) {
		t.Errorf("got %v after Begin", labels)
	}
}

// Every key of the tables is found, whatever else is asked for in between.
func TestEveryKeyIsFound(t *testing.T) {
	for number, name := range keys.names {
		if key, ok := keys.find(name); !ok || int(key) != number {
			t.Errorf("%s: got %d %v, want %d", name, key, ok, number)
		}
		if _, ok := keys.find(name + "\x00"); ok {
			t.Errorf("something is found for %s and a zero", name)
		}
	}
}

// A usage holds any number of units, and its arithmetic is that of its units.
func TestUsageOfEveryUnit(t *testing.T) {
	var all Quantities
	for unit := range Unit(UnitCount) {
		all.Put(unit, Count(int64(unit)+1))
	}
	whole := all.Usage()
	twice := whole.Plus(&whole)
	for unit := range Unit(UnitCount) {
		if whole.Get(unit) != Count(int64(unit)+1) || twice.Get(unit) != Count(2*int64(unit)+2) {
			t.Errorf("%s: %s and %s", unit, whole.Get(unit), twice.Get(unit))
		}
	}
	if whole.Equal(&twice) || !whole.Equal(&whole) || !whole.Detailed() || whole.IsEmpty() {
		t.Error("a usage is not itself")
	}
	one := Of(ToolCalls, Count(1))
	if sum := one.Plus(&Usage{}); !sum.Equal(&one) || one.Get(InputTokens) != (Quantity{}) {
		t.Errorf("got %v", sum)
	}
}

// Priced units take their part out of the nearest priced unit above; the others stay inside.
func TestLeavesAreExclusive(t *testing.T) {
	var c Quantities
	c.Put(InputTokens, Count(100))
	c.Put(CacheReadTokens, Count(60))
	c.Put(InputAudioTokens, Count(30))
	c.Put(CacheAudioReadTokens, Count(20))
	c.Put(OutputTokens, Count(9))
	whole := c.Usage()
	leaves := whole.Leaves(whole.Units())
	for unit, want := range map[Unit]int64{
		InputTokens: 30, CacheReadTokens: 40, InputAudioTokens: 10, CacheAudioReadTokens: 20, OutputTokens: 9,
	} {
		if got := leaves.Get(unit); got != Count(want) {
			t.Errorf("%s: got %s, want %d", unit, got, want)
		}
	}
	some := whole.Leaves(SetOf(InputTokens, CacheReadTokens))
	if some.Get(InputTokens) != Count(40) || some.Get(CacheReadTokens) != Count(60) || some.Units().Len() != 2 {
		t.Errorf("got %v", some)
	}
}

func same(a, b *Reading) bool {
	x, y := a.Clone(), b.Clone()
	x.Usage, y.Usage = Usage{}, Usage{}
	return a.Usage.Equal(&b.Usage) && reflect.DeepEqual(x, y)
}

// everyVectorSpan calls visit for each span of the conformance vectors.
func everyVectorSpan(t testing.TB, visit func(id string, span *Span)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectors, "dialects", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var parsed vectorFile
		if err := json.Unmarshal(text, &parsed); err != nil {
			t.Fatal(err)
		}
		for _, vector := range parsed.Cases {
			span := spanOf(t, vector.Given)
			visit(vector.ID, &span)
		}
	}
}
