package pricing

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ConfigError says that a setting is wrong; Key is its dotted path in agentcost.yaml.
type ConfigError struct {
	Key, Problem, Hint string
}

// Error names the key, the value and what to do.
func (e *ConfigError) Error() string {
	text := e.Key + ": " + e.Problem
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

func wrong(key, problem, hint string) error {
	return &ConfigError{Key: key, Problem: problem, Hint: hint}
}

const (
	maxDecimals = 12
	// maxSize bounds how large or small a number of the file may be: a power of ten nobody means is a mistake.
	maxSize = 30
)

var (
	timeOfDay    = regexp.MustCompile(`^(?:[01][0-9]|2[0-3]):[0-5][0-9]$`)
	currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)
	decimalText  = regexp.MustCompile(`^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$`)
	endlessText  = regexp.MustCompile(`(?i)^[+-]?(?:inf(?:inity)?|s?nan[0-9]*)$`)
)

// shown writes a value for an error message, shortened.
func shown(value any) string {
	text := []rune(repr(value))
	if len(text) <= 60 {
		return string(text)
	}
	return string(text[:57]) + "..."
}

// repr writes a value the way the Python implementation does, so that both say the same about a mistake.
func repr(value any) string {
	switch v := value.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		if strings.Contains(v, "'") && !strings.Contains(v, `"`) {
			return `"` + v + `"`
		}
		return "'" + strings.ReplaceAll(v, "'", `\'`) + "'"
	case float64:
		return doubleText(v)
	case time.Time:
		return v.Format(time.DateOnly)
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = repr(item)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, name := range keysOf(v) {
			parts = append(parts, repr(name)+": "+repr(v[name]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(value)
}

// doubleText writes a double by its shortest form, with a point.
func doubleText(v float64) string {
	text := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(text, ".eEnI") {
		text += ".0"
	}
	return text
}

func keysOf(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// mappingAt returns a mapping with text keys. A YAML reader may have made one with keys of any type.
func mappingAt(key string, value any) (map[string]any, error) {
	switch m := value.(type) {
	case map[string]any:
		return m, nil
	case map[any]any:
		named := make(map[string]any, len(m))
		for name, inner := range m {
			named[fmt.Sprint(name)] = inner
		}
		return named, nil
	}
	return nil, wrong(key, shown(value)+" is not a mapping", "write `name: value` lines below it")
}

// sequenceAt returns a list.
func sequenceAt(key string, value any) ([]any, error) {
	if list, ok := value.([]any); ok {
		return list, nil
	}
	return nil, wrong(key, shown(value)+" is not a list", "start each entry with `- `")
}

// optionalList returns a list, empty when the key is not there or says nothing.
func optionalList(key string, value any) ([]any, error) {
	if saysNothing(value) {
		return nil, nil
	}
	return sequenceAt(key, value)
}

// optionalMapping returns a mapping, empty when the key is not there or says nothing.
func optionalMapping(key string, value any) (map[string]any, error) {
	if saysNothing(value) {
		return nil, nil
	}
	return mappingAt(key, value)
}

// saysNothing tells whether a value is what an empty entry of a file becomes.
func saysNothing(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case int:
		return v == 0
	case float64:
		return v == 0
	case json.Number:
		n, err := v.Float64()
		return err == nil && n == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case map[any]any:
		return len(v) == 0
	}
	return false
}

// knownKeys refuses a key nobody reads, suggesting the one that was probably meant.
func knownKeys(key string, value map[string]any, allowed []string) error {
	for _, name := range keysOf(value) {
		if slices.Contains(allowed, name) {
			continue
		}
		hint := "known keys: " + strings.Join(allowed, ", ")
		if close := closest(name, allowed); close != "" {
			hint = "did you mean `" + close + "`?"
		}
		if key != "" {
			name = key + "." + name
		}
		return wrong(name, "unknown key", hint)
	}
	return nil
}

// textAt returns a text that is not empty.
func textAt(key string, value any) (string, error) {
	if text, ok := value.(string); ok {
		if text = trim(text); text != "" {
			return text, nil
		}
	}
	return "", wrong(key, shown(value)+" is not a text", "put it in quotes")
}

// flagAt returns true or false.
func flagAt(key string, value any) (bool, error) {
	if flag, ok := value.(bool); ok {
		return flag, nil
	}
	return false, wrong(key, shown(value)+" is neither true nor false", "")
}

// numberAt returns a finite decimal number from a number or its text.
func numberAt(key string, value any) (*big.Rat, error) {
	const hint = `write it as "1.25"`
	text := ""
	switch v := value.(type) {
	case int:
		text = strconv.Itoa(v)
	case int64:
		text = strconv.FormatInt(v, 10)
	case uint64:
		text = strconv.FormatUint(v, 10)
	case float64:
		text = doubleText(v)
	case json.Number:
		text = v.String()
	case string:
		text = strings.ReplaceAll(trim(v), "_", "")
	}
	if endlessText.MatchString(text) || text == "+Inf" {
		return nil, wrong(key, shown(value)+" is not a finite number", "")
	}
	if !decimalText.MatchString(text) {
		return nil, wrong(key, shown(value)+" is not a number", hint)
	}
	if !ordinarySize(text) {
		return nil, wrong(key, shown(value)+" is beyond any price", hint)
	}
	number, ok := new(big.Rat).SetString(strings.TrimPrefix(text, "+"))
	if !ok {
		return nil, wrong(key, shown(value)+" is not a number", hint)
	}
	return number, nil
}

// ordinarySize tells whether a number's first digit stands between 1e30 and 1e-30.
func ordinarySize(text string) bool {
	mantissa, exponentText, _ := strings.Cut(strings.ToLower(strings.TrimLeft(text, "+-")), "e")
	exponent := 0
	if exponentText != "" {
		stated, err := strconv.Atoi(exponentText)
		if err != nil {
			return false
		}
		exponent = stated
	}
	whole, decimals, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+decimals, "0")
	if digits == "" { // zero: Python looks at the place of its last digit
		return -maxSize <= exponent-len(decimals) && exponent-len(decimals) <= maxSize
	}
	size := exponent - len(decimals) + len(digits) - 1
	return -maxSize <= size && size <= maxSize && len(digits) <= 4*maxSize
}

// amountAt returns a price as a plain decimal string.
func amountAt(key string, value any) (string, error) {
	number, err := numberAt(key, value)
	if err != nil {
		return "", err
	}
	if number.Sign() < 0 {
		return "", wrong(key, shown(value)+" is negative", "a price is 0 or more; write a rebate as a discount")
	}
	plain, exact := plainText(number, maxDecimals)
	if !exact {
		return "", wrong(key, fmt.Sprintf("%s has more than %d decimals", shown(value), maxDecimals),
			"quote it per a larger block")
	}
	return plain, nil
}

// plainText writes a decimal without an exponent or trailing zeros; exact is false when it has more decimals.
func plainText(number *big.Rat, decimals int) (text string, exact bool) {
	text = number.FloatString(decimals)
	again, _ := new(big.Rat).SetString(text)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text, again.Cmp(number) == 0
}

// positiveAt returns a whole number of at least 1.
func positiveAt(key string, value any) (int64, error) {
	var number int64
	switch v := value.(type) {
	case int:
		number = int64(v)
	case int64:
		number = v
	case json.Number:
		number, _ = v.Int64()
	}
	if number < 1 {
		return 0, wrong(key, shown(value)+" is not a whole number above 0", "")
	}
	return number, nil
}

// dayAt returns a day as ISO text.
func dayAt(key string, value any) (string, error) {
	if moment, ok := value.(time.Time); ok {
		return moment.Format(time.DateOnly), nil
	}
	text := fmt.Sprint(value)
	if _, err := dayNumber(text); err != nil {
		return "", wrong(key, shown(value)+" is not a day", "write it as 2026-11-20 (UTC)")
	}
	return text, nil
}

// currencyAt returns an ISO 4217 code.
func currencyAt(key string, value any) (string, error) {
	if code, ok := value.(string); ok && currencyCode.MatchString(code) {
		return code, nil
	}
	return "", wrong(key, shown(value)+" is not a currency code", "three capital letters, e.g. EUR")
}

// datesAt returns the date conditions of an entry: from, to, windows, weekdays, each checked.
func datesAt(key string, entry map[string]any) (constraint, error) {
	var raw rawDates
	for _, bound := range []struct {
		name string
		to   *string
	}{{"from", &raw.From}, {"to", &raw.To}} {
		if value, ok := entry[bound.name]; ok {
			day, err := dayAt(key+"."+bound.name, value)
			if err != nil {
				return always, err
			}
			*bound.to = day
		}
	}
	if value, ok := entry["windows"]; ok {
		windows, err := sequenceAt(key+".windows", value)
		if err != nil {
			return always, err
		}
		for i, item := range windows {
			pair, err := windowAt(fmt.Sprintf("%s.windows[%d]", key, i), item)
			if err != nil {
				return always, err
			}
			raw.Windows = append(raw.Windows, pair)
		}
	}
	if value, ok := entry["weekdays"]; ok {
		days, err := sequenceAt(key+".weekdays", value)
		if err != nil {
			return always, err
		}
		for i, item := range days {
			day, err := positiveAt("", item)
			if err != nil || day > 7 {
				return always, wrong(fmt.Sprintf("%s.weekdays[%d]", key, i), shown(item)+" is not a weekday",
					"1 is Monday, 7 is Sunday")
			}
			raw.Weekdays = append(raw.Weekdays, int(day))
		}
	}
	if raw.From != "" && raw.To != "" && raw.From > raw.To {
		return always, wrong(key+".to", raw.To+" is before `from`, "+raw.From, "")
	}
	return raw.compile()
}

func windowAt(key string, value any) ([2]string, error) {
	list, err := sequenceAt(key, value)
	if err != nil {
		return [2]string{}, err
	}
	var pair [2]string
	ok := len(list) == 2
	for i := range pair {
		if ok {
			pair[i], ok = list[i].(string)
			ok = ok && timeOfDay.MatchString(pair[i])
		}
	}
	if !ok {
		return pair, wrong(key, shown(value)+" is not a time window", `write it as ["01:00", "04:00"] (UTC)`)
	}
	return pair, nil
}

// closest returns the name most like a wrong one, "" when none is: at least 0.6 of all characters must match.
func closest(wrongName string, names []string) string {
	best, found := 0.6, ""
	for _, name := range names {
		if ratio := similarity([]rune(name), []rune(wrongName)); ratio > best || (ratio == best && name > found) {
			best, found = ratio, name
		}
	}
	return found
}

// similarity is twice the characters in matching blocks over all characters (Ratcliff and Obershelp).
func similarity(a, b []rune) float64 {
	if len(a)+len(b) == 0 {
		return 1
	}
	return 2 * float64(matching(a, b)) / float64(len(a)+len(b))
}

func matching(a, b []rune) int {
	size, fromA, fromB := 0, 0, 0
	for i := range a {
		for j := range b {
			n := 0
			for i+n < len(a) && j+n < len(b) && a[i+n] == b[j+n] {
				n++
			}
			if n > size {
				size, fromA, fromB = n, i, j
			}
		}
	}
	if size == 0 {
		return 0
	}
	return size + matching(a[:fromA], b[:fromB]) + matching(a[fromA+size:], b[fromB+size:])
}
