package usage

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxJSON is the longest JSON text that is looked into, in characters.
	maxJSON = 65_536
	// maxDepth is how deep objects and lists may nest in it.
	maxDepth = 512
	// maxWhole is how many digits a whole number may have in it.
	maxWhole = 4300
)

type nodeKind uint8

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	textNode
	objectNode
	listNode
)

// node is one value of a JSON text; its descendants follow it.
type node struct {
	kind       nodeKind
	whole      bool // a number without fraction and exponent
	escaped    bool // a text with escapes
	keyEscaped bool
	key        [2]int32 // where the name is, between the quotes
	span       [2]int32 // where the value is; of a text, between the quotes
	next       int32    // the first node that is not inside
}

// document is a JSON text that was checked as a whole and can be looked into. Its memory is used again.
type document struct {
	text  string
	nodes []node
	at    int
	ok    bool
}

// parse reads a text that holds a JSON object, or a Python literal with single quotes; ok tells whether it does.
func (d *document) parse(text string) {
	d.ok = false
	if len(text) > maxJSON && utf8.RuneCountInString(text) > maxJSON || !strings.HasPrefix(trim(text), "{") {
		return
	}
	if d.attempt(text) {
		return
	}
	literal := strings.ReplaceAll(strings.ReplaceAll(text, "'", `"`), "None", "null")
	if literal != text {
		d.attempt(literal)
	}
}

func (d *document) attempt(text string) bool {
	d.text, d.nodes, d.at = text, d.nodes[:0], 0
	d.skip()
	d.ok = d.value(0)
	d.skip()
	d.ok = d.ok && d.at == len(text)
	return d.ok
}

func (d *document) skip() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// take moves over one byte if it is there, and over the white space after it.
func (d *document) take(c byte) bool {
	if d.at < len(d.text) && d.text[d.at] == c {
		d.at++
		d.skip()
		return true
	}
	return false
}

