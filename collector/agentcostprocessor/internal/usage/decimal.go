package usage

import (
	"math"
	"math/bits"
	"strconv"
)

// maxExponent bounds how large or small a number may be that is believed: |number| from 1e-30 to below 1e31.
const maxExponent = 30

// maxDigits is the longest number in a text.
const maxDigits = 24

// Decimal is a number exactly as it was written: coefficient x 10^exponent, the coefficient below 2^128.
//
// It keeps the digits of its source (31.0 is not 31 when it is shown) and a double by its shortest form.
type Decimal struct {
	hi, lo   uint64
	exponent int16
	negative bool
}

var powers = func() (of [20]uint64) {
	of[0] = 1
	for i := 1; i < len(of); i++ {
		of[i] = of[i-1] * 10
	}
	return of
}()

// DecimalOf returns a whole number.
func DecimalOf(n int64) Decimal {
	if n < 0 {
		return Decimal{lo: -uint64(n), negative: true}
	}
	return Decimal{lo: uint64(n)}
}

// ParseDecimal reads `-?digits`, with optional `.digits` and exponent, in at most 24 characters; false for anything
// else, and for a number whose size is beyond belief.
func ParseDecimal(text string) (Decimal, bool) {
	if len(text) > maxDigits {
		return Decimal{}, false
	}
	return parseDecimal(text)
}

func parseDecimal(text string) (d Decimal, ok bool) {
	at := 0
	if at < len(text) && text[at] == '-' {
		d.negative = true
		at++
	}
	start := at
	at = d.takeDigits(text, at)
	if at == start {
		return Decimal{}, false
	}
	exponent := 0
	if at < len(text) && text[at] == '.' {
		point := at + 1
		at = d.takeDigits(text, point)
		if at == point {
			return Decimal{}, false
		}
		exponent = point - at
	}
	if at < len(text) && (text[at] == 'e' || text[at] == 'E') {
		at++
		sign := 1
		if at < len(text) && (text[at] == '+' || text[at] == '-') {
			if text[at] == '-' {
				sign = -1
			}
			at++
		}
		stated, from := 0, at
		for at < len(text) && isDigit(text[at]) && at-from < 3 {
			stated = stated*10 + int(text[at]-'0')
			at++
		}
		if at == from {
			return Decimal{}, false
		}
		exponent += sign * stated
	}
	if at != len(text) {
		return Decimal{}, false
	}
	d.exponent = int16(exponent)
	return d, d.believable()
}

// takeDigits appends the digits of text from at on to the coefficient and returns where they end.
func (d *Decimal) takeDigits(text string, at int) int {
	for ; at < len(text) && isDigit(text[at]); at++ {
		d.hi, d.lo = times10(d.hi, d.lo)
		var carry uint64
		d.lo, carry = bits.Add64(d.lo, uint64(text[at]-'0'), 0)
		d.hi += carry
	}
	return at
}

// decimalOfDouble returns a finite double by its shortest form.
func decimalOfDouble(value float64) (Decimal, bool) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return Decimal{}, false
	}
	var buffer [32]byte
	written := appendDouble(buffer[:0], value)
	return parseDecimal(string(written))
}

// appendDouble writes a double the way Python does: 2.0, 1e-05, 1e+16.
func appendDouble(to []byte, value float64) []byte {
	switch {
	case math.IsNaN(value):
		return append(to, "nan"...)
	case math.IsInf(value, 1):
		return append(to, "inf"...)
	case math.IsInf(value, -1):
		return append(to, "-inf"...)
	}
	size := math.Abs(value)
	if size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.AppendFloat(to, value, 'e', -1, 64)
	}
	from := len(to)
	to = strconv.AppendFloat(to, value, 'f', -1, 64)
	for _, c := range to[from:] {
		if c == '.' {
			return to
		}
	}
	return append(to, ".0"...)
}

func (d Decimal) believable() bool {
	size := d.digits() - 1 + int(d.exponent)
	return -maxExponent <= size && size <= maxExponent
}

func (d Decimal) digits() int {
	if d.hi == 0 {
		count := 1
		for count < len(powers) && d.lo >= powers[count] {
			count++
		}
		return count
	}
	count, hi, lo := 0, d.hi, d.lo
	for hi != 0 || lo != 0 {
		hi, lo, _ = by10(hi, lo)
		count++
	}
	return count
}

