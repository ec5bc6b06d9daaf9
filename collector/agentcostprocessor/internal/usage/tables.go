package usage

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/data"
)

// totalTokens is no unit: all tokens together, where an emitter states it. Tells inclusive and exclusive counts apart.
const totalTokens Unit = 63

// group is what a found value is for.
type group uint8

const (
	inFields group = iota
	inUsage
	inAggregateUsage
	inOwnUsage // attributes made of a prefix and a unit's key
	inPlus
	inContext
	inIdentity
	groupCount
)

// Slots of the group inFields; the values that rules of `kind` look at have slots of their own from kindSlots on.
const (
	slotProvider = iota
	slotResponseModel
	slotRequestModel
	slotHost
	slotTool
	slotAgent
	slotAggregateAgent
	slotError
	slotInclusiveWhen
	slotCost
	slotCurrency
	slotCostBy
	kindSlots
)

// slotCount bounds the slots of a group: one bit each.
const slotCount = 64

// place is one attribute's part in a dialect: what it can fill, how much it is preferred there (0 most), and the path
// inside a JSON text.
type place struct {
	group group
	slot  uint8
	rank  uint8
	path  []string
}

type outcome struct {
	kind      Kind
	operation string
}

// kindRule is one step in deciding a span's kind.
type kindRule struct {
	slot     int // of inFields; -1 for the span's name
	values   map[string]outcome
	prefixes []prefixOutcome
	present  bool
	usage    bool
	always   bool
	is       outcome
}

type prefixOutcome struct {
	prefix  string
	outcome outcome
}

// detect is one way to recognise a dialect; every stated part must hold.
type detect struct {
	markers    uint64 // at least one of these keys; 0 when no key is asked for
	scopes     []string
	names      []string
	attributes []wantedText
	resource   []wantedText
}

type wantedText struct {
	key  Key
	text string
}

type inputRule uint8

const (
	inclusive inputRule = iota
	exclusive
	auto
)

// dialect is everything a reader needs to know about one way of writing spans.
type dialect struct {
	name            string
	detect          []detect
	kinds           []kindRule
	places          [][]place // by Key
	contextKeys     []string
	rule            inputRule
	outputExclusive bool
	additiveInput   UnitSet
	additiveOutput  UnitSet
	aggregate       AggregateMode
	providerIs      string
	costByProvider  string
	toolNames       []string
	server          bool
}

type rawDialect struct {
	Dialect        string
	Rank           int
	Detect         []rawDetect
	Kind           []rawKind
	Usage          map[string][]string
	AggregateUsage map[string][]string `json:"aggregate_usage"`
	Plus           map[string][]string
	UsagePrefix    string `json:"usage_prefix"`
	Input          string
	Output         string
	InclusiveWhen  []string  `json:"inclusive_when"`
	AdditiveInput  *[]string `json:"additive_input"`
	AdditiveOutput *[]string `json:"additive_output"`
	Aggregate      string
	Provider       []string
	ProviderIs     string   `json:"provider_is"`
	ResponseModel  []string `json:"response_model"`
	RequestModel   []string `json:"request_model"`
	Host           []string
	Agent          []string
	AggregateAgent []string `json:"aggregate_agent"`
	Tool           []string
	ToolNames      []string `json:"tool_names"`
	Error          []string
	Identity       []string
	Context        map[string][]string
	ReportedCost   struct {
		Amount       []string
		Currency     []string
		ProviderWhen struct {
			From []string
			Is   string
		} `json:"provider_when"`
	} `json:"reported_cost"`
	Server bool
}

type rawDetect struct {
	Keys, Scopes, Names  []string
	Attributes, Resource map[string]string
}

type rawKind struct {
	From    string
	Values  map[string]rawOutcome
	Present []string
	Usage   bool
	Is      *rawOutcome
}

// rawOutcome is `kind` or `[kind, operation]`.
type rawOutcome struct{ outcome }

// UnmarshalJSON reads both forms.
func (o *rawOutcome) UnmarshalJSON(text []byte) error {
	var words []string
	if err := json.Unmarshal(text, &words); err != nil {
		words = []string{""}
		if err := json.Unmarshal(text, &words[0]); err != nil {
			return err
		}
	}
	kind, ok := KindOf(words[0])
	if !ok {
		return fmt.Errorf("%q is no kind", words[0])
	}
	o.kind = kind
	if len(words) > 1 {
		o.operation = words[1]
	}
	return nil
}

