package usage

import (
	"math"
	"math/big"
	"testing"
)

func rational(q Quantity) *big.Rat {
	whole := new(big.Rat).SetInt64(q.Whole())
	return whole.Add(whole, big.NewRat(int64(q.Fraction()), nano))
}

// Sums, differences and comparisons of quantities are those of the rational numbers they stand for.
func TestQuantityArithmeticIsExact(t *testing.T) {
	values := []Quantity{
		{}, Count(1), Count(-1), Count(MaxQuantity), Count(-MaxQuantity), Nanos(0, 1), Nanos(0, -1), Nanos(-1, 1),
		Nanos(0, 999_999_999), Nanos(7, 500_000_000), Nanos(-7, -500_000_000), Nanos(2, -3_000_000_001),
	}
	for _, a := range values {
		if got := rational(a.Negate()); got.Cmp(new(big.Rat).Neg(rational(a))) != 0 {
			t.Errorf("-(%s) = %s", a, got)
		}
		if a.Sign() != rational(a).Sign() || a.IsZero() != (rational(a).Sign() == 0) {
			t.Errorf("sign of %s is %d", a, a.Sign())
		}
		if text, ok := new(big.Rat).SetString(a.String()); !ok || text.Cmp(rational(a)) != 0 {
			t.Errorf("%v is written %s", rational(a), a)
		}
		for _, b := range values {
			if got := rational(a.Add(b)); got.Cmp(new(big.Rat).Add(rational(a), rational(b))) != 0 {
				t.Errorf("%s + %s = %s", a, b, got)
			}
			if got := rational(a.Sub(b)); got.Cmp(new(big.Rat).Sub(rational(a), rational(b))) != 0 {
				t.Errorf("%s - %s = %s", a, b, got)
			}
			if a.Compare(b) != rational(a).Cmp(rational(b)) || a.Less(b) != (a.Compare(b) < 0) {
				t.Errorf("%s against %s: %d", a, b, a.Compare(b))
			}
		}
	}
}

// A sum that leaves the range stops at its end.
func TestQuantitySaturates(t *testing.T) {
	top, bottom := Count(math.MaxInt64), Count(math.MinInt64)
	if got := top.Add(Count(1)); got.Whole() != math.MaxInt64 {
		t.Errorf("got %s", got)
	}
	if got := bottom.Sub(Count(1)); got.Whole() != math.MinInt64 {
		t.Errorf("got %s", got)
	}
	if got := bottom.Negate(); got != top {
		t.Errorf("got %s", got)
	}
}

// Nine decimals without trailing zeros, no exponent.
func TestQuantityText(t *testing.T) {
	for want, q := range map[string]Quantity{
		"0": {}, "31": Count(31), "-31": Count(-31), "1.5": Nanos(1, 500_000_000), "-0.25": Nanos(0, -250_000_000),
		"0.000000001": Nanos(0, 1), "-2.000000001": Nanos(-2, -1),
	} {
		if got := q.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
