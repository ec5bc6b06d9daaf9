package usage

import (
	"encoding/json"
	"strings"
	"testing"
)

// A JSON text is sound as a whole or not looked into at all.
func TestDocumentIsSoundAsAWhole(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500)
	for text, sound := range map[string]bool{
		`{}`: true, ` {"a": 1} `: true, `{"a": [1, {"b": null}], "c": "\u00e9\n"}`: true, `{'a': None}`: true, deep: true,
		`{"a": NaN, "b": -Infinity}`: true, `{"a": 1.5e-3, "b": -0}`: true, `{"a": true, "b": false}`: true, `{"a":[]}`: true,
		``: false, `[1]`: false, `5`: false, `"a"`: false, `{`: false, `{"a"}`: false, `{"a":}`: false, `{"a":1,}`: false,
		`{"a":01}`: false, `{"a":1.}`: false, `{"a":.5}`: false, `{"a":-}`: false, `{"a":1e}`: false, `{"a":tru}`: false,
		`{"a":"\x"}`: false, `{"a":"\u12g4"}`: false, `{"a":"\u12`: false, "{\"a\":\"\n\"}": false, `{"a":1} x`: false, `{"a":[1,]}`: false,
		`{'a': True}`: false, "\ufeff{}": false, "\u00a0{}": false, `{"a":"\`: false, `{"a":[1`: false, `{1:2}`: false,
		strings.Repeat(`{"a":`, 600) + "1" + strings.Repeat("}", 600): false,
		`{"a": ` + strings.Repeat("9", 4301) + `}`:                    false,
		`{"a": "` + strings.Repeat("x", maxJSON) + `"}`:               false,
		`{"a": "` + strings.Repeat("é", maxJSON-10) + `"}`:            true,
	} {
		var d document
		if d.parse(text); d.ok != sound {
			t.Errorf("%.60q: sound %v, want %v", text, d.ok, sound)
		}
		if got := d.dig([]string{"nowhere"}); got.Type() != Null {
			t.Errorf("%.60q: something is nowhere: %v", text, got)
		}
	}
}

// A path leads through objects only; values keep their types.
func TestDocumentIsDugInto(t *testing.T) {
	var d document
	d.parse(`{"a": {"b": 7, "c": "x\ty", "d": 1.5, "e": [1], "f": null, "g": true, "b": 8}, "s": "t", "\u0061b": 3, "o": {},
		"big": -123456789012345678901}`)
	for path, want := range map[string]Value{
		"a/b": IntValue(8), "a/c": TextValue("x\ty"), "a/d": DoubleValue(1.5), "a/f": NullValue(), "a/g": BoolValue(true),
		"s": TextValue("t"), "s/x": NullValue(), "a/e": ListValue(nil), "a/e/0": NullValue(), "o": MapValue(nil),
		"ab": IntValue(3), "big": {kind: BigInt, text: "-123456789012345678901"}, "b": NullValue(),
	} {
		if got := d.dig(strings.Split(path, "/")); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}

// What encoding/json takes for an object is taken, and nothing else but Python's own words and quotes.
func FuzzDocument(f *testing.F) {
	for _, text := range []string{
		`{"a": {"b": [1, 2.5, "x"]}}`, `{'a': None}`, `{"a": NaN}`, `{"\u0061": "\ud83d\ude00"}`, `{"a": 1} {`, ` {"":0}`, `{"a":{"a":{}}}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d document
		d.parse(text)
		d.dig([]string{"a", "b"})
		var object map[string]any
		valid := json.Unmarshal([]byte(text), &object) == nil && object != nil
		foreign := strings.ContainsAny(text, "'NI") || strings.Count(text, "{")+strings.Count(text, "[") > maxDepth ||
			len(text) > maxWhole || strings.Contains(text, "e") || strings.Contains(text, "E") // doubles out of range
		if d.ok != valid && !foreign {
			t.Errorf("%q: %v, encoding/json says %v", text, d.ok, valid)
		}
		if valid && !foreign {
			if _, there := object["a"]; there != digs(&d, "a") {
				t.Errorf("%q: a is there: %v", text, there)
			}
		}
	})
}

// digs tells whether a name is there, even with null.
func digs(d *document, name string) bool {
	for child := int32(1); child < d.nodes[0].next; child = d.nodes[child].next {
		if d.named(&d.nodes[child], name) {
			return true
		}
	}
	return false
}