var (
	keys       = &keyTable{}
	markerBits [maxKeys]uint64
	tables     = compileTables()
)

type compiled struct {
	dialects []dialect // most specific first
	// namePrefixes give a span away that has no marker.
	namePrefixes []string
	// exclusiveVendors leave cached tokens out of the input when they count.
	exclusiveVendors map[string]bool
	labels           [maxKeys]labelPlace
}

func compileTables() *compiled {
	var raw struct {
		Dialects         []rawDialect
		ExclusiveVendors []string `json:"exclusive_vendors"`
		Labels           map[string][]string
	}
	decoder := json.NewDecoder(strings.NewReader(string(data.Dialects)))
	decoder.DisallowUnknownFields() // a field that Go does not know would be read by Python alone
	if err := decoder.Decode(&raw); err != nil {
		panic(fmt.Errorf("embedded dialects.json: %w", err))
	}
	made := &compiled{exclusiveVendors: make(map[string]bool)}
	for _, vendor := range raw.ExclusiveVendors {
		made.exclusiveVendors[vendor] = true
	}
	markers := make(map[Key]uint64)
	prefixes := make(map[string]bool)
	for i := range raw.Dialects {
		made.dialects = append(made.dialects, compileDialect(&raw.Dialects[i], markers))
		for _, rule := range raw.Dialects[i].Detect {
			for _, name := range rule.Names {
				if len(rule.Keys) == 0 {
					prefixes[name] = true
				}
			}
		}
	}
	for key, bit := range markers {
		markerBits[key] = bit
	}
	for name := range prefixes {
		made.namePrefixes = append(made.namePrefixes, name)
	}
	sort.Strings(made.namePrefixes)
	made.labels = compileLabels(raw.Labels)
	return made
}

func compileDialect(raw *rawDialect, markers map[Key]uint64) dialect {
	made := dialect{
		name:            raw.Dialect,
		rule:            map[string]inputRule{"": inclusive, "inclusive": inclusive, "exclusive": exclusive, "auto": auto}[raw.Input],
		outputExclusive: raw.Output == "exclusive",
		additiveInput:   SetOf(CacheReadTokens, CacheWriteTokens),
		additiveOutput:  SetOf(OutputReasoningTokens),
		providerIs:      raw.ProviderIs,
		costByProvider:  raw.ReportedCost.ProviderWhen.Is,
		toolNames:       raw.ToolNames,
		server:          raw.Server,
	}
	if raw.Aggregate != "" {
		made.aggregate, _ = AggregateModeOf(raw.Aggregate)
	}
	if raw.AdditiveInput != nil {
		made.additiveInput = unitsNamed(*raw.AdditiveInput)
	}
	if raw.AdditiveOutput != nil {
		made.additiveOutput = unitsNamed(*raw.AdditiveOutput)
	}
	for slot, sources := range [][]string{
		slotProvider: raw.Provider, slotResponseModel: raw.ResponseModel, slotRequestModel: raw.RequestModel,
		slotHost: raw.Host, slotTool: raw.Tool, slotAgent: raw.Agent, slotAggregateAgent: raw.AggregateAgent,
		slotError: raw.Error, slotInclusiveWhen: raw.InclusiveWhen, slotCost: raw.ReportedCost.Amount,
		slotCurrency: raw.ReportedCost.Currency, slotCostBy: raw.ReportedCost.ProviderWhen.From,
	} {
		made.add(inFields, slot, sources)
	}
	for group, table := range map[group]map[string][]string{
		inUsage: raw.Usage, inAggregateUsage: raw.AggregateUsage, inPlus: raw.Plus,
	} {
		for unit, sources := range table {
			made.add(group, int(unitNamed(unit)), sources)
		}
	}
	if raw.UsagePrefix != "" {
		for unit := range Unit(UnitCount) {
			made.add(inOwnUsage, int(unit), []string{raw.UsagePrefix + unit.String()})
		}
	}
	for key := range raw.Context {
		made.contextKeys = append(made.contextKeys, key)
	}
	sort.Strings(made.contextKeys)
	for slot, key := range made.contextKeys {
		made.add(inContext, slot, raw.Context[key])
	}
	for slot, source := range raw.Identity {
		made.add(inIdentity, slot, []string{source})
	}
	for number := range raw.Kind {
		made.kinds = append(made.kinds, made.kindRule(kindSlots+number, &raw.Kind[number]))
	}
	for i := range raw.Detect {
		made.detect = append(made.detect, compileDetect(&raw.Detect[i], markers))
	}
	return made
}

