package usage

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// vectors is tests/conformance/usage, which Python runs too.
const vectors = "../../../../tests/conformance/usage"

type vectorFile struct {
	About string
	Cases []struct {
		ID     string
		Why    string
		Given  map[string]json.RawMessage
		Expect json.RawMessage
	}
}

// Every vector holds in Go as it does in Python; a file or a key that nobody runs fails.
func TestConformance(t *testing.T) {
	runners := map[string]func(t *testing.T, given map[string]json.RawMessage, expect json.RawMessage){
		"http_spans.json": runHTTPSpan,
		"labels.json":     runLabels,
		"names.json":      runNames,
		"stated.json":     runStated,
	}
	runners["dialects"] = nil
	entries, err := os.ReadDir(vectors)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		switch run := runners[entry.Name()]; {
		case entry.IsDir() && entry.Name() == "dialects":
			runDialects(t)
			delete(runners, "dialects")
		case run == nil:
			t.Errorf("%s: nobody runs this", entry.Name())
		default:
			runFile(t, entry.Name(), run)
			delete(runners, entry.Name())
		}
	}
	for name := range runners {
		t.Errorf("%s is missing", name)
	}
}

func runFile(t *testing.T, name string, run func(*testing.T, map[string]json.RawMessage, json.RawMessage)) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile
	strictly(t, text, &file)
	if len(file.Cases) == 0 {
		t.Fatalf("%s has no cases", name)
	}
	for _, vector := range file.Cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json")+":"+vector.ID, func(t *testing.T) {
			run(t, vector.Given, vector.Expect)
		})
	}
	return len(file.Cases)
}

// Each dialect has a file of vectors, and each file reaches its dialect.
func runDialects(t *testing.T) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(vectors, "dialects"))
	if err != nil {
		t.Fatal(err)
	}
	left := make(map[string]bool)
	for i := range tables.dialects {
		left[tables.dialects[i].name] = true
	}
	for _, file := range files {
		name, ok := strings.CutSuffix(file.Name(), ".json")
		if !ok || !left[name] {
			t.Errorf("dialects/%s is about no dialect", file.Name())
			continue
		}
		delete(left, name)
		reached := false
		runFile(t, filepath.Join("dialects", file.Name()),
			func(t *testing.T, given map[string]json.RawMessage, expect json.RawMessage) {
				reading, ok := readGiven(t, given)
				reached = reached || ok && reading.Dialect == name
				compare(t, reading, ok, expect)
			})
		if !reached {
			t.Errorf("dialects/%s never reaches its dialect", file.Name())
		}
	}
	for name := range left {
		t.Errorf("dialect %s has no vectors", name)
	}
}

func readGiven(t *testing.T, given map[string]json.RawMessage) (*Reading, bool) {
	t.Helper()
	span, reading := spanOf(t, given), &Reading{}
	return reading, NewReader().Read(&span, reading)
}

func spanOf(t testing.TB, given map[string]json.RawMessage) Span {
	t.Helper()
	span := Span{Attributes: &Evidence{}, Resource: &Evidence{}}
	for key, raw := range given {
		switch key {
		case "name":
			span.Name = decoded[string](t, raw)
		case "scope":
			span.Scope = decoded[string](t, raw)
		case "kind":
			kind, ok := SpanKindOf(decoded[string](t, raw))
			if !ok {
				t.Fatalf("unknown kind %s", raw)
			}
			span.Kind = kind
		case "failed":
			span.Failed = decoded[bool](t, raw)
		case "attributes":
			span.Attributes = Gather(InUsage, attributesOf(t, raw))
		case "resource":
			span.Resource = Gather(InResource, attributesOf(t, raw))
		default:
			t.Fatalf("unknown key given.%s", key)
		}
	}
	return span
}

// compare holds a reading against everything its vector mentions.
func compare(t *testing.T, reading *Reading, ok bool, expect json.RawMessage) {
	t.Helper()
	if string(expect) == "null" {
		if ok {
			t.Fatalf("got %+v, want nothing", reading)
		}
		return
	}
	if !ok {
		t.Fatal("got nothing")
	}
	want := decoded[map[string]any](t, expect)
	if _, stated := want["status"]; !stated {
		want["status"] = "usage"
	}
	for key, value := range want {
		if got := told(t, reading, key); !reflect.DeepEqual(got, value) {
			t.Errorf("%s: got %#v, want %#v", key, got, value)
		}
	}
}

