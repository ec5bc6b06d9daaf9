package pricing

import (
	"errors"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// picoPerUnit is how many pico-units make one unit of a currency.
const picoPerUnit = 1_000_000_000_000

// Money is an exact amount in pico-units (1e-12) of a currency: an integer of 128 bits, so that sums of any number of
// spans are exact (one unit of currency is 2^40 pico-units, and 2^63 of them are only nine million). The zero value is
// no money. Values compare with ==.
type Money struct {
	hi int64
	lo uint64
}

// MaxMoney is the largest amount a bill claims, 10^18 units of currency; a larger one is no figure but a fault. Below
// it more than 10^8 bills add up without an overflow.
var MaxMoney = mustPico("1" + strings.Repeat("0", 30))

// Pico makes Money of a number of pico-units.
func Pico(n int64) Money { return Money{hi: n >> 63, lo: uint64(n)} }

// ParsePico reads a decimal integer number of pico-units.
func ParsePico(text string) (Money, error) {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return Money{}, errors.New("not an integer: " + strconv.Quote(text))
	}
	m, ok := moneyOf(n)
	if !ok {
		return Money{}, errors.New("more than 128 bits: " + text)
	}
	return m, nil
}

func mustPico(text string) Money {
	m, err := ParsePico(text)
	if err != nil {
		panic(err)
	}
	return m
}

// moneyOf turns a big integer into Money; ok is false when it has more than 128 bits.
func moneyOf(n *big.Int) (m Money, ok bool) {
	if n.BitLen() > 127 {
		return Money{}, false
	}
	magnitude := new(big.Int).Abs(n)
	lo := new(big.Int).And(magnitude, new(big.Int).SetUint64(^uint64(0))).Uint64()
	m = Money{hi: int64(magnitude.Rsh(magnitude, 64).Uint64()), lo: lo}
	if n.Sign() < 0 {
		m = m.Neg()
	}
	return m, true
}

// Add returns the sum, exact as long as it fits 128 bits.
func (m Money) Add(other Money) Money {
	lo, carry := bits.Add64(m.lo, other.lo, 0)
	hi, _ := bits.Add64(uint64(m.hi), uint64(other.hi), carry)
	return Money{hi: int64(hi), lo: lo}
}

// Sub returns the difference.
func (m Money) Sub(other Money) Money {
	lo, borrow := bits.Sub64(m.lo, other.lo, 0)
	hi, _ := bits.Sub64(uint64(m.hi), uint64(other.hi), borrow)
	return Money{hi: int64(hi), lo: lo}
}

// Neg returns the amount with the other sign.
func (m Money) Neg() Money { return Money{}.Sub(m) }

// Sign returns -1, 0 or 1.
func (m Money) Sign() int {
	switch {
	case m.hi < 0:
		return -1
	case m.hi == 0 && m.lo == 0:
		return 0
	}
	return 1
}

// IsZero tells whether the amount is 0.
func (m Money) IsZero() bool { return m.hi == 0 && m.lo == 0 }

// Cmp returns -1, 0 or 1 as the amount is less than, equal to or more than the other.
func (m Money) Cmp(other Money) int {
	switch {
	case m.hi < other.hi || (m.hi == other.hi && m.lo < other.lo):
		return -1
	case m == other:
		return 0
	}
	return 1
}

// Int64 returns the pico-units as an int64; ok is false when they do not fit.
func (m Money) Int64() (pico int64, ok bool) {
	return int64(m.lo), m.hi == int64(m.lo)>>63
}

// Big returns the pico-units as a big integer.
func (m Money) Big() *big.Int {
	magnitude := m
	if m.hi < 0 {
		magnitude = m.Neg()
	}
	n := new(big.Int).SetUint64(uint64(magnitude.hi))
	n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(magnitude.lo))
	if m.hi < 0 {
		n.Neg(n)
	}
	return n
}

// Pico writes the number of pico-units in decimal digits.
func (m Money) Pico() string {
	if n, ok := m.Int64(); ok {
		return strconv.FormatInt(n, 10)
	}
	return m.Big().String()
}

// String writes the amount as a plain decimal without an exponent or trailing zeros: 7500000000 pico is "0.0075".
func (m Money) String() string {
	digits, sign := strings.CutPrefix(m.Pico(), "-")
	if len(digits) <= 12 {
		digits = strings.Repeat("0", 13-len(digits)) + digits
	}
	text := digits[:len(digits)-12]
	if fraction := strings.TrimRight(digits[len(digits)-12:], "0"); fraction != "" {
		text += "." + fraction
	}
	if sign {
		return "-" + text
	}
	return text
}

// Amount returns the double for attributes, derived once and correctly rounded; math.Round(amount * 1e12) gives the
// integer back up to 2^51 pico-units.
func (m Money) Amount() float64 {
	const exact = 1 << 53
	if n, ok := m.Int64(); ok && n > -exact && n < exact {
		return float64(n) / picoPerUnit
	}
	amount, _ := new(big.Rat).SetFrac(m.Big(), big.NewInt(picoPerUnit)).Float64()
	return amount
}

// tooLarge tells whether an amount is beyond what a bill may claim, in either direction.
func (m Money) tooLarge() bool {
	if m.hi == 0 || m.hi == -1 {
		return false
	}
	if m.hi < 0 {
		m = m.Neg()
	}
	return m.Cmp(MaxMoney) > 0
}

// mulDiv returns quantity x numerator / denominator, rounded half to even: the one rounding of a line item. The result
// has up to 128 bits, ok is false when it does not fit 127.
func mulDiv(quantity, numerator, denominator uint64) (m Money, ok bool) {
	hi, lo := bits.Mul64(quantity, numerator)
	if denominator == 1 {
		return Money{hi: int64(hi), lo: lo}, int64(hi) >= 0
	}
	upper := hi / denominator
	lower, rest := bits.Div64(hi%denominator, lo, denominator)
	if upper > 1<<62 {
		return Money{}, false
	}
	m = Money{hi: int64(upper), lo: lower}
	// 2 x rest against the denominator, without the overflow of a doubling.
	if other := denominator - rest; rest > other || (rest == other && lower&1 == 1) {
		m = m.Add(Money{lo: 1})
	}
	return m, true
}

// divideHalfEven divides big integers (denominator > 0), rounding half to even.
func divideHalfEven(numerator, denominator *big.Int) *big.Int {
	quotient, rest := new(big.Int).DivMod(numerator, denominator, new(big.Int))
	switch rest.Lsh(rest, 1).Cmp(denominator) {
	case 1:
		quotient.Add(quotient, big.NewInt(1))
	case 0:
		if quotient.Bit(0) == 1 {
			quotient.Add(quotient, big.NewInt(1))
		}
	}
	return quotient
}
