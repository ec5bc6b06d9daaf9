package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// problem is something in a file that could not be read, and where.
type problem struct {
	file string
	// where is `line 12`, `byte 4711`, `span 5` ...; empty for the whole file.
	where string
	what  string
}

func (p *problem) String() string {
	parts := slices.DeleteFunc([]string{p.file, p.where, p.what}, func(part string) bool { return part == "" })
	return strings.Join(parts, ": ")
}

var suffixes = []string{".json", ".jsonl", ".ndjson", ".pb", ".binpb", ".otlp", ".json.gz", ".jsonl.gz", ".pb.gz"}

// readTraces reads every file (`-` is stdin, a directory means the trace files in it) into one collection. What cannot
// be read becomes a problem that names file and line or byte; the error is about a file that is not there.
func readTraces(inputs []string, stdin io.Reader) (*traces, error) {
	read := newTraces()
	for _, input := range inputs {
		paths, err := filesOf(input)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			data, err := contentOf(path, stdin)
			if err != nil {
				return nil, err
			}
			if path == "-" {
				path = "stdin"
			}
			read.take(path, data)
		}
	}
	return read, nil
}

func filesOf(input string) ([]string, error) {
	if input == "-" {
		return []string{input}, nil
	}
	about, err := os.Stat(input)
	if err != nil {
		return nil, fmt.Errorf("%s: no such file; give trace files, a directory of them, or - for stdin", input)
	}
	if !about.IsDir() {
		return []string{input}, nil
	}
	inside, err := os.ReadDir(input)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", input, err)
	}
	var paths []string
	for _, entry := range inside {
		name := entry.Name()
		if !entry.IsDir() && slices.ContainsFunc(suffixes, func(suffix string) bool { return strings.HasSuffix(name, suffix) }) {
			paths = append(paths, filepath.Join(input, name))
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: no trace file in this directory (%s)", input, strings.Join(suffixes, ", "))
	}
	return paths, nil
}

func contentOf(path string, stdin io.Reader) ([]byte, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(stdin)
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be opened: %w", path, err)
	}
	return data, nil
}

// take reads one file's content.
func (t *traces) take(file string, data []byte) {
	if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
		unpacked, err := unzip(data)
		if err != nil {
			t.report(file, "", fmt.Sprintf("truncated or damaged gzip (%v)", err))
		}
		data = unpacked
	}
	switch {
	case len(data) == 0:
		t.report(file, "", "the file is empty")
	case isText(data):
		t.takeJSON(file, data)
	default:
		t.takeProtobuf(file, data)
	}
}

func unzip(data []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

// isText tells JSON from protobuf, whose tags and ids hold control characters, and which may begin with a newline too.
func isText(data []byte) bool {
	head := data[:min(len(data), 4096)]
	return !slices.ContainsFunc(head, func(b byte) bool { return b < ' ' && b != '\t' && b != '\r' && b != '\n' })
}

// takeJSON reads one document or several, on lines of their own or over many lines; of broken lines, only the broken one
// is lost.
func (t *traces) takeJSON(file string, data []byte) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	line, counted := 1, 0
	for from := 0; from < len(data); {
		decoder := json.NewDecoder(bytes.NewReader(data[from:]))
		for {
			at := skipBlank(data, from+int(decoder.InputOffset()))
			line += bytes.Count(data[counted:at], []byte("\n"))
			counted = at
			where := fmt.Sprintf("line %d", line)
			var document json.RawMessage
			if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.report(file, where, fmt.Sprintf("invalid JSON (%v)", err))
				next := bytes.IndexByte(data[at:], '\n')
				if next < 0 {
					return
				}
				from = at + next
				break
			}
			if payload, err := unmarshalJSON(document); err != nil {
				t.report(file, where, err.Error())
			} else {
				t.add(payload, file, where)
			}
		}
	}
}

func skipBlank(data []byte, at int) int {
	for at < len(data) && bytes.IndexByte([]byte(" \t\r\n"), data[at]) >= 0 {
		at++
	}
	return at
}

func unmarshalJSON(document []byte) (ptrace.Traces, error) {
	if !bytes.HasPrefix(document, []byte("{")) {
		return ptrace.Traces{}, errors.New("no trace in it; expected OTLP JSON")
	}
	var unmarshaler ptrace.JSONUnmarshaler
	payload, err := unmarshaler.UnmarshalTraces(document)
	if err != nil {
		return ptrace.Traces{}, fmt.Errorf("malformed trace (%w)", err)
	}
	return payload, nil
}

// takeProtobuf reads one request, or many with length prefixes: a varint (protobuf's own delimited form) or four bytes
// big-endian (the Collector's file exporter).
func (t *traces) takeProtobuf(file string, data []byte) {
	var unmarshaler ptrace.ProtoUnmarshaler
	const resourceSpans = 0x0a // how every request begins
	if data[0] == resourceSpans {
		if payload, err := unmarshaler.UnmarshalTraces(data); err == nil {
			t.add(payload, file, "byte 0")
			return
		}
	}
	for at := 0; at < len(data); {
		start, size, ok := prefixAt(data, at)
		if !ok {
			t.report(file, fmt.Sprintf("byte %d", at), "neither an OTLP trace request nor a length prefix")
			return
		}
		if size > len(data)-start {
			t.report(file, fmt.Sprintf("byte %d", len(data)),
				fmt.Sprintf("the file ends inside a message of %d bytes that begins at byte %d", size, start))
			return
		}
		payload, err := unmarshaler.UnmarshalTraces(data[start : start+size])
		if err != nil {
			t.report(file, fmt.Sprintf("byte %d", start), fmt.Sprintf("truncated or damaged protobuf (%v)", err))
			return
		}
		t.add(payload, file, fmt.Sprintf("byte %d", start))
		at = start + size
	}
}

// prefixAt reads a length prefix: where the message begins, and its length.
func prefixAt(data []byte, at int) (start, size int, ok bool) {
	if data[at] == 0 && at+4 <= len(data) {
		return at + 4, int(binary.BigEndian.Uint32(data[at:])), true
	}
	value, width := binary.Uvarint(data[at:])
	if width <= 0 || value > math.MaxInt64 {
		return at, 0, false
	}
	return at + width, int(value), true
}
