package usage

import (
	"math/bits"
	"strings"
)

// Span is what a reader has to know about one span.
type Span struct {
	Name       string
	Scope      string
	Kind       SpanKind
	Failed     bool
	Attributes *Evidence
	// Resource is evidence about the span's resource (Interest InResource, and InLabels for labels); may be nil.
	Resource *Evidence
}

// Reader reads spans. It keeps what it worked out before, so use one again; not for several goroutines at once.
type Reader struct {
	found     found
	counts    Quantities
	documents []document
	keyOf     []Key // of each document in use
	dug       []Value
	problem   string
	biller    biller
	billers   memory[biller]
	hosts     memory[HostFacts]

	markers    uint64
	scope      string
	last       []candidate
	candidates map[candidateKey][]candidate
}

// NewReader returns a reader.
func NewReader() *Reader {
	return &Reader{
		candidates: make(map[candidateKey][]candidate),
		billers:    newMemory[biller](256),
		hosts:      newMemory[HostFacts](512),
	}
}

type candidateKey struct {
	markers uint64
	scope   string
}

// candidate is a dialect whose keys and scope fit, with the rules left to check.
type candidate struct {
	dialect *dialect
	rules   []*detect
}

// maxCandidates bounds how many combinations of keys and scope are remembered.
const maxCandidates = 1024

// Read tells what a span says about consumption; false when it says nothing, and then `into` has no meaning.
//
// Never fails: numbers that cannot be true come back as StatusInvalid with the reason. A span that is not ours costs one
// look at its evidence.
func (r *Reader) Read(span *Span, into *Reading) bool {
	if span.Attributes.markers == 0 && !hasAnyPrefix(span.Name, tables.namePrefixes) {
		return false
	}
	for _, candidate := range r.candidatesFor(span.Attributes.markers, span.Scope) {
		for _, rule := range candidate.rules {
			if rule.holds(span) {
				into.Reset()
				return r.read(candidate.dialect, span, into)
			}
		}
	}
	return false
}

func (r *Reader) candidatesFor(markers uint64, scope string) []candidate {
	if r.last != nil && r.markers == markers && r.scope == scope {
		return r.last
	}
	made, known := r.candidates[candidateKey{markers, scope}]
	if !known {
		scope = strings.Clone(scope)
		for i := range tables.dialects {
			dialect := &tables.dialects[i]
			next, final := candidate{dialect: dialect}, false
			for j := range dialect.detect {
				if rule := &dialect.detect[j]; rule.fits(markers, scope) {
					next.rules = append(next.rules, rule)
					final = final || rule.unconditional()
				}
			}
			if next.rules != nil {
				made = append(made, next)
			}
			if final {
				break
			}
		}
		if made == nil {
			made = []candidate{}
		}
		if len(r.candidates) >= maxCandidates {
			clear(r.candidates)
		}
		if len(scope) <= longestKey {
			r.candidates[candidateKey{markers, scope}] = made
		}
	}
	r.markers, r.scope, r.last = markers, strings.Clone(scope), made
	return made
}

func (r *Reader) read(d *dialect, span *Span, into *Reading) bool {
	r.gather(d, span.Attributes)
	decided := r.decide(d, span.Name)
	kind := decided.kind
	if kind == NoKind {
		return false
	}
	r.count(kind == KindAggregate)
	into.Dialect = d.name
	into.Server = d.server || span.Kind == SpanServer
	into.Agent = r.found.words(slotAgent)
	if kind == KindTool {
		if r.problem == "" && !r.counts.anything() {
			r.readTool(d, span.Name, into)
			return true
		}
		kind = KindAggregate // a tool that states tokens sums up the calls inside it
	}
	into.Kind = kind
	into.Operation = decided.operation
	if decided.operation == "" {
		into.Operation = kind.String()
		if kind == KindCall {
			into.Operation = "chat"
		}
	}
	r.readWho(d, into)
	r.readUsage(d, span.Failed, decided.operation, into)
	r.readCost(d, into)
	into.Aggregate = d.aggregate
	if kind != KindAggregate {
		r.readIdentity(into)
	} else if into.Agent == "" {
		into.Agent = r.found.words(slotAggregateAgent)
	}
	if kind != KindCall {
		into.Tool = r.found.words(slotTool)
	}
	return true
}

