package pricing

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/data"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// tokenFamilies are the families a tier or a region makes cheaper or dearer; fees per search, call, image or page stay
// as they are.
var tokenFamilies = []string{"tokens", "search_block", "characters", "durations"}

// unitPlace is where a unit stands among the others.
type unitPlace struct {
	tokenLike  bool
	dimensions int
	// printed is the unit's place on a bill: input before output before fees, a total before its parts.
	printed int
}

var unitPlaces = func() (places [usage.UnitCount]unitPlace) {
	var table struct {
		Units map[string]struct{ Dimensions map[string]string }
	}
	if err := json.Unmarshal(data.Units, &table); err != nil {
		panic(fmt.Errorf("embedded units.json: %w", err))
	}
	units := make([]usage.Unit, 0, usage.UnitCount)
	for unit := range usage.Unit(usage.UnitCount) {
		dimensions := table.Units[unit.String()].Dimensions
		places[unit].dimensions = len(dimensions)
		places[unit].tokenLike = slices.Contains(tokenFamilies, dimensions["family"])
		units = append(units, unit)
	}
	rank := func(unit usage.Unit) (family, direction int) {
		dimensions := table.Units[unit.String()].Dimensions
		if dimensions["family"] != "tokens" {
			family = 1
		}
		return family, map[string]int{"input": 0, "output": 1, "": 2}[dimensions["direction"]]
	}
	slices.SortFunc(units, func(a, b usage.Unit) int {
		familyA, directionA := rank(a)
		familyB, directionB := rank(b)
		return cmp.Or(
			cmp.Compare(familyA, familyB), cmp.Compare(directionA, directionB),
			cmp.Compare(places[a].dimensions, places[b].dimensions), cmp.Compare(a.String(), b.String()))
	})
	for place, unit := range units {
		places[unit].printed = place
	}
	return places
}()

// unitsByName returns all units in the order of their names.
var unitsByName = sync.OnceValue(func() []usage.Unit {
	units := slices.Collect(usage.UnitSet(1<<usage.UnitCount - 1).All())
	slices.SortFunc(units, func(a, b usage.Unit) int { return cmp.Compare(a.String(), b.String()) })
	return units
})

func tokenLike(unit usage.Unit) bool { return unitPlaces[unit].tokenLike }

// printedOrder sorts units as they stand on a bill.
func printedOrder(a, b usage.Unit) int {
	return cmp.Compare(unitPlaces[a].printed, unitPlaces[b].printed)
}

// printed returns the units of a set as they stand on a bill.
func printed(set usage.UnitSet) []usage.Unit {
	units := slices.Collect(set.All())
	slices.SortFunc(units, printedOrder)
	return units
}

// cut returns at most limit characters of a text.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for at := range text {
		if limit == 0 {
			return text[:at]
		}
		limit--
	}
	return text
}

// trim takes white space away on both sides, the four separators U+001C to U+001F included, as Python does.
func trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f })
}

// lower returns a text in lower case, as Python does: the letter U+0130 becomes two characters.
func lower(text string) string {
	if strings.Contains(text, "\u0130") {
		text = strings.ReplaceAll(text, "\u0130", "i\u0307")
	}
	return strings.ToLower(text)
}

// namesOf returns the names a user's pattern may mean: as written, and without address.
func namesOf(model string) []string {
	names := []string{lower(trim(model))}
	if bare := usage.BareModel(model); bare != names[0] {
		names = append(names, bare)
	}
	return names
}

// glob is a user's pattern: `*`, `?`, `[...]` and `[!...]`, case-insensitive, for a whole name.
type glob struct {
	all     bool
	pattern *regexp.Regexp
}

// compileGlob never fails: what is no pattern is a plain text.
func compileGlob(text string) glob {
	if text == "*" {
		return glob{all: true}
	}
	return glob{pattern: regexp.MustCompile(globRegexp(lower(text)))}
}

func (g glob) matches(name string) bool { return g.all || g.pattern.MatchString(lower(name)) }

// globRegexp translates a pattern as Python's fnmatch does: `[` without `]` is itself, an empty range matches nothing.
func globRegexp(text string) string {
	var out strings.Builder
	out.WriteString(`(?s)\A`)
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; c {
		case '*':
			out.WriteString(`.*`)
		case '?':
			out.WriteString(`.`)
		case '[':
			end := classEnd(runes, i+1)
			if end < 0 {
				out.WriteString(`\[`)
				continue
			}
			writeClass(&out, runes[i+1:end])
			i = end
		default:
			if c == utf8.RuneError {
				out.WriteString(`.`)
				continue
			}
			out.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	out.WriteString(`\z`)
	return out.String()
}

// classEnd returns where the class that begins at from ends: at the first `]` that is not its first character.
func classEnd(runes []rune, from int) int {
	at := from
	if at < len(runes) && runes[at] == '!' {
		at++
	}
	if at < len(runes) && runes[at] == ']' {
		at++
	}
	for ; at < len(runes); at++ {
		if runes[at] == ']' {
			return at
		}
	}
	return -1
}

func writeClass(out *strings.Builder, class []rune) {
	negated := class[0] == '!'
	if negated {
		class = class[1:]
	}
	var set strings.Builder
	for i := 0; i < len(class); i++ {
		first, last := class[i], class[i]
		if i+2 < len(class) && class[i+1] == '-' {
			last = class[i+2]
			i += 2
		}
		if first <= last {
			fmt.Fprintf(&set, `\x{%x}-\x{%x}`, first, last)
		}
	}
	switch {
	case set.Len() > 0 && negated:
		out.WriteString(`[^` + set.String() + `]`)
	case set.Len() > 0:
		out.WriteString(`[` + set.String() + `]`)
	case negated:
		out.WriteString(`.`)
	default:
		out.WriteString(`[^\x00-\x{10FFFF}]`)
	}
}