func (d *document) value(depth int) bool {
	if d.at >= len(d.text) || depth > maxDepth {
		return false
	}
	number := len(d.nodes)
	d.nodes = append(d.nodes, node{})
	made := node{span: [2]int32{int32(d.at), 0}}
	switch c := d.text[d.at]; {
	case c == '{':
		made.kind = objectNode
		if !d.object(depth) {
			return false
		}
	case c == '[':
		made.kind = listNode
		if !d.list(depth) {
			return false
		}
	case c == '"':
		made.kind = textNode
		from, to, escaped, ok := d.quoted()
		if !ok {
			return false
		}
		made.span[0], made.escaped = from, escaped
		made.span[1] = to
	case c == '-' || isDigit(c) || c == 'N' || c == 'I':
		made.kind = numberNode
		whole, ok := d.number()
		if !ok {
			return false
		}
		made.whole = whole
	default:
		ok := true
		switch {
		case d.word("null"):
		case d.word("true"), d.word("false"):
			made.kind = boolNode
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	if made.kind != textNode {
		made.span[1] = int32(d.at)
	}
	made.next = int32(len(d.nodes))
	d.nodes[number] = made
	return true
}

func (d *document) word(word string) bool {
	if strings.HasPrefix(d.text[d.at:], word) {
		d.at += len(word)
		return true
	}
	return false
}

func (d *document) object(depth int) bool {
	d.take('{')
	if d.at < len(d.text) && d.text[d.at] == '}' {
		d.at++
		return true
	}
	for {
		from, to, escaped, ok := d.quoted()
		if !ok {
			return false
		}
		d.skip()
		if !d.take(':') {
			return false
		}
		child := len(d.nodes)
		if !d.value(depth + 1) {
			return false
		}
		d.nodes[child].key, d.nodes[child].keyEscaped = [2]int32{from, to}, escaped
		d.skip()
		if d.take(',') {
			continue
		}
		if d.at < len(d.text) && d.text[d.at] == '}' {
			d.at++
			return true
		}
		return false
	}
}

func (d *document) list(depth int) bool {
	d.take('[')
	if d.at < len(d.text) && d.text[d.at] == ']' {
		d.at++
		return true
	}
	for {
		if !d.value(depth + 1) {
			return false
		}
		d.skip()
		if d.take(',') {
			continue
		}
		if d.at < len(d.text) && d.text[d.at] == ']' {
			d.at++
			return true
		}
		return false
	}
}

// quoted moves over a text and returns what is between its quotes.
func (d *document) quoted() (from, to int32, escaped, ok bool) {
	if d.at >= len(d.text) || d.text[d.at] != '"' {
		return 0, 0, false, false
	}
	d.at++
	from = int32(d.at)
	for d.at < len(d.text) {
		switch c := d.text[d.at]; {
		case c == '"':
			to = int32(d.at)
			d.at++
			return from, to, escaped, true
		case c < ' ':
			return 0, 0, false, false
		case c == '\\':
			escaped = true
			if !d.escape() {
				return 0, 0, false, false
			}
		default:
			d.at++
		}
	}
	return 0, 0, false, false
}

func (d *document) escape() bool {
	if d.at+1 >= len(d.text) {
		return false
	}
	switch d.text[d.at+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		d.at += 2
		return true
	case 'u':
		if d.at+6 > len(d.text) {
			return false
		}
		_, err := strconv.ParseUint(d.text[d.at+2:d.at+6], 16, 16)
		d.at += 6
		return err == nil
	}
	return false
}

// number moves over a number, or one of the words Python writes for those that are none.
func (d *document) number() (whole, ok bool) {
	if d.word("NaN") || d.word("Infinity") || d.word("-Infinity") {
		return false, true
	}
	if d.text[d.at] == '-' {
		d.at++
	}
	from := d.at
	if d.digits() == 0 || d.text[from] == '0' && d.at-from > 1 {
		return false, false
	}
	whole = true
	count := d.at - from
	if d.at < len(d.text) && d.text[d.at] == '.' {
		d.at++
		whole = false
		if d.digits() == 0 {
			return false, false
		}
	}
	if d.at < len(d.text) && (d.text[d.at] == 'e' || d.text[d.at] == 'E') {
		d.at++
		whole = false
		if d.at < len(d.text) && (d.text[d.at] == '+' || d.text[d.at] == '-') {
			d.at++
		}
		if d.digits() == 0 {
			return false, false
		}
	}
	return whole, !whole || count <= maxWhole
}

func (d *document) digits() int {
	from := d.at
	for d.at < len(d.text) && isDigit(d.text[d.at]) {
		d.at++
	}
	return d.at - from
}

// dig returns what a path leads to; of a name that is there twice, the last counts.
func (d *document) dig(path []string) Value {
	if !d.ok {
		return Value{}
	}
	at := int32(0)
	for _, step := range path {
		if d.nodes[at].kind != objectNode {
			return Value{}
		}
		found := int32(-1)
		for child := at + 1; child < d.nodes[at].next; child = d.nodes[child].next {
			if d.named(&d.nodes[child], step) {
				found = child
			}
		}
		if found < 0 {
			return Value{}
		}
		at = found
	}
	return d.read(&d.nodes[at])
}

func (d *document) named(n *node, name string) bool {
	key := d.text[n.key[0]:n.key[1]]
	if n.keyEscaped {
		key = unescape(key)
	}
	return key == name
}

func (d *document) read(n *node) Value {
	text := d.text[n.span[0]:n.span[1]]
	switch n.kind {
	case boolNode:
		return BoolValue(text == "true")
	case textNode:
		if n.escaped {
			text = unescape(text)
		}
		return TextValue(text)
	case objectNode:
		return MapValue(nil)
	case listNode:
		return ListValue(nil)
	case numberNode:
		if n.whole {
			if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
				return IntValue(whole)
			}
			return Value{kind: BigInt, text: text}
		}
		number, err := strconv.ParseFloat(text, 64) // beyond its range: an infinity
		if err != nil && !math.IsInf(number, 0) {
			number = math.NaN()
		}
		return DoubleValue(number)
	}
	return Value{}
}

// unescape returns a checked text without its escapes.
func unescape(text string) string {
	var plain string
	if json.Unmarshal([]byte(`"`+text+`"`), &plain) != nil {
		return text
	}
	return plain
}
