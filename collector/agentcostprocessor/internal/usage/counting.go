package usage

import (
	"math"
	"strings"
)

const (
	// simple is two totals and nothing else: no part can contradict them.
	simple UnitSet = 1<<InputTokens | 1<<OutputTokens
	// common units cannot overlap: their parts are disjoint by what they are.
	common = simple | 1<<CacheReadTokens | 1<<CacheWriteTokens | 1<<CacheWrite5mTokens | 1<<CacheWrite1hTokens |
		1<<OutputReasoningTokens
)

// modality is where tokens of one kind are counted, as input and as cached input.
type modality struct{ input, cached Unit }

var modalities = [...]modality{
	{InputImageTokens, CacheImageReadTokens},
	{InputAudioTokens, CacheAudioReadTokens},
	{InputVideoTokens, CacheVideoReadTokens},
}

// read returns one number as a quantity, or says what is wrong with it: `not_a_number:`, `not_whole:`, `negative:`,
// `too_large:`.
//
// Tokens are whole: 31, 31.0 and "31" are 31. Other units keep at most nine decimals. A boolean is no number.
func (v *Value) read(unit Unit) (Quantity, string) {
	switch v.kind {
	case Int:
		if n := int64(v.bits); 0 <= n && n <= MaxQuantity {
			return Count(n), ""
		}
	case Double:
		if f := math.Float64frombits(v.bits); 0 <= f && f <= MaxQuantity && f == math.Trunc(f) {
			return Count(int64(f)), ""
		}
	}
	number, ok := v.decimal()
	switch {
	case !ok:
		return Quantity{}, "not_a_number:" + countName(unit)
	case number.Sign() < 0:
		return Quantity{}, "negative:" + shown(unit, number)
	case number.exceeds(MaxQuantity):
		return Quantity{}, "too_large:" + shown(unit, number)
	case !number.IsWhole() && strings.HasSuffix(countName(unit), "_tokens"):
		return Quantity{}, "not_whole:" + shown(unit, number)
	}
	return number.quantity(), ""
}

func countName(unit Unit) string {
	if unit == totalTokens {
		return "total_tokens"
	}
	return unit.String()
}

// shown names a unit with its number, unless the number is too long to be worth reading.
func shown(unit Unit, number Decimal) string {
	if text := number.String(); len(text) <= maxDigits {
		return countName(unit) + "=" + text
	}
	return countName(unit)
}

// total returns the sum of some units.
func (c *Quantities) total(units UnitSet) Quantity {
	var sum Quantity
	for unit := range (c.set & units).All() {
		sum = sum.Add(c.of[unit])
	}
	return sum
}

// anything tells whether some quantity is not 0.
func (c *Quantities) anything() bool {
	for unit := range c.set.All() {
		if !c.of[unit].IsZero() {
			return true
		}
	}
	return false
}

// within tells whether only some units are there.
func (c *Quantities) within(units UnitSet) bool { return c.set&^units == 0 }

// counted is how an emitter counts.
type counted struct {
	rule            inputRule
	exclusiveVendor bool
	outputExclusive bool
	additiveInput   UnitSet
	additiveOutput  UnitSet
}

