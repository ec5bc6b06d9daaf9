package pricing

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Find a model: from the many ways people write provider and model to one entry of the book, or none.
//
// Order: the provider of a known host, the one that is named, the makers each resells, the prefix of the name
// (`openai/` under a router), a guess from the name alone. At each: whole names first (a dated snapshot before its
// family), then clauses in the book's order, then the name without address, then another way to write the date. Last
// the family of an unknown snapshot.

var (
	compactDate = regexp.MustCompile(`-(20[0-9]{2})([0-9]{2})([0-9]{2})$`)
	routerTag   = regexp.MustCompile(`:(?:nitro|floor|online|exacto|extended|thinking|beta)$`)
)

const (
	maxName = 512
	local   = "local"
)

// catalogue is the models of a book by the names people use. Not cached here: the book keeps a bounded cache.
type catalogue struct {
	sellers map[string]*seller
	guesses []*seller // in the book's order
}

func newCatalogue(providers []rawProvider) (*catalogue, error) {
	c := &catalogue{sellers: make(map[string]*seller, len(providers))}
	for i := range providers {
		made, err := newSeller(&providers[i])
		if err != nil {
			return nil, err
		}
		c.sellers[made.id] = made
		if made.guess != nil {
			c.guesses = append(c.guesses, made)
		}
	}
	return c, nil
}

// check compiles everything that is otherwise read on first use.
func (c *catalogue) check() error {
	for _, s := range c.sellers {
		s.index.Do(s.indexModels)
		if s.failed != nil {
			return s.failed
		}
		for number := range s.models {
			if _, err := s.tariff(number); err != nil {
				return fmt.Errorf("%s/%w", s.id, err)
			}
		}
	}
	return nil
}

func (c *catalogue) rules(provider string) *sellerRules {
	if s := c.sellers[provider]; s != nil {
		return s.rules
	}
	return noRules
}

// way is one place to look: whose models, sold by whom, and whether that was only guessed from the model's name.
type way struct {
	maker, seller *seller
	guessed       bool
}

// reasons: a provider guessed against a stated one makes the figure an estimate; gateways and frameworks state none.
func (w way) reasons(named string) []string {
	if !w.guessed || named == "" {
		return nil
	}
	switch usage.KindOfProvider(named) {
	case usage.Gateway, usage.Framework:
		return nil
	}
	return []string{"provider_guessed:" + w.maker.id}
}

// find returns the entry of a model as sold by a provider, or nil when nobody knows it.
func (c *catalogue) find(provider, model, host string, day int64) (*entry, error) {
	named := usage.CanonicalProvider(provider)
	atHost := ""
	if host != "" {
		if facts, ok := usage.Host(host); ok {
			atHost = facts.Provider
		}
	}
	if named == local || atHost == local {
		return c.local(model), nil
	}
	model = lower(trim(cut(model, maxName)))
	names := spellings(model)
	ways := c.ways(named, atHost, model)
	for _, w := range ways {
		found, err := c.at(w, names, day, named)
		if found != nil || err != nil {
			return found, err
		}
	}
	if strings.HasSuffix(model, ":free") {
		if named == "" {
			named = "unknown"
		}
		gift := &modelTariff{id: model, free: true, mode: wholeRequest}
		return &entry{provider: named, tariff: gift, rules: noRules, notes: []string{":free"}}, nil
	}
	family := usage.ModelFamily(model)
	for _, w := range ways {
		found, err := w.maker.find(family, day)
		if err != nil {
			return nil, err
		}
		if found != nil {
			return c.entry(w, found, nil, append([]string{"family_of:" + found.id}, w.reasons(named)...)), nil
		}
	}
	return nil, nil
}

func (c *catalogue) local(model string) *entry {
	rules := c.rules(local)
	if rules == noRules {
		rules = &sellerRules{Free: true}
	}
	own := &modelTariff{id: usage.BareModel(model), free: true, mode: wholeRequest}
	return &entry{provider: local, tariff: own, rules: rules}
}

func (c *catalogue) at(w way, names []string, day int64, named string) (*entry, error) {
	var context map[string]string
	for _, prefix := range w.seller.prefixes {
		if rest, ok := strings.CutPrefix(names[0], prefix); ok {
			context = w.seller.nameContext[prefix]
			names = append([]string{rest}, names...)
		}
	}
	for _, name := range names {
		found, err := w.maker.find(name, day)
		if err != nil {
			return nil, err
		}
		if found != nil {
			return c.entry(w, found, context, w.reasons(named)), nil
		}
	}
	return nil, nil
}

func (c *catalogue) entry(w way, found *modelTariff, context map[string]string, reasons []string) *entry {
	made := &entry{provider: w.seller.id, tariff: found, rules: w.maker.rules, context: context, reasons: reasons}
	if w.maker == w.seller {
		return made
	}
	// A reseller's regions are its own; what the maker measures and covers stays true.
	rules := *w.maker.rules
	rules.Tiers, rules.Regions, rules.Multipliers = w.seller.rules.Tiers, w.seller.rules.Regions, w.seller.rules.Multipliers
	made.rules = &rules
	made.resold = w.maker.id
	made.notes = []string{"list price of " + w.maker.id + ", sold by " + w.seller.id}
	return made
}

// ways returns who may sell the model, best first: a known host bills, whatever name a library writes.
func (c *catalogue) ways(named, atHost, model string) []way {
	var found []way
	tried := make(map[string]bool)
	try := func(maker, sold string, guessed bool) {
		if s := c.sellers[maker]; s != nil && !tried[maker] {
			tried[maker] = true
			found = append(found, way{s, c.sellers[sold], guessed})
		}
	}
	for _, provider := range []string{atHost, named} {
		if c.sellers[provider] == nil || tried[provider] {
			continue
		}
		try(provider, provider, false)
		for _, maker := range c.sellers[provider].fallback {
			try(maker, provider, false)
		}
	}
	routed := usage.RoutedProvider(model)
	try(routed, routed, false)
	for _, name := range []string{model, usage.BareModel(model)} {
		for _, s := range c.guesses {
			if !tried[s.id] && s.guess(name) {
				try(s.id, s.id, true)
			}
		}
	}
	return found
}

// spellings returns the ways a lower-cased model name may stand in the book, most literal first, each once.
func spellings(model string) []string {
	names := []string{model}
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for rest := model; ; {
		_, after, slash := strings.Cut(rest, "/")
		if !slash {
			break
		}
		if after != "" {
			add(after)
		}
		rest = after
	}
	add(usage.BareModel(model))
	for _, name := range slices.Clone(names) {
		add(routerTag.ReplaceAllString(name, ""))
	}
	for _, name := range slices.Clone(names) {
		add(compactDate.ReplaceAllString(name, "-$1-$2-$3"))
	}
	return names
}
