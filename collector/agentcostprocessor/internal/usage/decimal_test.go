package usage

import (
	"math"
	"math/big"
	"strings"
	"testing"
)

// Only a plain number of ordinary size in at most 24 characters is a number.
func TestParseDecimal(t *testing.T) {
	for text, want := range map[string]string{
		"31": "31", "31.0": "31.0", "-0.5": "-0.5", "1e3": "1000", "1E-3": "0.001", "12.50e1": "125.0", "007": "7",
		"999999999999999999999999": "999999999999999999999999", "0e9": "0", "-1.5e+2": "-150", "1e30": "1" + strings.Repeat("0", 30),
		"": "", "-": "", "+5": "", " 5": "", "5 ": "", ".5": "", "5.": "", "1e": "", "1e1234": "", "0x10": "", "1_000": "",
		"NaN": "", "inf": "", "1e31": "", "1e-31": "", "0e-50": "", "9999999999999999999999999": "", "١": "", "1.2.3": "",
	} {
		got := ""
		if number, ok := ParseDecimal(text); ok {
			got = number.String()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// A double is the number its shortest form shows.
func TestDoubleIsItsShortestForm(t *testing.T) {
	for value, want := range map[float64]string{
		0.1: "0.1", 31: "31.0", 1e16: "10000000000000000", 1e15: "1000000000000000.0", 1e-5: "0.00001", -2.5: "-2.5",
		0.0001: "0.0001", 123456.789: "123456.789",
	} {
		number, ok := decimalOfDouble(value)
		if !ok || number.String() != want {
			t.Errorf("%v: got %v, want %s", value, number, want)
		}
	}
	for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, 1e-300} {
		if number, ok := decimalOfDouble(value); ok {
			t.Errorf("%v is %v", value, number)
		}
	}
}

// Scaled rounds once, half to even, and says when the result does not fit.
func TestScaledRoundsHalfToEven(t *testing.T) {
	for _, c := range []struct {
		text   string
		places int
		want   int64
		fits   bool
	}{
		{"0.5", 0, 0, true}, {"1.5", 0, 2, true}, {"2.5", 0, 2, true}, {"-2.5", 0, -2, true}, {"-1.5", 0, -2, true},
		{"2.50000000000000000001", 0, 3, true}, {"0.0246", 12, 24_600_000_000, true}, {"1e-12", 12, 1, true},
		{"4e-13", 12, 0, true}, {"5e-13", 12, 0, true}, {"6e-13", 12, 1, true}, {"1e-30", 0, 0, true},
		{"9223372.036854775807", 12, math.MaxInt64, true}, {"9223372.036854775808", 12, 0, false},
		{"-9223372.036854775807", 12, -math.MaxInt64, true}, {"-9223372.036854775808", 12, 0, false}, {"1e30", 12, 0, false}, {"0", 12, 0, true},
	} {
		number, ok := ParseDecimal(c.text)
		if !ok {
			t.Fatalf("%s is no number", c.text)
		}
		if got, fits := number.Scaled(c.places); got != c.want || fits != c.fits {
			t.Errorf("%s x 10^%d: got %d %v, want %d %v", c.text, c.places, got, fits, c.want, c.fits)
		}
	}
}

// What is read, compared and rounded is what the digits say.
func FuzzDecimal(f *testing.F) {
	for _, text := range []string{"0", "31.0", "-1e3", "9007199254740992.5", "0.0000000005", "1e30", "123456789012345678.99999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		number, ok := ParseDecimal(text)
		if !ok {
			return
		}
		want, valid := new(big.Rat).SetString(text)
		if !valid {
			t.Fatalf("%q was read", text)
		}
		if shown, _ := new(big.Rat).SetString(number.String()); shown.Cmp(want) != 0 {
			t.Errorf("%q is shown as %s", text, number)
		}
		if number.IsWhole() != want.IsInt() || number.Sign() != want.Sign() {
			t.Errorf("%q: whole %v, sign %d", text, number.IsWhole(), number.Sign())
		}
		if want.Sign() < 0 {
			return
		}
		limit := new(big.Rat).SetInt64(MaxQuantity)
		if number.exceeds(MaxQuantity) != (want.Cmp(limit) > 0) {
			t.Errorf("%q exceeds 2^53: %v", text, number.exceeds(MaxQuantity))
		}
		if want.Cmp(limit) <= 0 {
			off := new(big.Rat).Sub(rational(number.quantity()), want)
			if off.Abs(off).Cmp(big.NewRat(1, 2*nano)) > 0 {
				t.Errorf("%q became %s", text, number.quantity())
			}
		}
	})
}
