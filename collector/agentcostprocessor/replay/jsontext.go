package replay

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// number is a JSON number in digits.
type number string

// appendJSON writes a value as the Python command does, so that both write the same bytes: a double has its shortest
// digits and always a fraction or an exponent, text is escaped only where it must be. An indent of 0 is one line.
func appendJSON(to []byte, value any, indent, depth int) []byte {
	switch v := value.(type) {
	case nil:
		return append(to, "null"...)
	case bool:
		return strconv.AppendBool(to, v)
	case int:
		return strconv.AppendInt(to, int64(v), 10)
	case int64:
		return strconv.AppendInt(to, v, 10)
	case float64:
		return appendDouble(to, v)
	case number:
		return append(to, v...)
	case string:
		return appendText(to, v)
	case []any:
		return appendItems(to, '[', ']', len(v), indent, depth, func(to []byte, i int) []byte {
			return appendJSON(to, v[i], indent, depth+1)
		})
	case object:
		return appendItems(to, '{', '}', len(v), indent, depth, func(to []byte, i int) []byte {
			to = append(appendText(to, v[i].name), ": "...)
			return appendJSON(to, v[i].value, indent, depth+1)
		})
	}
	panic("replay: no JSON for such a value")
}

func appendItems(
	to []byte, open, shut byte, count, indent, depth int, item func(to []byte, i int) []byte,
) []byte {
	to = append(to, open)
	for i := range count {
		if i > 0 {
			to = append(to, ',')
		}
		switch {
		case indent > 0:
			to = newLine(to, indent*(depth+1))
		case i > 0:
			to = append(to, ' ')
		}
		to = item(to, i)
	}
	if indent > 0 && count > 0 {
		to = newLine(to, indent*depth)
	}
	return append(to, shut)
}

func newLine(to []byte, blanks int) []byte {
	return append(append(to, '\n'), strings.Repeat(" ", blanks)...)
}

func appendDouble(to []byte, value float64) []byte {
	digits := strconv.FormatFloat(value, 'e', -1, 64)
	mantissa, exponent, _ := strings.Cut(digits, "e")
	size, _ := strconv.Atoi(exponent)
	if value != 0 && (size < -4 || size >= 16) && !math.IsInf(value, 0) && !math.IsNaN(value) {
		return append(append(append(to, mantissa...), 'e'), exponent...)
	}
	plain := strconv.FormatFloat(value, 'f', -1, 64)
	if !strings.Contains(plain, ".") && !math.IsInf(value, 0) && !math.IsNaN(value) {
		plain += ".0"
	}
	return append(to, plain...)
}

var escapes = map[byte]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func appendText(to []byte, text string) []byte {
	to = append(to, '"')
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			to = utf8.AppendRune(to, r)
			i += size
			continue
		}
		i++
		if escaped, ok := escapes[c]; ok {
			to = append(to, escaped...)
		} else if c < ' ' {
			const hex = "0123456789abcdef"
			to = append(to, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			to = append(to, c)
		}
	}
	return append(to, '"')
}