// add lets the sources of a slot compete, the first one preferred.
func (d *dialect) add(group group, slot int, sources []string) {
	if slot >= slotCount || len(sources) > 255 {
		panic("usage: dialect " + d.name + " has more slots or sources than fit")
	}
	for rank, source := range sources {
		name, path, deep := strings.Cut(source, "#")
		made := place{group: group, slot: uint8(slot), rank: uint8(rank)}
		if deep {
			made.path = strings.Split(path, "/")
		}
		key := keys.number(name, InUsage)
		for len(d.places) <= int(key) {
			d.places = append(d.places, nil)
		}
		d.places[key] = append(d.places[key], made)
	}
}

func (d *dialect) kindRule(slot int, raw *rawKind) kindRule {
	made := kindRule{slot: slot, present: raw.Present != nil, usage: raw.Usage, values: make(map[string]outcome)}
	switch {
	case made.present:
		d.add(inFields, slot, raw.Present)
	case raw.From != "" && raw.From != "$name":
		d.add(inFields, slot, []string{raw.From})
	default:
		made.slot = -1
	}
	if raw.Is != nil {
		made.is = raw.Is.outcome
		made.always = !made.present && !made.usage
	}
	for value, outcome := range raw.Values {
		if prefix, open := strings.CutSuffix(value, "*"); open {
			made.prefixes = append(made.prefixes, prefixOutcome{prefix, outcome.outcome})
		} else {
			made.values[value] = outcome.outcome
		}
	}
	sort.Slice(made.prefixes, func(i, j int) bool { return len(made.prefixes[i].prefix) > len(made.prefixes[j].prefix) })
	return made
}

func compileDetect(raw *rawDetect, markers map[Key]uint64) detect {
	made := detect{scopes: raw.Scopes, names: raw.Names}
	for _, name := range raw.Keys {
		key := keys.number(name, InUsage)
		if markers[key] == 0 {
			if len(markers) == 64 {
				panic("usage: dialects are recognised by more than 64 keys")
			}
			markers[key] = 1 << len(markers)
		}
		made.markers |= markers[key]
	}
	for name, text := range raw.Attributes {
		made.attributes = append(made.attributes, wantedText{keys.number(name, InUsage), text})
	}
	for name, text := range raw.Resource {
		made.resource = append(made.resource, wantedText{keys.number(name, InResource), text})
	}
	return made
}

// unconditional tells whether keys and scope are all that is asked for.
func (d *detect) unconditional() bool {
	return len(d.names) == 0 && len(d.attributes) == 0 && len(d.resource) == 0
}

// fits tells whether the parts hold that do not depend on values.
func (d *detect) fits(markers uint64, scope string) bool {
	if d.markers != 0 && d.markers&markers == 0 {
		return false
	}
	if len(d.scopes) == 0 {
		return true
	}
	for _, wanted := range d.scopes {
		if prefix, open := strings.CutSuffix(wanted, "*"); scope == wanted || open && strings.HasPrefix(scope, prefix) {
			return true
		}
	}
	return false
}

// holds tells whether the parts hold that depend on values.
func (d *detect) holds(span *Span) bool {
	if len(d.names) > 0 && !hasAnyPrefix(span.Name, d.names) {
		return false
	}
	for i := range d.attributes {
		if value := span.Attributes.get(d.attributes[i].key); value == nil || !value.is(d.attributes[i].text) {
			return false
		}
	}
	for i := range d.resource {
		if value := span.Resource.get(d.resource[i].key); value == nil || !value.is(d.resource[i].text) {
			return false
		}
	}
	return true
}

func hasAnyPrefix(text string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

func unitNamed(key string) Unit {
	if key == "total_tokens" {
		return totalTokens
	}
	unit, ok := UnitOf(key)
	if !ok {
		panic("usage: dialects.json names the unit " + strconv.Quote(key))
	}
	return unit
}

func unitsNamed(names []string) UnitSet {
	var set UnitSet
	for _, name := range names {
		set |= 1 << unitNamed(name)
	}
	return set
}
