package usage

import (
	"encoding/json"
	"strings"
	"testing"
)

// Whatever a span says, there is a reading or none: never a panic, never usage that contradicts itself, never a text
// beyond its bound, and the same answer again.
func FuzzRead(f *testing.F) {
	everyVectorSpan(f, func(_ string, span *Span) {
		pairs := map[string]any{}
		for _, entry := range span.Attributes.entries {
			if entry.value.kind == Text {
				pairs[keys.names[entry.key]] = entry.value.text
			}
		}
		text, err := json.Marshal(pairs)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(span.Name, span.Scope, uint8(span.Kind), string(text))
	})
	for _, attributes := range []string{
		`{"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 2.0}`,
		`{"gen_ai.usage.input_tokens": -1, "gen_ai.usage.total_tokens": 1e300, "gen_ai.usage.output_tokens": [1]}`,
		`{"agentcost.kind": "compute", "agentcost.usage.vcpu_seconds": 0.1, "agentcost.usage.gpu_seconds": "1e-30"}`,
		`{"langfuse.observation.type": "generation", "langfuse.observation.usage_details": {"input": {"x": 1}}}`,
		`{"http.request.method": "GET", "url.full": "http://[::1/x", "http.response.body.size": 1e30, "http.status_code": "429"}`,
		`{"session.id": 7, "user.id": 1e400, "agentcost.cost.amount": 1e-12, "agentcost.cost.status": true}`,
	} {
		f.Add("execute_tool x", "scope", uint8(1), attributes)
	}
	used := NewReader()
	f.Fuzz(func(t *testing.T, name, scope string, kind uint8, text string) {
		var raw map[string]any
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&raw) != nil {
			return
		}
		attributes := Map{}
		for key, value := range raw {
			attributes[key] = loose(value)
		}
		evidence := Gather(InAll, attributes)
		span := Span{
			Name: name, Scope: scope, Kind: SpanKind(kind % 6), Failed: kind > 127,
			Attributes: evidence, Resource: Gather(InResource|InLabels, attributes),
		}
		var first, again Reading
		got := used.Read(&span, &first)
		if NewReader().Read(&span, &again) != got || got && !same(&first, &again) {
			t.Fatalf("got %+v, then %+v", first, again)
		}
		if got {
			check(t, &first)
		}
		if ReadHTTPClient(evidence, &first) {
			check(t, &first)
		}
		var labels Labels
		ReadLabels(evidence, span.Resource, &labels)
		for label, value := range labels.All() {
			if len([]rune(value)) > maxText && value[0] != '-' && !isDigit(value[0]) {
				t.Errorf("%s has %d characters", label, len(value))
			}
		}
		ReadStated(evidence)
	})
}

func check(t *testing.T, reading *Reading) {
	t.Helper()
	if problem := reading.Usage.Contradiction(); problem != "" && reading.Usage.Units()&^common != 0 {
		t.Errorf("%s in %+v", problem, reading)
	}
	if reading.HasUsage != (reading.Status == StatusUsage || reading.Dialect == "http") {
		t.Errorf("status %s, usage %v", reading.Status, reading.HasUsage)
	}
	if (reading.Reason == "") != (reading.Status == StatusUsage) {
		t.Errorf("status %s, reason %q", reading.Status, reading.Reason)
	}
	if reading.Kind == NoKind || reading.Operation == "" || reading.Dialect == "" || reading.ReportedCost.Sign() < 0 {
		t.Errorf("got %+v", reading)
	}
}

// loose turns decoded JSON into a value; a number beyond a double becomes text.
func loose(from any) Value {
	switch from := from.(type) {
	case bool:
		return BoolValue(from)
	case string:
		return TextValue(from)
	case json.Number:
		if whole, err := from.Int64(); err == nil {
			return IntValue(whole)
		}
		if number, err := from.Float64(); err == nil {
			return DoubleValue(number)
		}
		return TextValue(from.String())
	case []any:
		list := List{}
		for _, element := range from {
			list = append(list, loose(element))
		}
		return ListValue(list)
	case map[string]any:
		made := Map{}
		for name, field := range from {
			made[name] = loose(field)
		}
		return MapValue(made)
	}
	return NullValue()
}