// IsZero tells whether the number is 0.
func (d Decimal) IsZero() bool { return d.hi == 0 && d.lo == 0 }

// Sign returns -1, 0 or 1.
func (d Decimal) Sign() int {
	switch {
	case d.IsZero():
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// IsWhole tells whether the number has no fraction.
func (d Decimal) IsWhole() bool {
	if d.exponent >= 0 || d.IsZero() {
		return true
	}
	if places := -int(d.exponent); d.hi == 0 {
		return places < len(powers) && d.lo%powers[places] == 0
	}
	hi, lo := d.hi, d.lo
	for range -int(d.exponent) {
		var rest uint64
		if hi, lo, rest = by10(hi, lo); rest != 0 {
			return false
		}
	}
	return true
}

// Scaled returns the number x 10^places, rounded once half to even; false when that does not fit.
func (d Decimal) Scaled(places int) (int64, bool) {
	hi, lo, ok := d.scaled(places)
	switch {
	case !ok || hi != 0 || lo >= 1<<63:
		return 0, false
	case d.negative:
		return -int64(lo), true
	}
	return int64(lo), true
}

func (d Decimal) scaled(places int) (hi, lo uint64, ok bool) {
	shift := int(d.exponent) + places
	hi, lo = d.hi, d.lo
	if d.IsZero() {
		return 0, 0, true
	}
	for ; shift > 0; shift-- {
		if hi > math.MaxUint64/10-1 {
			return 0, 0, false
		}
		hi, lo = times10(hi, lo)
	}
	if shift < -2*maxExponent-maxDigits { // far below one half
		return 0, 0, true
	}
	var last, below uint64 // the digit after the last that stays, and whether anything follows it
	for ; shift < 0; shift++ {
		below |= last
		hi, lo, last = by10(hi, lo)
	}
	if last > 5 || last == 5 && (below != 0 || lo&1 == 1) {
		var carry uint64
		lo, carry = bits.Add64(lo, 1, 0)
		hi += carry
	}
	return hi, lo, true
}

// quantity returns a number from 0 to MaxQuantity with at most nine decimals, rounded half to even.
func (d Decimal) quantity() Quantity {
	if d.exponent == 0 && d.hi == 0 {
		return Count(int64(d.lo))
	}
	hi, lo, _ := d.scaled(9)
	whole, rest := bits.Div64(hi, lo, nano) // 2^53 x 1e9 has a high word below 1e9
	return Quantity{whole: int64(whole), nanos: int32(rest)}
}

// exceeds tells whether a number that is not negative is larger than a limit.
func (d Decimal) exceeds(limit int64) bool {
	hi, lo := d.hi, d.lo
	for range d.exponent {
		hi, lo = times10(hi, lo)
	}
	for range -int(d.exponent) {
		hi, lo, _ = by10(hi, lo)
	}
	return hi != 0 || lo > uint64(limit) || lo == uint64(limit) && !d.IsWhole()
}

// String writes the number without an exponent, with the digits it was written with.
func (d Decimal) String() string {
	var reversed [40]byte
	at := len(reversed)
	for hi, lo := d.hi, d.lo; ; {
		var digit uint64
		hi, lo, digit = by10(hi, lo)
		at--
		reversed[at] = byte('0' + digit)
		if hi == 0 && lo == 0 {
			break
		}
	}
	digits := reversed[at:]
	out := make([]byte, 0, 64)
	if d.negative {
		out = append(out, '-')
	}
	point := len(digits) + int(d.exponent)
	switch {
	case d.exponent >= 0:
		out = append(out, digits...)
		for range d.exponent {
			if !d.IsZero() {
				out = append(out, '0')
			}
		}
	case point > 0:
		out = append(append(append(out, digits[:point]...), '.'), digits[point:]...)
	default:
		out = append(out, "0."...)
		for range -point {
			out = append(out, '0')
		}
		out = append(out, digits...)
	}
	return string(out)
}

func times10(hi, lo uint64) (uint64, uint64) {
	carry, low := bits.Mul64(lo, 10)
	return hi*10 + carry, low
}

func by10(hi, lo uint64) (quotientHi, quotientLo, digit uint64) {
	quotientHi = hi / 10
	quotientLo, digit = bits.Div64(hi%10, lo, 10)
	return quotientHi, quotientLo, digit
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
