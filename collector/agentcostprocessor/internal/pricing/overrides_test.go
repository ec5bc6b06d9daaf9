package pricing

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

var settingsFolder = filepath.Join("..", "..", "..", "..", "tests", "conformance", "settings")

// Mistakes in agentcost.yaml are named by the dotted key, the value and what to do, in the words of the Python side.
func TestMistakesAreNamed(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(settingsFolder, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors in %s: %v", settingsFolder, err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Format  string `json:"format"`
			Topic   string `json:"topic"`
			Vectors []struct {
				Settings json.RawMessage `json:"settings"`
				Key      string          `json:"key"`
				Says     string          `json:"says"`
			} `json:"vectors"`
		}
		decodeStrictly(t, raw, &file)
		if file.Format != "agentcost-conformance/settings/1" {
			t.Fatalf("%s: unknown kind of vectors %q", path, file.Format)
		}
		for _, v := range file.Vectors {
			t.Run(v.Says, func(t *testing.T) {
				for _, digits := range []bool{true, false} {
					decoder := json.NewDecoder(bytes.NewReader(v.Settings))
					if digits {
						decoder.UseNumber()
					}
					var settings map[string]any
					if err := decoder.Decode(&settings); err != nil {
						t.Fatal(err)
					}
					if !digits {
						settings = asYAML(settings).(map[string]any)
					}
					_, err := ReadOverrides(settings)
					var mistake *ConfigError
					if !errors.As(err, &mistake) {
						t.Fatalf("no mistake was found: %v", err)
					}
					if mistake.Key != v.Key || mistake.Error() != v.Says {
						t.Errorf("digits %v: %s\n%s, want\n%s", digits, mistake.Key, mistake, v.Says)
					}
				}
			})
		}
	}
}

// asYAML makes of whole JSON numbers what a YAML reader makes: int.
func asYAML(value any) any {
	switch v := value.(type) {
	case float64:
		if v == float64(int(v)) {
			return int(v)
		}
	case []any:
		for i := range v {
			v[i] = asYAML(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = asYAML(v[name])
		}
	}
	return value
}

func TestEmptySectionsSayNothing(t *testing.T) {
	settings := make(map[string]any)
	for _, key := range PriceKeys {
		if key != "currency" {
			settings[key] = nil
		}
	}
	o, err := ReadOverrides(settings)
	if err != nil || len(o.prices)+len(o.discounts)+len(o.fees)+len(o.machines)+len(o.aliases) != 0 {
		t.Fatalf("%+v, %v", o, err)
	}
}

func TestYAMLValuesAreReadAsTheyAreWritten(t *testing.T) {
	o, err := ReadOverrides(map[string]any{
		"prices": []any{map[any]any{
			"model": "x", "from": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "context_window": 4096,
			"units": map[any]any{"input_tokens": map[any]any{"price": 0.1, "per": 1}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	book, err := Bundled().WithOverrides(o)
	if err != nil {
		t.Fatal(err)
	}
	reading := callOf("house", "x", map[usage.Unit]int64{usage.InputTokens: 3})
	if bill := book.Price(reading, noon); bill.Total != Pico(300_000_000_000) {
		t.Errorf("0.1 is a tenth, not the nearest double: %s", bill.Total)
	}
	if bill := book.Price(reading, nanoseconds(t, "2025-12-31T23:59:59Z")); bill.Status != Estimated && bill.Status != Unpriced {
		t.Errorf("before its first day: %s", bill.Status)
	}
	if window, ok := book.ContextWindow("house", "X"); !ok || window != 4096 {
		t.Errorf("context window is %d, %v", window, ok)
	}
}

func TestPatternsAreThoseOfPython(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		matches       bool
	}{
		{"*", "", true},
		{"gpt-*", "GPT-4o", true},
		{"gpt-?", "gpt-4o", false},
		{"[ab]x", "bx", true},
		{"[!ab]x", "bx", false},
		{"[!ab]x", "cx", true},
		{"[a-c]x", "bx", true},
		{"[c-a]x", "bx", false},
		{"[!c-a]x", "bx", true},
		{"[]]x", "]x", true},
		{"[]", "[]", true},
		{"[", "[", true},
		{"a[", "a[", true},
		{"[!]", "[!]", true},
		{"[]-a]x", "^x", true},
		{"[a-]x", "-x", true},
		{"[-a]x", "-x", true},
		{"[\\]x", "\\x", true},
		{"[^a]x", "^x", true},
		{"a.c", "abc", false},
		{"a*c", "a\nc", true},
		{"(a|b)", "a", false},
		{"é?", "É1", true},
	} {
		if got := compileGlob(c.pattern).matches(c.name); got != c.matches {
			t.Errorf("%q matches %q: %v", c.pattern, c.name, got)
		}
	}
}

func TestHostsAndPathsMatchWholeParts(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		matches       bool
	}{
		{"api.x.com", "api.x.com", true}, {"api.x.com", "eu.api.x.com", false},
		{"api.x.com", "api.x.com.evil.com", false}, {"*.x.com", "api.x.com", true},
		{"*.x.com", "x.com", false}, {"*.x.com", "notx.com", false},
	} {
		if got := hostMatches(c.pattern, c.host); got != c.matches {
			t.Errorf("%q matches %q: %v", c.pattern, c.host, got)
		}
	}
	for _, c := range []struct {
		template, path string
		matches        bool
	}{
		{"/search", "/search", true}, {"/search", "/search/", true}, {"/search", "/search?q=1", true},
		{"/search", "/v1/search", false}, {"/{v}/map", "/v2/map", true}, {"/{v}/map", "/map", false},
		{"/a/**", "/a/b/c", true}, {"/a/**", "/a", true}, {"/a/**", "/b/a", false}, {"/**", "/", true},
		{"/", "/", true}, {"/", "/x", false},
	} {
		if got := pathMatches(c.template, c.path); got != c.matches {
			t.Errorf("%q matches %q: %v", c.template, c.path, got)
		}
	}
}

func decodeLoosely(raw []byte) (map[string]any, bool) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var settings map[string]any
	err := decoder.Decode(&settings)
	return settings, err == nil
}
