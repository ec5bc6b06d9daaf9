package usage

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/data"
)

// The generated table says what semconv/units.yaml says.
func TestUnitTableEqualsSharedData(t *testing.T) {
	var shared struct {
		Units map[string]struct {
			Per         int64
			Dimensions  map[string]string
			Component   string
			Detail      string
			WithoutRate string `json:"without_rate"`
		}
	}
	if err := json.Unmarshal(data.Units, &shared); err != nil {
		t.Fatal(err)
	}
	if len(shared.Units) != UnitCount {
		t.Fatalf("the table has %d units, the data %d", UnitCount, len(shared.Units))
	}
	within := func(outer, inner map[string]string) bool {
		for key, value := range outer {
			if inner[key] != value {
				return false
			}
		}
		return len(outer) < len(inner)
	}
	for unit := range Unit(UnitCount) {
		facts, ok := shared.Units[unit.String()]
		if !ok {
			t.Fatalf("no unit %s in the data", unit)
		}
		if got, _ := UnitOf(unit.String()); got != unit {
			t.Errorf("UnitOf(%s) = %s", unit, got)
		}
		if unit.Per() != facts.Per || unit.Component().String() != facts.Component ||
			unit.Detail() != facts.Detail || unit.WithoutRate().String() != facts.WithoutRate {
			t.Errorf("%s: %+v is not %+v", unit, unitTable[unit], facts)
		}
		for other := range Unit(UnitCount) {
			want := within(facts.Dimensions, shared.Units[other.String()].Dimensions)
			if unit.Contains(other) != want || slices.Contains(other.Ancestors(), unit) != want {
				t.Errorf("%s contains %s: want %v", unit, other, want)
			}
			if want && unit < other {
				t.Errorf("%s contains %s and has a smaller number", unit, other)
			}
		}
	}
	names := make([]string, 0, UnitCount)
	for _, unit := range unitsByName {
		names = append(names, unit.String())
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %v", names)
	}
}

// A set is walked from parts to wholes, each unit once.
func TestUnitSetIsWalkedInOrder(t *testing.T) {
	set := SetOf(InputTokens, CacheReadTokens, OutputTokens, CacheAudioReadTokens)

	got := slices.Collect(set.All())

	want := []Unit{CacheAudioReadTokens, CacheReadTokens, InputTokens, OutputTokens}
	if !slices.Equal(got, want) || set.Len() != 4 || set.Has(OutputReasoningTokens) {
		t.Errorf("got %v, want %v", got, want)
	}
}
