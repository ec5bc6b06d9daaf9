package usage

import (
	"math"
	"strconv"
)

// Plain writes a text, number or truth value as a text, as it is and however long; false for anything else.
func (v Value) Plain() (text string, ok bool) {
	switch v.kind {
	case Text, BigInt:
		return v.text, true
	case Int:
		return strconv.FormatInt(int64(v.bits), 10), true
	case Double:
		return string(appendDouble(nil, math.Float64frombits(v.bits))), true
	case Bool:
		if v.bits != 0 {
			return "True", true
		}
		return "False", true
	}
	return "", false
}

// FirstOrSelf returns the first element of a list that has one (a captured header is a list of its values), and any
// other value as it is.
func (v Value) FirstOrSelf() Value {
	if v.kind == Sequence && v.nested != nil {
		if first, ok := v.nested.First(); ok {
			return first
		}
	}
	return v
}
