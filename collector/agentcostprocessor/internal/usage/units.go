package usage

import (
	"iter"
	"math/bits"
)

// Unit is one billable thing, as a small number. Its facts come from semconv/units.yaml.
//
// Units nest: unit A contains unit B when A's dimensions are a proper subset of B's. Numbers are given so that a unit
// comes after every unit it contains.
type Unit uint8

// NoUnit is no unit.
const NoUnit Unit = 255

// Component is the rollup bucket a unit's money falls into.
type Component uint8

// The components.
const (
	LLM Component = iota
	Tool
	API
	Compute
)

// ComponentCount is how many components there are.
const ComponentCount = 4

// String returns the name used in attributes: llm, tool, api or compute.
func (c Component) String() string {
	return [ComponentCount]string{"llm", "tool", "api", "compute"}[c]
}

// WithoutRate is what a bill says about a unit that has no rate of its own.
type WithoutRate uint8

// What is said: nothing; that the figure is an estimate; that it is partial; that no fee is asked.
const (
	Inherit WithoutRate = iota
	Estimated
	Partial
	Free
)

// String returns the name used in semconv/units.yaml.
func (w WithoutRate) String() string {
	return [...]string{"inherit", "estimated", "partial", "free"}[w]
}

type unitFacts struct {
	key         string
	per         int64
	component   Component
	detail      string
	withoutRate WithoutRate
	ancestors   []Unit
	inside      UnitSet
}

// unitsByKey has one entry more than units: nothing is ever added to it.
var unitsByKey = func() map[string]Unit {
	known := make(map[string]Unit, UnitCount)
	for unit := range Unit(UnitCount) {
		known[unitTable[unit].key] = unit
	}
	return known
}()

// UnitOf returns the unit of a key such as "input_tokens".
func UnitOf(key string) (Unit, bool) {
	unit, ok := unitsByKey[key]
	return unit, ok
}

// String returns the unit's key.
func (u Unit) String() string {
	if u >= UnitCount {
		return "no_unit"
	}
	return unitTable[u].key
}

// Per is the block a price is quoted for, e.g. 1 000 000 tokens or 3 600 seconds.
func (u Unit) Per() int64 { return unitTable[u].per }

// Component is the rollup bucket of the unit's money.
func (u Unit) Component() Component { return unitTable[u].component }

// Detail names the attribute agentcost.cost.<detail> that shows the unit's money.
func (u Unit) Detail() string { return unitTable[u].detail }

// WithoutRate tells what a bill says when this unit has no rate of its own.
func (u Unit) WithoutRate() WithoutRate { return unitTable[u].withoutRate }

// Ancestors are the units that contain this one, nearest (most dimensions) first. Read only.
func (u Unit) Ancestors() []Unit { return unitTable[u].ancestors }

// Inside are the units this one contains.
func (u Unit) Inside() UnitSet { return unitTable[u].inside }

// Contains tells whether inner is part of u (proper containment).
func (u Unit) Contains(inner Unit) bool { return unitTable[u].inside.Has(inner) }

// UnitSet is a set of units, one bit each.
type UnitSet uint64

// A set has 64 bits; a vocabulary that outgrows them does not compile.
const _ = uint(64 - UnitCount)

// SetOf returns the set of some units.
func SetOf(units ...Unit) UnitSet {
	var set UnitSet
	for _, unit := range units {
		set |= 1 << unit
	}
	return set
}

// Has tells whether a unit is in the set.
func (s UnitSet) Has(unit Unit) bool { return s>>unit&1 == 1 }

// Len is how many units are in the set.
func (s UnitSet) Len() int { return bits.OnesCount64(uint64(s)) }

// All ranges over the set, parts before the units that contain them.
func (s UnitSet) All() iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		for left := s; left != 0; left &= left - 1 {
			if !yield(Unit(bits.TrailingZeros64(uint64(left)))) {
				return
			}
		}
	}
}
