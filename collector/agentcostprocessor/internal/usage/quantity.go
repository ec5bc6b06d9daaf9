package usage

import (
	"math"
	"strconv"
)

// nano is how many steps a quantity has between two whole numbers.
const nano = 1_000_000_000

// MaxQuantity is the largest number that is believed: 2^53.
const MaxQuantity = 1 << 53

// Quantity is a count, or a measured amount with at most nine decimals (seconds, megabytes). Never a float.
//
// The value is whole + nanos/1e9 with 0 <= nanos < 1e9, so -0.25 is -1 + 0.75. Sums that leave the range of whole
// stop at its end: no real usage comes near it.
type Quantity struct {
	whole int64
	nanos int32
}

// Count returns a whole quantity.
func Count(n int64) Quantity { return Quantity{whole: n} }

// Nanos returns the quantity whole + nanos/1e9; nanos may be any number.
func Nanos(whole, nanos int64) Quantity {
	carry := nanos / nano
	if nanos%nano < 0 {
		carry--
	}
	return Quantity{whole: saturatingAdd(whole, carry), nanos: int32(nanos - carry*nano)}
}

// Whole is the largest whole number that is not above the quantity.
func (q Quantity) Whole() int64 { return q.whole }

// Fraction is what the quantity has above Whole, in 1e-9; 0 for a whole number.
func (q Quantity) Fraction() int32 { return q.nanos }

// IsWhole tells whether the quantity has no fraction.
func (q Quantity) IsWhole() bool { return q.nanos == 0 }

// IsZero tells whether the quantity is 0.
func (q Quantity) IsZero() bool { return q == Quantity{} }

// Sign returns -1, 0 or 1.
func (q Quantity) Sign() int {
	switch {
	case q.whole < 0:
		return -1
	case q.whole > 0 || q.nanos > 0:
		return 1
	}
	return 0
}

// Compare returns -1, 0 or 1 as q is less than, equal to or greater than other.
func (q Quantity) Compare(other Quantity) int {
	switch {
	case q.whole < other.whole, q.whole == other.whole && q.nanos < other.nanos:
		return -1
	case q == other:
		return 0
	}
	return 1
}

// Less tells whether q is less than other.
func (q Quantity) Less(other Quantity) bool { return q.Compare(other) < 0 }

// Add returns the exact sum.
func (q Quantity) Add(other Quantity) Quantity {
	nanos := q.nanos + other.nanos // below 2^31: each is below 1e9
	whole := saturatingAdd(q.whole, other.whole)
	if nanos >= nano {
		nanos -= nano
		whole = saturatingAdd(whole, 1)
	}
	return Quantity{whole: whole, nanos: nanos}
}

// Sub returns the exact difference; it may be negative.
func (q Quantity) Sub(other Quantity) Quantity { return q.Add(other.Negate()) }

// Negate returns -q.
func (q Quantity) Negate() Quantity {
	if q.whole == math.MinInt64 {
		q.whole++
	}
	if q.nanos == 0 {
		return Quantity{whole: -q.whole}
	}
	return Quantity{whole: -q.whole - 1, nanos: nano - q.nanos}
}

// Min returns the smaller of two quantities.
func Min(a, b Quantity) Quantity {
	if b.Less(a) {
		return b
	}
	return a
}

// String writes the quantity without exponent or trailing zeros.
func (q Quantity) String() string { return string(q.AppendText(nil)) }

// AppendText appends what String returns.
func (q Quantity) AppendText(to []byte) []byte {
	if q.nanos == 0 {
		return strconv.AppendInt(to, q.whole, 10)
	}
	if q.whole < 0 {
		to = append(to, '-')
		q = q.Negate()
	}
	to = strconv.AppendInt(to, q.whole, 10)
	digits := strconv.AppendInt(nil, int64(q.nanos)+nano, 10)
	digits[0] = '.'
	for digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return append(to, digits...)
}

func saturatingAdd(a, b int64) int64 {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	}
	return sum
}