// told returns one field in the form vectors have.
func told(t *testing.T, reading *Reading, key string) any {
	t.Helper()
	switch key {
	case "kind":
		return reading.Kind.String()
	case "usage":
		if !reading.HasUsage {
			return nil
		}
		return plain(&reading.Usage)
	case "status":
		return reading.Status.String()
	case "reason":
		return reading.Reason
	case "provider":
		return orNull(reading.Provider)
	case "model":
		return orNull(reading.Model)
	case "request_model":
		return orNull(reading.RequestModel)
	case "operation":
		return reading.Operation
	case "context":
		context := map[string]any{}
		for _, entry := range reading.Context {
			if context[entry.Key] != nil {
				t.Errorf("context has %s twice", entry.Key)
			}
			context[entry.Key] = entry.Value
		}
		return context
	case "identity":
		ids := []any{}
		for _, id := range reading.Identity {
			ids = append(ids, id)
		}
		return ids
	case "reported_cost":
		if reading.ReportedBy == Nobody {
			return nil
		}
		text := reading.ReportedCost.String()
		if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text
	case "reported_by":
		return reading.ReportedBy.String()
	case "reported_currency":
		return reading.ReportedCurrency
	case "aggregate":
		return reading.Aggregate.String()
	case "tool":
		return orNull(reading.Tool)
	case "agent":
		return orNull(reading.Agent)
	case "server":
		return reading.Server
	case "dialect":
		return reading.Dialect
	}
	t.Fatalf("unknown key expect.%s", key)
	return nil
}

// plain writes token counts as numbers and measured units as decimal texts, as Python does: whole numbers that were
// read are numbers, computed megabytes are texts.
func plain(u *Usage) map[string]any {
	quantities := map[string]any{}
	for unit := range u.Units().All() {
		if quantity := u.Get(unit); quantity.IsWhole() && unit != ResponseMegabytes {
			quantities[unit.String()] = json.Number(quantity.String())
		} else {
			quantities[unit.String()] = quantity.String()
		}
	}
	return quantities
}

func runHTTPSpan(t *testing.T, given map[string]json.RawMessage, expect json.RawMessage) {
	only(t, given, "attributes")
	reading := &Reading{}
	ok := ReadHTTPClient(Gather(InHTTP, attributesOf(t, given["attributes"])), reading)
	compare(t, reading, ok, expect)
}

func runLabels(t *testing.T, given map[string]json.RawMessage, expect json.RawMessage) {
	only(t, given, "attributes", "resource")
	var labels Labels
	ReadLabels(Gather(InLabels, attributesOf(t, given["attributes"])),
		Gather(InLabels, attributesOf(t, given["resource"])), &labels)
	got := map[string]string{}
	for label, value := range labels.All() {
		got[label.String()] = value
	}
	if want := decoded[map[string]string](t, expect); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func runNames(t *testing.T, given map[string]json.RawMessage, expect json.RawMessage) {
	want := decoded[any](t, expect)
	var got any
	switch {
	case given["alias"] != nil:
		only(t, given, "alias")
		got = map[string]any{"provider": orNull(CanonicalProvider(decoded[string](t, given["alias"])))}
	case given["host"] != nil:
		only(t, given, "host", "path")
		path := ""
		if given["path"] != nil {
			path = decoded[string](t, given["path"])
		}
		if facts := FactsOf(decoded[string](t, given["host"]), path); facts.Provider != "" {
			got = map[string]any{"provider": facts.Provider, "region": orNull(facts.Region), "kind": string(facts.Kind)}
		}
	default:
		only(t, given, "model")
		name := NameOf(decoded[string](t, given["model"]))
		got = map[string]any{"bare": name.Bare, "family": name.Family, "routed": orNull(name.Routed)}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func runStated(t *testing.T, given map[string]json.RawMessage, expect json.RawMessage) {
	only(t, given, "attributes")
	var got any
	if stated, ok := ReadStated(Gather(InStated, attributesOf(t, given["attributes"]))); ok {
		fields := map[string]any{
			"pico": nil, "status": stated.Status, "reason": stated.Reason, "source": stated.Source,
			"price_id": stated.PriceID, "currency": stated.Currency,
		}
		if stated.HasPico {
			fields["pico"] = json.Number(strconv.FormatInt(stated.Pico, 10))
		}
		got = fields
	}
	if want := decoded[any](t, expect); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func only(t *testing.T, given map[string]json.RawMessage, known ...string) {
	t.Helper()
	for key := range given {
		if !slices.Contains(known, key) {
			t.Fatalf("unknown key given.%s", key)
		}
	}
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func strictly(t *testing.T, text []byte, into any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatal(err)
	}
}

func decoded[T any](t testing.TB, raw json.RawMessage) T {
	t.Helper()
	var value T
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func attributesOf(t testing.TB, raw json.RawMessage) Map {
	t.Helper()
	return valueOf(t, decoded[any](t, raw)).nested.(Map)
}

// valueOf turns JSON into a value as Python would have it: a number is whole unless it has a point or an exponent.
func valueOf(t testing.TB, from any) Value {
	t.Helper()
	switch from := from.(type) {
	case nil:
		return NullValue()
	case bool:
		return BoolValue(from)
	case string:
		return TextValue(from)
	case json.Number:
		if strings.ContainsAny(from.String(), ".eE") {
			number, err := from.Float64()
			if err != nil {
				t.Fatal(err)
			}
			return DoubleValue(number)
		}
		number, err := from.Int64()
		if err != nil {
			return Value{kind: BigInt, text: from.String()}
		}
		return IntValue(number)
	case []any:
		list := List{}
		for _, element := range from {
			list = append(list, valueOf(t, element))
		}
		return ListValue(list)
	case map[string]any:
		made := Map{}
		for name, field := range from {
			made[name] = valueOf(t, field)
		}
		return MapValue(made)
	}
	t.Fatalf("%T", from)
	return Value{}
}