// settleTotals makes input and output inclusive and takes the total out.
//
// The emitter's rule holds unless the numbers prove it wrong: parts larger than their total, or a stated total that only
// the other reading explains (semconv/dialects/README.md, Numbers 3 to 6).
func (c *Quantities) settleTotals(how counted) {
	total := c.Get(totalTokens)
	stated := !total.IsZero()
	c.Drop(totalTokens)
	if !c.Has(CacheWriteTokens) && c.set&SetOf(CacheWrite5mTokens, CacheWrite1hTokens) != 0 {
		c.Put(CacheWriteTokens, c.total(SetOf(CacheWrite5mTokens, CacheWrite1hTokens)))
	}
	partsIn, partsOut := c.total(how.additiveInput), c.total(how.additiveOutput)
	if stated && (partsIn.IsZero() || how.rule == inclusive) {
		c.deriveMissing(total)
	}
	if !partsIn.IsZero() {
		input, output := c.Get(InputTokens), c.Get(OutputTokens)
		apart := how.rule == exclusive || how.rule == auto && how.exclusiveVendor
		if input.Less(partsIn) {
			apart = true
		} else if stated && !(how.rule == auto && apart) {
			together := input.Add(output)
			asRuled, otherwise := together, together.Add(partsIn)
			if apart {
				asRuled, otherwise = otherwise, asRuled
			}
			explains := func(way Quantity) bool { return total == way || total == way.Add(partsOut) }
			if !explains(asRuled) && explains(otherwise) {
				apart = !apart
			}
		}
		if apart {
			c.Put(InputTokens, input.Add(partsIn))
		}
	}
	if !partsOut.IsZero() {
		input, output := c.Get(InputTokens), c.Get(OutputTokens)
		apart := how.outputExclusive
		switch {
		case output.Less(partsOut):
			apart = true
		case stated && total == input.Add(output):
			apart = false
		case stated && total == input.Add(output).Add(partsOut):
			apart = true
		}
		if apart {
			c.Put(OutputTokens, output.Add(partsOut))
		}
	}
}

// deriveMissing finds the one of input and output that an emitter left out beside a total.
func (c *Quantities) deriveMissing(total Quantity) {
	for _, way := range [2][2]Unit{{InputTokens, OutputTokens}, {OutputTokens, InputTokens}} {
		known, missing := way[0], way[1]
		if c.Has(known) && !c.Has(missing) && c.of[known].Less(total) {
			c.Put(missing, total.Sub(c.of[known]))
			return
		}
	}
}

// completeOverlaps states the least overlap that disjoint-looking parts of a total must have.
//
// Text is the remainder of a modality split, so it is dropped first. Then tokens that must be both cached and of a
// modality are counted as such: images first, then audio, then video.
func (c *Quantities) completeOverlaps() {
	if c.within(common) {
		return
	}
	missing := c.shortfall(InputTokens)
	if !missing.IsZero() && c.Has(InputTextTokens) {
		c.Drop(InputTextTokens)
		c.Drop(CacheTextReadTokens)
		missing = c.shortfall(InputTokens)
	}
	for _, kind := range modalities {
		if missing.Sign() <= 0 {
			break
		}
		joined := c.total(SetOf(CacheImageReadTokens, CacheAudioReadTokens, CacheVideoReadTokens))
		already := c.Get(kind.cached)
		more := Min(missing, Min(c.Get(kind.input).Sub(already), c.Get(CacheReadTokens).Sub(joined)))
		if more.Sign() > 0 {
			c.Put(kind.cached, already.Add(more))
			missing = missing.Sub(more)
		}
	}
	if c.Has(OutputTextTokens) && !c.shortfall(OutputTokens).IsZero() {
		c.Drop(OutputTextTokens)
	}
}

// shortfall is how many tokens the parts of a total have more than it, by exclusive quantities; 0 when all is well.
func (c *Quantities) shortfall(total Unit) Quantity {
	parts := c.set & total.Inside()
	if !c.Has(total) || parts.Len() < 2 {
		return Quantity{}
	}
	var leaves [UnitCount]Quantity
	left := c.of[total]
	for part := range parts.All() { // parts come before the units that contain them
		if c.of[total].Less(c.of[part]) {
			return Quantity{}
		}
		leaves[part] = c.of[part]
		for inner := range (parts & part.Inside()).All() {
			leaves[part] = leaves[part].Sub(leaves[inner])
		}
		left = left.Sub(leaves[part])
	}
	if left.Sign() >= 0 {
		return Quantity{}
	}
	return left.Negate()
}

// settled returns the usage, or what contradicts itself in it (every single number was checked when it was read).
func (c *Quantities) settled() (Usage, string) {
	made := c.Usage()
	if c.within(common) {
		written := c.Get(CacheWriteTokens)
		cached := c.Get(CacheReadTokens).Add(written)
		split := c.Get(CacheWrite5mTokens).Add(c.Get(CacheWrite1hTokens))
		if !c.Get(InputTokens).Less(cached) && !c.Get(OutputTokens).Less(c.Get(OutputReasoningTokens)) &&
			!written.Less(split) {
			return made, ""
		}
	}
	return made, made.Contradiction()
}
