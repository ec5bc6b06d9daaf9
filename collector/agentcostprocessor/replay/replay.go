// Package replay is the command agentcost-replay: recorded traces through the same accounting as live ones.
//
// It prints what `agentcost replay --json` of the Python side prints, and writes the same amounts, statuses, reasons and
// totals; the differential test (tests/differential) holds the two against each other.
package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/ledger"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
)

// The exit codes: all well; something could not be read or does not add up; used wrongly.
const (
	ok       = 0
	findings = 1
	misuse   = 2
)

type options struct {
	inputs  []string
	out     string
	charges string
	prices  string
	reprice ledger.Reprice
	writing ledger.Writing
	quiet   bool
}

// Run accounts for the traces named in the arguments and returns the exit code. It is 1 when something could not be
// read; the rest is accounted for.
func Run(arguments []string, stdin io.Reader, stdout, stderr io.Writer) int {
	chosen, err := parse(arguments, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "agentcost-replay:", err)
		return misuse
	}
	read, err := readTraces(chosen.inputs, stdin)
	if err != nil {
		fmt.Fprintln(stderr, "agentcost-replay:", err)
		return misuse
	}
	for i := range read.problems {
		fmt.Fprintln(stderr, "agentcost-replay:", read.problems[i].String())
	}
	book, err := bookOf(chosen.prices)
	if err != nil {
		fmt.Fprintln(stderr, "agentcost-replay:", err)
		return misuse
	}
	accounts := ledger.AccountFor(read.records, book, chosen.reprice, chosen.writing)
	read.enrich(accounts, chosen.reprice == ledger.Always)
	if err := write(chosen, read, accounts, stdout); err != nil {
		fmt.Fprintln(stderr, "agentcost-replay:", err)
		return misuse
	}
	if chosen.quiet {
		return verdict(len(read.problems) == 0 && len(read.records) > 0)
	}
	sessions := sessionsOf(read.records, ledger.NewSpanReader(book, chosen.reprice))
	agree := true
	for _, s := range sessions {
		agree = agree && s.agrees()
	}
	if chosen.out != "-" {
		document := appendJSON(nil, documentOf(sessions, read), 2, 0)
		if _, err := stdout.Write(append(document, '\n')); err != nil {
			fmt.Fprintln(stderr, "agentcost-replay:", err)
			return misuse
		}
	}
	return verdict(agree && len(read.problems) == 0 && len(read.records) > 0)
}

// bookOf is the bundled price book with the user's own prices, discounts and fees over it.
func bookOf(prices string) (*pricing.Book, error) {
	book := pricing.Bundled()
	if prices == "" {
		return book, nil
	}
	text, err := os.ReadFile(prices)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", prices, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var settings map[string]any
	if err := decoder.Decode(&settings); err != nil {
		return nil, fmt.Errorf("%s: no JSON object (%w)", prices, err)
	}
	overrides, err := pricing.ReadOverrides(settings)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", prices, err)
	}
	return book.WithOverrides(overrides)
}

func verdict(well bool) int {
	if well {
		return ok
	}
	return findings
}

func parse(arguments []string, stderr io.Writer) (*options, error) {
	chosen := &options{}
	flags := flag.NewFlagSet("agentcost-replay", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, "agentcost-replay [options] IN...\n\nAccounts for recorded traces (OTLP JSON, JSON lines or "+
			"protobuf, also .gz; a directory; - for stdin)\nand prints what each session cost as JSON.\n\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&chosen.out, "out", "", "write the enriched spans as OTLP JSON lines to this `file` (- is stdout)")
	flags.StringVar(&chosen.charges, "charges", "", "write one JSON line for each span's charge to this `file`")
	flags.StringVar(&chosen.prices, "prices", "", "own prices, discounts and fees: a `file` with the price part of "+
		"agentcost.yaml, written as JSON")
	reprice := flags.String("reprice", "missing", "what happens to cost that stands on spans: missing, always or never")
	flags.BoolVar(&chosen.writing.Full, "full", false, "write the breakdown of each charge, too")
	flags.BoolVar(&chosen.quiet, "quiet", false, "print no sessions")
	flags.Bool("json", true, "print JSON (there is no other form)")
	for len(arguments) > 0 { // options may stand behind inputs
		if err := flags.Parse(arguments); err != nil {
			return nil, err
		}
		arguments = flags.Args()
		if len(arguments) > 0 {
			chosen.inputs = append(chosen.inputs, arguments[0])
			arguments = arguments[1:]
		}
	}
	var known bool
	if chosen.reprice, known = ledger.RepriceOf(*reprice); !known {
		return nil, fmt.Errorf("-reprice %s: must be missing, always or never", *reprice)
	}
	if len(chosen.inputs) == 0 {
		return nil, fmt.Errorf("no input; give trace files, a directory of them, or - for stdin")
	}
	return chosen, nil
}

func write(chosen *options, read *traces, accounts *ledger.Accounts, stdout io.Writer) error {
	if chosen.out != "" {
		if err := writeTo(chosen.out, stdout, func(to io.Writer) error { return writeTraces(to, read) }); err != nil {
			return err
		}
	}
	if chosen.charges != "" {
		return writeTo(chosen.charges, stdout, func(to io.Writer) error { return writeCharges(to, accounts) })
	}
	return nil
}

// writeTo writes a file that appears only when it is complete, so it may be an input, too; `-` is stdout.
func writeTo(path string, stdout io.Writer, content func(to io.Writer) error) (err error) {
	if path == "-" {
		buffered := bufio.NewWriter(stdout)
		if err := content(buffered); err != nil {
			return err
		}
		return buffered.Flush()
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return fmt.Errorf("%s: cannot be written: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = temporary.Close()
			_ = os.Remove(temporary.Name())
			err = fmt.Errorf("%s: cannot be written: %w", path, err)
		}
	}()
	buffered := bufio.NewWriter(temporary)
	if err = content(buffered); err != nil {
		return err
	}
	if err = buffered.Flush(); err != nil {
		return err
	}
	if err = temporary.Chmod(0o644); err != nil {
		return err
	}
	if err = temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

func writeTraces(to io.Writer, read *traces) error {
	var marshaler ptrace.JSONMarshaler
	for _, payload := range read.payloads {
		line, err := marshaler.MarshalTraces(payload)
		if err != nil {
			return err
		}
		if _, err := to.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func writeCharges(to io.Writer, accounts *ledger.Accounts) error {
	var line []byte
	for _, account := range accounts.Spans {
		line = append(appendJSON(line[:0], chargeDocument(account), 0, 0), '\n')
		if _, err := to.Write(line); err != nil {
			return err
		}
	}
	return nil
}