// decide returns kind and operation by the first rule that has something to say; NoKind when none has.
func (r *Reader) decide(d *dialect, name string) outcome {
	for i := range d.kinds {
		rule := &d.kinds[i]
		switch {
		case rule.present:
			if r.found.field(rule.slot) != nil {
				return rule.is
			}
			continue
		case rule.usage:
			if r.found.set[inUsage] != 0 || r.found.set[inAggregateUsage] != 0 {
				return rule.is
			}
			continue
		case rule.always:
			return rule.is
		}
		text := name
		if rule.slot >= 0 {
			value := r.found.field(rule.slot)
			if value == nil || value.kind != Text {
				continue
			}
			text = value.text
		}
		text = lower(text)
		if known, ok := rule.values[text]; ok {
			return known
		}
		for j := range rule.prefixes {
			if strings.HasPrefix(text, rule.prefixes[j].prefix) {
				return rule.prefixes[j].outcome
			}
		}
	}
	return outcome{}
}

func (r *Reader) readTool(d *dialect, name string, into *Reading) {
	into.Kind = KindTool
	into.Operation = "execute_tool"
	into.Usage, into.HasUsage = Of(ToolCalls, Count(1)), true
	into.Tool = r.found.words(slotTool)
	if into.Tool != "" {
		return
	}
	for _, prefix := range d.toolNames {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			into.Tool = bounded(rest)
			return
		}
	}
}

// count collects every count the span states; r.problem is the first problem (by unit name) with one of them.
func (r *Reader) count(aggregate bool) {
	r.counts.Reset()
	r.problem = ""
	stated := inUsage
	if aggregate && r.found.set[inAggregateUsage] != 0 {
		stated = inAggregateUsage
	}
	own := r.found.set[inOwnUsage]
	r.countGroup(stated, r.found.set[stated]&^own)
	r.countGroup(inOwnUsage, own)
	if r.problem != "" {
		r.counts.Reset()
	}
}

func (r *Reader) countGroup(group group, set uint64) {
	for ; set != 0; set &= set - 1 {
		unit := Unit(bits.TrailingZeros64(set))
		number, problem := r.found.at[group][unit].read(unit)
		if problem == "" {
			r.counts.Put(unit, number)
		} else if r.problem == "" || problem < r.problem {
			r.problem = problem
		}
	}
}

func (r *Reader) readUsage(d *dialect, failed bool, operation string, into *Reading) {
	if r.problem != "" {
		into.Status, into.Reason = StatusInvalid, r.problem
		return
	}
	counts := &r.counts
	if operation == "embeddings" && counts.Has(totalTokens) && !counts.Has(InputTokens) {
		counts.Put(InputTokens, counts.Get(totalTokens))
	}
	if !counts.within(simple) {
		told := r.found.field(slotInclusiveWhen) != nil
		how := counted{
			rule: d.rule, exclusiveVendor: r.biller.exclusive,
			outputExclusive: d.outputExclusive && !told,
			additiveInput:   d.additiveInput, additiveOutput: d.additiveOutput,
		}
		if told {
			how.rule = inclusive
		}
		counts.settleTotals(how)
		counts.completeOverlaps()
	}
	if r.found.set[inPlus] != 0 && !r.addPlus(into) {
		return
	}
	if !counts.anything() {
		switch {
		case failed:
			into.Status, into.Reason = StatusError, r.failure()
		case counts.set != 0:
			into.Status, into.Reason = StatusNoUsage, "zero_usage"
		default:
			into.Status, into.Reason = StatusNoUsage, "no_usage"
		}
		return
	}
	made, problem := counts.settled()
	if problem != "" {
		into.Status, into.Reason = StatusInvalid, problem
		return
	}
	into.Usage, into.HasUsage = made, true
}

