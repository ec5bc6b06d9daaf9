package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// recorded is a session of one agent with two calls: 0.0035 USD each.
func recorded() ptrace.Traces {
	traces := ptrace.NewTraces()
	spans := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	root := spans.AppendEmpty()
	fill(root, 1, 0)
	for i := range byte(2) {
		call := spans.AppendEmpty()
		fill(call, 2+i, 1)
		call.SetKind(ptrace.SpanKindClient)
		call.Attributes().PutStr("gen_ai.operation.name", "chat")
		call.Attributes().PutStr("gen_ai.request.model", "gpt-4o")
		call.Attributes().PutInt("gen_ai.usage.input_tokens", 1000)
		call.Attributes().PutInt("gen_ai.usage.output_tokens", 100)
	}
	return traces
}

func fill(span ptrace.Span, id, parent byte) {
	span.SetTraceID(pcommon.TraceID{15: 1})
	span.SetSpanID(pcommon.SpanID{7: id})
	span.SetParentSpanID(pcommon.SpanID{7: parent})
	span.SetName("work")
	span.SetStartTimestamp(1_760_000_000_000_000_000 + pcommon.Timestamp(id))
	span.SetEndTimestamp(1_760_000_001_000_000_000)
}

func asJSON(t testing.TB, traces ptrace.Traces) []byte {
	t.Helper()
	var marshaler ptrace.JSONMarshaler
	data, err := marshaler.MarshalTraces(traces)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func asProto(t testing.TB, traces ptrace.Traces) []byte {
	t.Helper()
	var marshaler ptrace.ProtoMarshaler
	data, err := marshaler.MarshalTraces(traces)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func run(t *testing.T, stdin []byte, arguments ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(arguments, bytes.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// Whatever form the spans come in, the session costs the same.
func TestEveryFormIsRead(t *testing.T) {
	line, message := asJSON(t, recorded()), asProto(t, recorded())
	var packed bytes.Buffer
	zipper := gzip.NewWriter(&packed)
	if _, err := zipper.Write(message); err != nil {
		t.Fatal(err)
	}
	if err := zipper.Close(); err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, line, "", "  "); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"one document":         line,
		"over many lines":      indented.Bytes(),
		"lines, twice":         slices.Concat(line, []byte("\n\n"), line, []byte("\n")),
		"byte order mark":      slices.Concat([]byte("\xef\xbb\xbf"), line),
		"protobuf":             message,
		"varint prefixes":      slices.Concat(binary.AppendUvarint(nil, uint64(len(message))), message),
		"four bytes prefixes":  slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message),
		"gzip around protobuf": packed.Bytes(),
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := run(t, data, "-")
			if code != ok || errs != "" || !strings.Contains(out, `"total": "0.007"`) {
				t.Errorf("exit code %d\n%s\n%s", code, errs, out)
			}
		})
	}
}

// What cannot be read is told with its place; everything else is counted, and the exit code is 1.
func TestProblemsNameTheirPlace(t *testing.T) {
	line, message := asJSON(t, recorded()), asProto(t, recorded())
	nameless := recorded()
	nameless.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).SetSpanID(pcommon.SpanID{})
	for name, test := range map[string]struct {
		data  []byte
		words string
	}{
		"broken line":       {slices.Concat(line[:40], []byte("\n"), line), "stdin: line 1: invalid JSON"},
		"no trace":          {slices.Concat(line, []byte("\n[1]")), "stdin: line 2: no trace in it"},
		"wrong form":        {slices.Concat(line, []byte("\n"), []byte(`{"resourceSpans": 7}`)), "stdin: line 2: malformed trace"},
		"no id":             {asJSON(t, nameless), "stdin: line 1, span 1: spanId is missing"},
		"cut protobuf":      {message[:len(message)-20], "stdin: byte "},
		"cut delimited":     {slices.Concat([]byte{0x80, 0x04}, message[:20]), "byte 22: the file ends inside a message of 512 bytes"},
		"damaged delimited": {slices.Concat([]byte{0x05}, message[:20]), "byte 1: truncated or damaged protobuf"},
		"nothing":           {nil, "stdin: the file is empty"},
		"damaged gzip":      {[]byte("\x1f\x8b\x08"), "stdin: truncated or damaged gzip"},
		"something unknown": {[]byte("\x00\x01\x02\x03 what"), "stdin: byte "},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := run(t, test.data, "-")
			if code != findings || !strings.Contains(errs, test.words) {
				t.Errorf("exit code %d, %q, expected %q", code, errs, test.words)
			}
		})
	}
}

// What was written is read again without a change: cost that stands on spans is kept.
func TestWrittenTracesAreStable(t *testing.T) {
	folder := t.TempDir()
	first, second := filepath.Join(folder, "first.jsonl"), filepath.Join(folder, "second.jsonl")
	if code, _, errs := run(t, asJSON(t, recorded()), "-", "--out", first); code != ok {
		t.Fatal(code, errs)
	}
	if code, _, errs := run(t, nil, first, "--out", second); code != ok {
		t.Fatal(code, errs)
	}
	one, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, other) || !bytes.Contains(one, []byte(`"agentcost.session.cost.total","value":{"doubleValue":0.007}`)) {
		t.Errorf("%s\n%s", one, other)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A file that cannot be written is misuse, and nothing is left behind.
func TestOutputThatCannotBeWritten(t *testing.T) {
	code, _, errs := run(t, asJSON(t, recorded()), "-", "--out", filepath.Join(t.TempDir(), "no", "such", "folder.jsonl"))
	if code != misuse || !strings.Contains(errs, "cannot be written") {
		t.Errorf("exit code %d, %s", code, errs)
	}
}

// Doubles and texts are written as Python writes them.
func TestJSONText(t *testing.T) {
	for _, test := range []struct {
		value any
		want  string
	}{
		{0.0, "0.0"},
		{math.Copysign(0, -1), "-0.0"},
		{1e-05, "1e-05"},
		{0.0001, "0.0001"},
		{1e15, "1000000000000000.0"},
		{1e16, "1e+16"},
		{1.5e300, "1.5e+300"},
		{-2.5, "-2.5"},
		{"a\"\\\n\x01<é€", "\"a\\\"\\\\\\n\\u0001<é€\""},
		{[]any{}, "[]"},
		{[]any{int64(1), nil, true}, "[1, null, true]"},
		{object{{"a", object{}}, {"b", number("12")}}, `{"a": {}, "b": 12}`},
	} {
		if got := string(appendJSON(nil, test.value, 0, 0)); got != test.want {
			t.Errorf("%v is %s, expected %s", test.value, got, test.want)
		}
	}
}

// No bytes make the reader panic or hang.
func FuzzRead(f *testing.F) {
	f.Add(asJSON(f, recorded()))
	f.Add(asProto(f, recorded()))
	f.Add([]byte("{\n}{"))
	f.Add([]byte{0, 0, 0, 1, 10})
	f.Fuzz(func(t *testing.T, data []byte) {
		read := newTraces()
		read.take("fuzz", data)
		if len(read.records) != len(read.sources) {
			t.Errorf("%d records of %d spans", len(read.records), len(read.sources))
		}
	})
}
