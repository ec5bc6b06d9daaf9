package ledger

import (
	"strconv"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/semconv"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Book is what accounting needs of a price book.
type Book interface {
	// Price prices one reading at a time (Unix nanoseconds); a bill of no charge: nobody charges for it.
	Price(reading *usage.Reading, at int64) pricing.Bill
	// FeeAttributes are the attributes that count what a fee is asked for.
	FeeAttributes() []string
	// ContextWindow is how many tokens a model can hold; false where nobody knows.
	ContextWindow(provider, model string) (tokens int64, known bool)
}

// Reprice tells what happens to cost that stands on a span already.
type Reprice uint8

// Missing keeps stated cost; Always prices anew; Never lets only stated cost count.
const (
	Missing Reprice = iota
	Always
	Never
)

var repriceNames = [...]string{"missing", "always", "never"}

// String returns the name used in settings.
func (r Reprice) String() string { return repriceNames[r] }

// RepriceOf returns the choice of a name; false for a name nobody knows.
func RepriceOf(name string) (Reprice, bool) {
	for i, known := range repriceNames {
		if known == name {
			return Reprice(i), true
		}
	}
	return 0, false
}

// SpanRecord is one exported span, as any trace tells it.
type SpanRecord struct {
	TraceID, SpanID string
	// ParentID is empty for a root.
	ParentID   string
	Name       string
	Kind       usage.SpanKind
	Scope      string
	Start, End int64
	Attributes usage.Attributes
	// AttributeCount is how many attributes there are, each key counted once.
	AttributeCount int
	Resource       usage.Attributes
	Failed         bool
}

// SpanReader turns spans into entries: reads and prices them. It is not for several goroutines at once.
type SpanReader struct {
	book     Book
	reprice  Reprice
	counted  []string
	reader   *usage.Reader
	evidence usage.Evidence
	resource usage.Evidence
	scratch  *usage.Reading
}

// NewSpanReader returns a reader for a price book.
func NewSpanReader(book Book, reprice Reprice) *SpanReader {
	return &SpanReader{book: book, reprice: reprice, counted: book.FeeAttributes(), reader: usage.NewReader()}
}

// price is a Pricer: a bill of no charge is no bill.
func (s *SpanReader) price(reading *usage.Reading, at int64) *pricing.Bill {
	bill := s.book.Price(reading, at)
	if bill.NoCharge() {
		return nil
	}
	return &bill
}

// Entry reads and prices one span.
func (s *SpanReader) Entry(span *SpanRecord) Entry {
	reading := s.read(span)
	var bill *pricing.Bill
	stated, isStated := usage.Stated{}, false
	if s.reprice != Always {
		stated, isStated = usage.ReadStated(&s.evidence)
	}
	switch {
	case isStated && stated.HasPico && isOwnMoney(stated.Status):
		reading = supported(reading, span, &stated)
		bill = statedBill(reading, &stated)
	case reading != nil && s.reprice != Never && !isSilentAggregate(reading):
		bill = s.price(reading, span.Start)
	}
	if reading != nil && reading.Kind == usage.KindAPI && bill == nil {
		reading = nil // an HTTP request nobody charges for is a plain span
	}
	entry := Entry{
		SpanID:   span.SpanID,
		ParentID: span.ParentID,
		Start:    span.Start,
		End:      span.End,
		Emitter:  span.Scope,
		Reading:  reading,
		Bill:     bill,
		Failed:   span.Failed,
	}
	if reading != nil {
		entry.Agent = reading.Agent
		entry.Window = windowShare(reading, s.book)
	}
	return entry
}

// Reading returns what a span tells about consumption: its dialect's usage, or the HTTP request it is; nil for nothing.
func (s *SpanReader) Reading(span *SpanRecord) *usage.Reading { return s.read(span) }

func (s *SpanReader) read(span *SpanRecord) *usage.Reading {
	s.evidence.Collect(usage.InAll, span.Attributes)
	s.resource.Collect(usage.InResource, span.Resource)
	if s.scratch == nil {
		s.scratch = &usage.Reading{}
	}
	found := s.reader.Read(&usage.Span{
		Name:       span.Name,
		Scope:      span.Scope,
		Kind:       span.Kind,
		Failed:     span.Failed,
		Attributes: &s.evidence,
		Resource:   &s.resource,
	}, s.scratch)
	if !found && span.Kind == usage.SpanClient {
		found = usage.ReadHTTPClient(&s.evidence, s.scratch)
		if found {
			s.addCounted(span.Attributes, s.scratch)
		}
	}
	if !found {
		return nil
	}
	reading := s.scratch
	s.scratch = nil // who asked keeps it
	return reading
}

// addCounted puts the attributes that fees count by into the context of a request.
func (s *SpanReader) addCounted(attributes usage.Attributes, reading *usage.Reading) {
	for _, name := range s.counted {
		value, there := attributes.Get(name)
		if !there {
			continue
		}
		if text, ok := value.FirstOrSelf().Plain(); ok {
			reading.Context = reading.Context.With(name, text)
		}
	}
}

func isSilentAggregate(reading *usage.Reading) bool {
	return reading.Kind == usage.KindAggregate && !reading.HasUsage && reading.ReportedBy == usage.Nobody
}

// isOwnMoney: mirrors, aggregates, remainders and corrections are verdicts of one process; they are judged anew.
func isOwnMoney(status string) bool {
	switch status {
	case "mirror", "aggregate", "remainder", "correction":
		return false
	}
	return true
}

// supported makes a span with stated money evidence even where its attributes show no usage.
func supported(reading *usage.Reading, span *SpanRecord, stated *usage.Stated) *usage.Reading {
	cost, _ := usage.ParseDecimal(pricing.Pico(stated.Pico).String())
	if reading == nil {
		made := &usage.Reading{
			Kind: usage.KindAPI, Operation: "chat", Dialect: "agentcost", Tool: span.Name, HasUsage: true,
			ReportedCost: cost, ReportedCurrency: defaultCurrency, ReportedBy: usage.ByEmitter,
		}
		if kind, there := span.Attributes.Get(semconv.Kind); there && kind == usage.TextValue("compute") {
			made.Kind, made.Tool = usage.KindCompute, ""
		}
		return made
	}
	if reading.Status != usage.StatusUsage && stated.Pico != 0 {
		reading.ReportedCost = cost
		if reading.ReportedBy == usage.Nobody {
			reading.ReportedBy = usage.ByEmitter
		}
	}
	return reading
}

func statedBill(reading *usage.Reading, stated *usage.Stated) *pricing.Bill {
	bill := &pricing.Bill{
		Status:    pricing.Priced,
		Component: homeOf(reading),
		HasTotal:  true,
		Total:     pricing.Pico(stated.Pico),
		Source:    sourceOf(stated.Source),
		PriceID:   stated.PriceID,
		Currency:  stated.Currency,
	}
	switch stated.Status {
	case "partial":
		bill.Status = pricing.Partial
	case "free":
		bill.Status = pricing.Free
	case "estimated":
		bill.Status = pricing.Estimated
	}
	for reason := range strings.SplitSeq(stated.Reason, ",") {
		if reason != "" {
			bill.Reasons = append(bill.Reasons, reason)
		}
	}
	return bill
}

// sourceOf is the source of a name, none for a name nobody knows.
func sourceOf(name string) pricing.Source {
	for _, known := range [...]pricing.Source{
		pricing.FromProvider, pricing.FromUser, pricing.FromBook, pricing.FromEstimate,
	} {
		if known.String() == name {
			return known
		}
	}
	return pricing.NoSource
}

// windowShare is the share of the model's context window that a call had in use, 0 where unknown.
func windowShare(reading *usage.Reading, book Book) float64 {
	if reading.Kind != usage.KindCall {
		return 0
	}
	held := reading.WindowTokens
	if held == 0 {
		held = totals(reading).in
	}
	model := firstOf(reading.Model, reading.RequestModel)
	if held == 0 || model == "" {
		return 0
	}
	limit, known := book.ContextWindow(reading.Provider, model)
	if !known || limit == 0 {
		return 0
	}
	// Rounded to four decimals as a decimal text is: half to even of the exact double.
	share, _ := strconv.ParseFloat(strconv.FormatFloat(float64(held)/float64(limit), 'f', 4, 64), 64)
	return share
}
