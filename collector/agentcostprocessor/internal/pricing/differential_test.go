package pricing

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Python and Go price the same random readings: every figure, line, reason and price id must be equal.
//
// It runs where a Python with otel_agentcost is: ../.venv of the repository, or $AGENTCOST_PYTHON. More readings and
// another seed: $AGENTCOST_DIFFERENTIAL=20000, $AGENTCOST_SEED=7.

func pythonOf(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", "..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	candidates := []string{os.Getenv("AGENTCOST_PYTHON"), filepath.Join(root, ".venv", "bin", "python"), "python3"}
	for _, python := range candidates {
		if python == "" {
			continue
		}
		probe := exec.Command(python, "-c", "import otel_agentcost.pricing.book")
		probe.Dir = root
		if probe.Run() == nil {
			return python
		}
	}
	t.Skip("no Python with otel_agentcost here (set AGENTCOST_PYTHON): Python and Go are not compared")
	return ""
}

// askPython sends lines to the Python engine and returns its answers.
func askPython(t testing.TB, python, script string, lines []string) [][]byte {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(filepath.Join("..", "..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(python, path)
	command.Dir = root
	command.Env = append(os.Environ(), "PYTHONPATH="+root)
	command.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, stderr.String())
	}
	var answers [][]byte
	scanner := bufio.NewScanner(bytes.NewReader(out))
	scanner.Buffer(nil, 1<<24)
	for scanner.Scan() {
		answers = append(answers, bytes.Clone(scanner.Bytes()))
	}
	if len(answers) != len(lines) {
		t.Fatalf("%s: %d answers to %d questions\n%s", script, len(answers), len(lines), stderr.String())
	}
	return answers
}

type billText struct {
	Status    string   `json:"status"`
	Total     *string  `json:"total"`
	Lines     []string `json:"lines"`
	Reasons   []string `json:"reasons"`
	Source    string   `json:"source"`
	PriceID   string   `json:"price_id"`
	Component string   `json:"component"`
	Currency  string   `json:"currency"`
	NoCharge  bool     `json:"no_charge"`
}

func textOf(bill *Bill) billText {
	written := billText{
		Status: bill.Status.String(), Lines: linesOf(bill), Reasons: bill.Reasons, Source: bill.Source.String(),
		PriceID: bill.PriceID, Component: bill.Component.String(), Currency: bill.Currency, NoCharge: bill.NoCharge(),
	}
	for i := range bill.Items {
		written.Lines[i] = strings.TrimSpace(written.Lines[i] + " " + bill.Items[i].Model)
	}
	if bill.HasTotal {
		written.Total = ptr(bill.Total.Pico())
	}
	return written
}

func (b *billText) String() string {
	total := "none"
	if b.Total != nil {
		total = *b.Total
	}
	return fmt.Sprintf("%s %s %q reasons %q source %q id %q %s %s no charge %v",
		b.Status, total, b.Lines, b.Reasons, b.Source, b.PriceID, b.Component, b.Currency, b.NoCharge)
}

// wire is a reading as it is sent to Python: the keys of its dataclass.
type wire struct {
	At               int64             `json:"at"`
	Kind             string            `json:"kind"`
	Status           string            `json:"status"`
	Reason           string            `json:"reason"`
	Provider         *string           `json:"provider"`
	Model            *string           `json:"model"`
	RequestModel     *string           `json:"request_model"`
	Context          map[string]string `json:"context"`
	Usage            map[string]string `json:"usage"`
	Parts            []wirePart        `json:"parts,omitempty"`
	Tool             *string           `json:"tool"`
	Estimated        bool              `json:"estimated"`
	ReportedCost     string            `json:"reported_cost,omitempty"`
	ReportedBy       string            `json:"reported_by"`
	ReportedCurrency string            `json:"reported_currency"`
}

type wirePart struct {
	Model string            `json:"model"`
	Usage map[string]string `json:"usage"`
}

func textOrNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func quantitiesText(u *usage.Usage) map[string]string {
	written := make(map[string]string)
	for unit := range u.Units().All() {
		written[unit.String()] = u.Get(unit).String()
	}
	return written
}

