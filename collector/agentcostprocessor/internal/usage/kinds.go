package usage

// Kind is what a reading is about.
type Kind uint8

// A call is one model request; an aggregate sums up what is below it; the others are themselves. NoKind tells nothing
// about cost.
const (
	NoKind Kind = iota
	KindCall
	KindAggregate
	KindTool
	KindAPI
	KindCompute
)

var kindNames = [...]string{"none", "call", "aggregate", "tool", "api", "compute"}

// String returns the name used in vectors and tables.
func (k Kind) String() string { return kindNames[k] }

// KindOf returns the kind of a name; false for a name nobody knows.
func KindOf(name string) (Kind, bool) { return indexOf[Kind](kindNames[:], name) }

// AggregateMode is how the figures of an aggregate relate to the calls below it.
type AggregateMode uint8

// Sum of the calls below; lifetime totals, of which the increase counts; or right whatever is below.
const (
	Sum AggregateMode = iota
	Cumulative
	Authoritative
)

var aggregateNames = [...]string{"sum", "cumulative", "authoritative"}

// String returns the name used in vectors and tables.
func (m AggregateMode) String() string { return aggregateNames[m] }

// AggregateModeOf returns the mode of a name; false for a name nobody knows.
func AggregateModeOf(name string) (AggregateMode, bool) {
	return indexOf[AggregateMode](aggregateNames[:], name)
}

// Status tells whether a reading has usage, and if not, what kind of nothing it is.
type Status uint8

// The statuses of a reading.
const (
	StatusUsage Status = iota
	StatusNoUsage
	StatusError
	StatusInvalid
	StatusNotBilled
)

var statusNames = [...]string{"usage", "no_usage", "error", "invalid", "not_billed"}

// String returns the name used in vectors.
func (s Status) String() string { return statusNames[s] }

// StatusOf returns the status of a name; false for a name nobody knows.
func StatusOf(name string) (Status, bool) { return indexOf[Status](statusNames[:], name) }

// Reporter is who stated a cost.
type Reporter uint8

// Nobody; the provider in its own response; the user through our API; an instrumentation that computed it.
const (
	Nobody Reporter = iota
	ByProvider
	ByUser
	ByEmitter
)

var reporterNames = [...]string{"", "provider", "user", "emitter"}

// String returns the name used in vectors and in agentcost.cost.source.
func (r Reporter) String() string { return reporterNames[r] }

// ReporterOf returns the reporter of a name; false for a name nobody knows.
func ReporterOf(name string) (Reporter, bool) { return indexOf[Reporter](reporterNames[:], name) }

// SpanKind is the OTLP kind of a span.
type SpanKind uint8

// The kinds of spans, numbered as in OTLP.
const (
	SpanUnspecified SpanKind = iota
	SpanInternal
	SpanServer
	SpanClient
	SpanProducer
	SpanConsumer
)

var spanKindNames = [...]string{"unspecified", "internal", "server", "client", "producer", "consumer"}

// String returns the lower-case name.
func (k SpanKind) String() string { return spanKindNames[k] }

// SpanKindOf returns the kind of a lower-case name; false for a name nobody knows.
func SpanKindOf(name string) (SpanKind, bool) { return indexOf[SpanKind](spanKindNames[:], name) }

func indexOf[T ~uint8](names []string, name string) (T, bool) {
	for i, known := range names {
		if known == name {
			return T(i), true
		}
	}
	return 0, false
}