// addPlus adds what a vendor bills beside the totals it states; false when one of the numbers cannot be true.
func (r *Reader) addPlus(into *Reading) bool {
	r.problem = ""
	for set := r.found.set[inPlus]; set != 0; set &= set - 1 {
		unit := Unit(bits.TrailingZeros64(set))
		more, problem := r.found.at[inPlus][unit].read(unit)
		if problem == "" {
			r.counts.Put(unit, r.counts.Get(unit).Add(more))
		} else if r.problem == "" || problem < r.problem {
			r.problem = problem
		}
	}
	if r.problem != "" {
		into.Status, into.Reason = StatusInvalid, r.problem
	}
	return r.problem == ""
}

func (r *Reader) failure() string {
	told := r.found.words(slotError)
	switch {
	case told == "":
		return "error"
	case allDigits(told):
		return "http_" + told
	}
	return "error:" + cut(told, 64)
}

// readCost reads money stated on the span, its currency, and whether the provider itself stated it.
func (r *Reader) readCost(d *dialect, into *Reading) {
	cost := r.found.field(slotCost)
	if cost == nil {
		return
	}
	amount, ok := cost.decimal()
	if !ok || amount.Sign() < 0 {
		return
	}
	into.ReportedCost, into.ReportedBy = amount, ByEmitter
	if by := r.found.field(slotCostBy); by != nil && by.is(d.costByProvider) {
		into.ReportedBy = ByProvider
	}
	if currency := r.found.words(slotCurrency); currency != "" {
		into.ReportedCurrency = strings.ToUpper(currency)
	}
}

// readWho reads provider, the model that answered, the model asked for, and what else a price depends on.
func (r *Reader) readWho(d *dialect, into *Reading) {
	into.RequestModel = r.found.words(slotRequestModel)
	into.Model = r.found.words(slotResponseModel)
	if into.Model == "" {
		into.Model = into.RequestModel
	}
	for set := r.found.set[inContext]; set != 0; set &= set - 1 {
		slot := bits.TrailingZeros64(set)
		if text := r.found.at[inContext][slot].words(); text != "" {
			into.Context = append(into.Context, ContextEntry{d.contextKeys[slot], text})
		}
	}
	var facts HostFacts
	if host := r.found.words(slotHost); host != "" {
		into.Context = into.Context.With("host", host)
		facts = r.hosts.get(host, factsOfHost)
		if facts.Region != "" && !into.Context.Has("region") {
			into.Context = append(into.Context, ContextEntry{"region", facts.Region})
		}
	}
	name := r.found.words(slotProvider)
	if name == "" {
		name = d.providerIs
	}
	r.biller = r.billers.get(name, billerOf)
	into.Provider = r.biller.id
	kind := r.biller.kind
	if kind != Framework && kind != "" {
		return
	}
	// A framework's name is not a biller's; a name nobody knows stays unless host or model know better.
	told := facts.Provider
	if told == "" && into.Model != "" {
		told = RoutedProvider(into.Model)
	}
	if told != "" || kind == Framework {
		into.Provider = told
		r.biller.exclusive = tables.exclusiveVendors[told]
	}
}

// readIdentity reads the ids of the request, strongest first, each once.
func (r *Reader) readIdentity(into *Reading) {
	for set := r.found.set[inIdentity]; set != 0; set &= set - 1 {
		id := r.found.at[inIdentity][bits.TrailingZeros64(set)].words()
		known := id == ""
		for _, other := range into.Identity {
			known = known || other == id
		}
		if !known {
			into.Identity = append(into.Identity, id)
		}
	}
}