func wireOf(reading *usage.Reading, cost string, at int64) wire {
	sent := wire{
		At: at, Kind: reading.Kind.String(), Status: reading.Status.String(), Reason: reading.Reason,
		Provider: textOrNil(reading.Provider), Model: textOrNil(reading.Model), Tool: textOrNil(reading.Tool),
		RequestModel: textOrNil(reading.RequestModel), Context: make(map[string]string), Estimated: reading.Estimated,
		ReportedCost: cost, ReportedBy: reading.ReportedBy.String(), ReportedCurrency: reading.ReportedCurrency,
	}
	for _, entry := range reading.Context {
		sent.Context[entry.Key] = entry.Value
	}
	if reading.HasUsage {
		sent.Usage = quantitiesText(&reading.Usage)
	}
	for i := range reading.Parts {
		sent.Parts = append(sent.Parts, wirePart{reading.Parts[i].Model, quantitiesText(&reading.Parts[i].Usage)})
	}
	return sent
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func TestPythonAndGoGiveTheSameBills(t *testing.T) {
	python := pythonOf(t)
	count := number("AGENTCOST_DIFFERENTIAL", 4000)
	if testing.Short() {
		count = 600
	}
	random := newMaker(t, uint64(number("AGENTCOST_SEED", 1)))
	var lines []string
	var bills []string
	statuses := make(map[string]int)
	for part, text := range settings {
		book, err := Bundled().WithOverrides(settingsOf(t, []byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, `{"overrides": `+strings.ReplaceAll(text, "\n", " ")+`}`)
		bills = append(bills, "")
		for range count / len(settings) {
			reading, cost := random.reading()
			at := int64(1_672_531_200+random.Int64N(150_000_000))*1_000_000_000 + random.Int64N(1_000_000_000)
			sent, err := json.Marshal(wireOf(reading, cost, at))
			if err != nil {
				t.Fatal(err)
			}
			bill := book.Price(reading, at)
			written := textOf(&bill)
			lines, bills = append(lines, string(sent)), append(bills, written.String())
			statuses[written.Status]++
			if again := book.Price(reading, at); written.String() != ptr(textOf(&again)).String() {
				t.Errorf("settings %d: a remembered answer differs: %s", part, sent)
			}
		}
	}
	different := 0
	for i, raw := range askPython(t, python, "price.py", lines) {
		if bills[i] == "" {
			continue
		}
		var theirs billText
		if err := json.Unmarshal(raw, &theirs); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		if want := theirs.String(); want != bills[i] {
			if different++; different <= 12 {
				t.Errorf("%s\nGo:     %s\nPython: %s", lines[i], bills[i], want)
			}
		}
	}
	t.Logf("%d of %d bills differ; statuses %v", different, len(lines), statuses)
	if len(statuses) < 8 {
		t.Errorf("only %v took part", statuses)
	}
}

func TestPythonAndGoGiveTheSameContextWindows(t *testing.T) {
	python := pythonOf(t)
	random := newMaker(t, 21)
	book, err := Bundled().WithOverrides(settingsOf(t, []byte(settings[1])))
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{`{"overrides": ` + strings.ReplaceAll(settings[1], "\n", " ") + `}`}
	windows := []string{""}
	for range 1500 {
		provider, model := random.call()
		asked, err := json.Marshal(map[string]map[string]string{"window": {"provider": provider, "model": model}})
		if err != nil {
			t.Fatal(err)
		}
		want := "null"
		if tokens, ok := book.ContextWindow(provider, model); ok {
			want = strconv.FormatInt(tokens, 10)
		}
		lines, windows = append(lines, string(asked)), append(windows, `{"window": `+want+`}`)
	}
	for i, raw := range askPython(t, python, "price.py", lines) {
		if windows[i] != "" && windows[i] != string(raw) {
			t.Errorf("%s\nGo:     %s\nPython: %s", lines[i], windows[i], raw)
		}
	}
}
