package usage

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the longest text that is kept, in characters.
const maxText = 512

// bounded returns a text without white space around it, cut after 512 characters.
func bounded(text string) string { return cut(trim(text), maxText) }

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

// trim takes white space away on both sides, the four separators U+001C to U+001F included.
func trim(text string) string {
	if text == "" {
		return text
	}
	first, last := text[0], text[len(text)-1]
	if first > ' ' && first < utf8.RuneSelf && last > ' ' && last < utf8.RuneSelf {
		return text
	}
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f })
}

// lower returns a text in lower case.
func lower(text string) string {
	for i := range len(text) {
		if c := text[i]; 'A' <= c && c <= 'Z' || c >= utf8.RuneSelf {
			// The one letter whose lower case is two characters is written out first.
			return strings.ToLower(strings.ReplaceAll(text, "İ", "i̇"))
		}
	}
	return text
}
