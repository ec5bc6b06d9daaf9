package pricing

import (
	"fmt"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// What the book was asked before, and what it answered: the memory that makes the second look-up cheap.

// sought is a model somebody used, as it was named.
type sought struct {
	provider, model, requestModel, host string
	day                                 int64
}

func (s *sought) hash() uint64 {
	hash := hashText(uint64(s.day), s.provider)
	hash = hashText(hash, s.model)
	if s.requestModel != "" {
		hash = hashText(hash+1, s.requestModel)
	}
	if s.host != "" {
		hash = hashText(hash+2, s.host)
	}
	return hash
}

func (s *sought) length() int {
	return len(s.provider) + len(s.model) + len(s.requestModel) + len(s.host)
}

func (s *sought) clone() sought {
	return sought{
		strings.Clone(s.provider), strings.Clone(s.model), strings.Clone(s.requestModel), strings.Clone(s.host), s.day,
	}
}

// anyMinute asks about a day on which the time does not matter.
const anyMinute = -1

// question is everything a plan depends on. The host stands in the context.
type question struct {
	sought
	units   usage.UnitSet
	minute  int32
	context usage.Context
}

// answer is a plan, or the bill of what has none. timed: the time of day matters, ask with the minute.
type answer struct {
	plan  *plan
	bill  Bill
	timed bool
}

// answer returns what is known, or finds it out. What was asked about may be thrown away afterwards: it is copied.
func (b *Book) answer(asked *question) *answer {
	hash := asked.sought.hash()*31 + uint64(asked.units) + uint64(asked.minute)<<40
	relevant := 0
	length := asked.sought.length()
	for i := range asked.context {
		entry := &asked.context[i]
		if number := b.relevant[entry.Key]; number != 0 && entry.Value != "" {
			relevant++
			length += len(entry.Key) + len(entry.Value)
			// A context has no order, so the hash must not have one either.
			hash += hashText(number, entry.Value)
		}
	}
	same := func(known *question) bool {
		if known.units != asked.units || known.minute != asked.minute || known.sought != asked.sought ||
			len(known.context) != relevant {
			return false
		}
		for i := range known.context {
			if asked.context.Get(known.context[i].Key) != known.context[i].Value {
				return false
			}
		}
		return true
	}
	if known := b.plans.get(hash, same); known != nil {
		return *known
	}
	found := b.work(asked)
	if length <= maxKey {
		kept := question{sought: asked.sought.clone(), units: asked.units, minute: asked.minute}
		for _, entry := range asked.context {
			if entry.Value != "" && b.relevant[entry.Key] != 0 {
				kept.context = append(kept.context, usage.ContextEntry{
					Key: strings.Clone(entry.Key), Value: strings.Clone(entry.Value),
				})
			}
		}
		b.plans.put(hash, kept, found)
	}
	return found
}

// work finds an answer out. It never panics: a fault of ours becomes an unpriced bill that names it.
func (b *Book) work(asked *question) (found *answer) {
	defer func() {
		if fault := recover(); fault != nil {
			found = &answer{bill: unpriced([]string{"pricing_error:panic"}, []string{fmt.Sprint(fault)})}
		}
	}()
	if asked.units == 0 {
		return &answer{bill: unpriced([]string{"no_usage"}, nil)}
	}
	if asked.model == "" && asked.requestModel == "" {
		return &answer{bill: unpriced([]string{"no_model"}, nil)}
	}
	told := make(map[string]string, len(asked.context))
	for _, entry := range asked.context {
		if entry.Value != "" && b.relevant[entry.Key] != 0 {
			told[strings.Clone(entry.Key)] = strings.Clone(entry.Value)
		}
	}
	named := asked.sought.clone()
	named.host = told["host"]
	match, err := b.find(named)
	if err != nil {
		return &answer{bill: unpriced([]string{"pricing_error:book"}, []string{err.Error()})}
	}
	if match == nil {
		note := "no entry for " + or(named.provider, "any provider") + "/" + or(named.model, named.requestModel)
		return &answer{bill: unpriced([]string{"unknown_model"}, []string{note})}
	}
	if asked.minute == anyMinute {
		if b.overrides.timed || match.entry != nil && match.entry.tariff.timed {
			return &answer{timed: true}
		}
		return b.planAt(match, told, asked.units, asked.day, 0)
	}
	return b.planAt(match, told, asked.units, asked.day, int64(asked.minute))
}

func (b *Book) planAt(match *found, context map[string]string, units usage.UnitSet, day, minute int64) *answer {
	e := match.entry
	var t *tariff
	if e == nil {
		settled, reasons := settleTier(context, noRules)
		t = &tariff{rates: make(rates), label: defaultLabel, mode: wholeRequest, context: settled, reasons: reasons}
		for _, key := range tierKeys {
			if value, ok := settled[key]; ok {
				t.reasons = append(t.reasons, "no_tier_rate:"+value)
			}
		}
	} else {
		t = e.resolve(context, day, minute)
	}
	t.reasons = append(t.reasons, match.reasons...)
	t.notes = append(t.notes, match.notes...)
	used, ok := b.overrides.apply(t, match.provider, match.names, day, minute)
	switch {
	case !ok:
		return &answer{bill: unpriced([]string{"no_exchange_rate"}, nil)}
	case e == nil && used == "":
		return &answer{bill: unpriced([]string{"unknown_model"}, match.notes)}
	case e != nil && e.tariff.unpriced && used == "":
		note := e.provider + "/" + e.tariff.id + " is listed without a price"
		return &answer{bill: unpriced([]string{"no_price"}, []string{note})}
	}
	id := userFile + "/" + used
	if e != nil {
		id = b.content.version + "/" + e.provider + "/" + e.tariff.id
		if used != "" {
			id += "+" + used
		}
	}
	return &answer{plan: newPlan(t, units, id+"#"+t.label, b.overrides.currency)}
}

// found is a model's entry, or the user's own price without one.
type found struct {
	entry    *entry
	provider string
	names    []string
	reasons  []string
	notes    []string
}

// find returns the model that answered, else the one that was asked for, or nil; the user's aliases come first. Both
// what was found and what was not are remembered.
func (b *Book) find(asked sought) (*found, error) {
	hash := asked.hash()
	if known := b.matches.get(hash, func(key *sought) bool { return *key == asked }); known != nil {
		return *known, nil
	}
	match, err := b.search(&asked)
	if err == nil && asked.length() <= maxKey {
		b.matches.put(hash, asked.clone(), match)
	}
	return match, err
}

func (b *Book) search(asked *sought) (*found, error) {
	named := usage.CanonicalProvider(asked.provider)
	candidates := slices.DeleteFunc([]string{asked.model, asked.requestModel}, func(name string) bool { return name == "" })
	for _, name := range candidates {
		alias := b.overrides.alias(name, asked.day)
		if alias == nil {
			continue
		}
		seller, host := or(alias.provider, asked.provider), asked.host
		if alias.provider != "" {
			host = ""
		}
		e, err := b.content.catalogue.find(seller, alias.model, host, asked.day)
		if err != nil {
			return nil, err
		}
		match := &found{
			entry: e, provider: or(usage.CanonicalProvider(seller), named),
			names: slices.Concat(namesOf(alias.model), namesOf(name)), notes: []string{"alias " + name + " -> " + alias.model},
		}
		if e != nil {
			match.provider = e.provider
		}
		return match, nil
	}
	for position, name := range candidates {
		e, err := b.content.catalogue.find(asked.provider, name, asked.host, asked.day)
		if err != nil {
			return nil, err
		}
		match := &found{entry: e, provider: named, names: namesOf(name)}
		if e != nil {
			match.provider = e.provider
		}
		if e == nil && !b.overrides.priced(match.provider, match.names) {
			continue
		}
		if position > 0 {
			match.reasons = []string{"model_as_requested:" + name}
		}
		if e != nil && !slices.Contains(match.names, e.tariff.id) {
			match.names = append(match.names, e.tariff.id)
		}
		return match, nil
	}
	return nil, nil
}
