package usage

import (
	"math"
	"strconv"
	"strings"
)

// ValueType is what an attribute's value is.
type ValueType uint8

// The types of values. A BigInt is a whole number of a JSON text that no int64 holds; its text is its digits.
const (
	Null ValueType = iota
	Bool
	Int
	Double
	Text
	BigInt
	Structure
	Sequence
)

// Value is the value of one attribute. The zero value is null.
type Value struct {
	kind   ValueType
	bits   uint64
	text   string
	nested Nested
}

// Nested is a map or a list inside an attribute. Only its reader knows its form.
type Nested interface {
	// Field returns what a map has under a name; false for a list.
	Field(name string) (Value, bool)
	// First returns the first element of a list; false for an empty one and for a map.
	First() (Value, bool)
}

// Attributes are the attributes of a span or a resource.
type Attributes interface {
	// Get returns the value of a key; false when it is not there.
	Get(key string) (Value, bool)
	// Range calls yield for each attribute, in any order, until it returns false.
	Range(yield func(key string, value Value) bool)
}

// NullValue is a value that says nothing.
func NullValue() Value { return Value{} }

// BoolValue is a truth value.
func BoolValue(b bool) Value {
	if b {
		return Value{kind: Bool, bits: 1}
	}
	return Value{kind: Bool}
}

// IntValue is a whole number.
func IntValue(n int64) Value { return Value{kind: Int, bits: uint64(n)} }

// DoubleValue is a double.
func DoubleValue(f float64) Value { return Value{kind: Double, bits: math.Float64bits(f)} }

// TextValue is a text.
func TextValue(s string) Value { return Value{kind: Text, text: s} }

// MapValue is a map; nil for one whose content nobody asks for.
func MapValue(m Nested) Value { return Value{kind: Structure, nested: m} }

// ListValue is a list; nil for one whose content nobody asks for.
func ListValue(l Nested) Value { return Value{kind: Sequence, nested: l} }

// Type returns what the value is.
func (v Value) Type() ValueType { return v.kind }

// absent tells whether a value counts as not being there: null and the empty text.
func (v *Value) absent() bool { return v.kind == Null || v.kind == Text && v.text == "" }

// is tells whether the value is exactly this text.
func (v *Value) is(text string) bool { return v.kind == Text && v.text == text }

// decimal returns a finite number of ordinary size exactly as it is written (a double by its shortest form).
func (v *Value) decimal() (Decimal, bool) {
	switch v.kind {
	case Int:
		return DecimalOf(int64(v.bits)), true
	case Double:
		return decimalOfDouble(math.Float64frombits(v.bits))
	case Text:
		return ParseDecimal(v.text)
	case BigInt:
		if len(strings.TrimPrefix(v.text, "-")) > maxExponent { // at least 1e30, and too large to be believed anyway
			return Decimal{lo: 1, exponent: maxExponent, negative: v.text[0] == '-'}, true
		}
		return parseDecimal(v.text)
	}
	return Decimal{}, false
}

// words returns a text or whole number as bounded text; "" for anything else.
func (v *Value) words() string {
	switch v.kind {
	case Text:
		return bounded(v.text)
	case Int:
		return strconv.FormatInt(int64(v.bits), 10)
	case BigInt:
		return v.text
	}
	return ""
}

// label returns a text or number as bounded text; "" for anything else.
func (v *Value) label() string {
	if v.kind == Double {
		return string(appendDouble(nil, math.Float64frombits(v.bits)))
	}
	return v.words()
}

// Map is attributes in memory.
type Map map[string]Value

// Get returns the value of a key.
func (m Map) Get(key string) (Value, bool) {
	value, ok := m[key]
	return value, ok
}

// Range calls yield for each attribute.
func (m Map) Range(yield func(key string, value Value) bool) {
	for key, value := range m {
		if !yield(key, value) {
			return
		}
	}
}

// Field returns what the map has under a name.
func (m Map) Field(name string) (Value, bool) { return m.Get(name) }

// First returns nothing: a map is no list.
func (m Map) First() (Value, bool) { return Value{}, false }

// List is a list in memory.
type List []Value

// Field returns nothing: a list has no names.
func (l List) Field(string) (Value, bool) { return Value{}, false }

// First returns the first element.
func (l List) First() (Value, bool) {
	if len(l) == 0 {
		return Value{}, false
	}
	return l[0], true
}
