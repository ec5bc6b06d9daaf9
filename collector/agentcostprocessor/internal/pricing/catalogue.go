package pricing

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"sync"

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

// multiplier is an exact factor on rates under some conditions.
type multiplier struct {
	scope
	When   when     `json:"when"`
	Factor string   `json:"factor"`
	Units  []string `json:"units"`

	factor *big.Rat
	units  usage.UnitSet
}

// measure says what is not billed as it is counted: a minimum length (AtLeast), one fee per grounded prompt (Once), a
// fixed block of tokens per search (Block), a fee every request has (EachCall).
type measure struct {
	scope
	AtLeast  map[string]int64 `json:"at_least"`
	Once     string           `json:"once"`
	Prompts  string           `json:"prompts"`
	Block    string           `json:"block"`
	Per      string           `json:"per"`
	Quantity int64            `json:"quantity"`
	EachCall string           `json:"each_call"`
	Unless   when             `json:"unless"`
}

// cover names units the base rate covers officially, so that their having no rate is no gap.
type cover struct {
	scope
	Units []string `json:"units"`

	units usage.UnitSet
}

// sellerRules is what a provider of the book says beside its models.
type sellerRules struct {
	Free  bool `json:"free"`
	Tiers struct {
		Standard []string `json:"standard"`
	} `json:"tiers"`
	Regions struct {
		Key  string   `json:"key"`
		Base []string `json:"base"`
	} `json:"regions"`
	Multipliers []multiplier `json:"multipliers"`
	Measures    []measure    `json:"measures"`
	Covers      []cover      `json:"covers"`
}

// noRules are the rules of a seller the book does not have.
var noRules = &sellerRules{}

// rawProvider is one provider of the book as it stands in the file.
type rawProvider struct {
	sellerRules
	ID       string   `json:"id"`
	Fallback []string `json:"fallback"`
	Guess    clause   `json:"guess"`
	Aliases  []struct {
		rawDates
		Name  string `json:"name"`
		Model string `json:"model"`
	} `json:"aliases"`
	NameContext map[string]map[string]string `json:"name_context"`
	Models      []rawModel                   `json:"models"`
}

func unitSetOf(keys []string) (usage.UnitSet, error) {
	var set usage.UnitSet
	for _, key := range keys {
		unit, known := usage.UnitOf(key)
		if !known {
			return 0, fmt.Errorf("unknown unit %q", key)
		}
		set |= usage.SetOf(unit)
	}
	return set, nil
}

func (r *sellerRules) compile() error {
	for i := range r.Multipliers {
		rule := &r.Multipliers[i]
		var err error
		if rule.units, err = unitSetOf(rule.Units); err != nil {
			return fmt.Errorf("multipliers: %w", err)
		}
		if err = rule.scope.compile(); err != nil {
			return fmt.Errorf("multipliers: %w", err)
		}
		if !plainDecimal(rule.Factor) {
			return fmt.Errorf("multipliers: %q is no factor", rule.Factor)
		}
		rule.factor = decimalRat(rule.Factor)
	}
	for i := range r.Measures {
		rule := &r.Measures[i]
		if err := rule.scope.compile(); err != nil {
			return fmt.Errorf("measures: %w", err)
		}
		keys := []string{rule.Once, rule.Prompts, rule.Block, rule.Per, rule.EachCall}
		for key := range rule.AtLeast {
			keys = append(keys, key)
		}
		if _, err := unitSetOf(slices.DeleteFunc(keys, func(key string) bool { return key == "" })); err != nil {
			return fmt.Errorf("measures: %w", err)
		}
	}
	for i := range r.Covers {
		rule := &r.Covers[i]
		var err error
		if rule.units, err = unitSetOf(rule.Units); err != nil {
			return fmt.Errorf("covers: %w", err)
		}
		if err = rule.scope.compile(); err != nil {
			return fmt.Errorf("covers: %w", err)
		}
	}
	return nil
}

// alias is a moving name and what it stands for on some days.
type datedAlias struct {
	constraint constraint
	model      string
}

// numbered is a clause of a model, in the book's order.
type numbered struct {
	test   test
	number int
}

// seller is one provider of the book; its models are indexed on first use.
type seller struct {
	id          string
	rules       *sellerRules
	fallback    []string
	guess       test
	prefixes    []string // of nameContext, sorted
	nameContext map[string]map[string]string
	aliases     map[string][]datedAlias
	models      []rawModel

	index   sync.Once
	failed  error
	exact   map[string]int
	clauses []numbered

	mu       sync.Mutex // tariffs
	compiled map[int]*modelTariff
}

func newSeller(raw *rawProvider) (*seller, error) {
	s := &seller{
		id: raw.ID, rules: &raw.sellerRules, fallback: raw.Fallback, nameContext: raw.NameContext, models: raw.Models,
		aliases: make(map[string][]datedAlias, len(raw.Aliases)), compiled: make(map[int]*modelTariff),
	}
	if err := s.rules.compile(); err != nil {
		return nil, fmt.Errorf("provider %s: %w", raw.ID, err)
	}
	for prefix := range raw.NameContext {
		s.prefixes = append(s.prefixes, prefix)
	}
	slices.Sort(s.prefixes)
	for _, moving := range raw.Aliases {
		days, err := moving.rawDates.compile()
		if err != nil {
			return nil, fmt.Errorf("provider %s: alias %s: %w", raw.ID, moving.Name, err)
		}
		s.aliases[moving.Name] = append(s.aliases[moving.Name], datedAlias{days, moving.Model})
	}
	if raw.Guess != nil {
		var err error
		if s.guess, err = raw.Guess.compile(); err != nil {
			return nil, fmt.Errorf("provider %s: guess: %w", raw.ID, err)
		}
	}
	return s, nil
}

func (s *seller) indexModels() {
	s.exact = make(map[string]int, len(s.models))
	for number := range s.models {
		names, rest, err := s.models[number].names()
		if err != nil {
			s.failed = fmt.Errorf("%s/%s: match: %w", s.id, s.models[number].ID, err)
			return
		}
		for _, part := range rest {
			matches, err := part.compile()
			if err != nil {
				s.failed = fmt.Errorf("%s/%s: match: %w", s.id, s.models[number].ID, err)
				return
			}
			s.clauses = append(s.clauses, numbered{matches, number})
		}
		for _, name := range names {
			name = lower(name)
			if _, taken := s.exact[name]; !taken {
				s.exact[name] = number
			}
		}
	}
}

// names returns the whole names of a model and the clauses beside them; without any the id is its name.
func (r *rawModel) names() (names []string, rest []clause, err error) {
	if r.Match == nil {
		return []string{r.ID}, nil, nil
	}
	if json.Unmarshal(r.Match, &names) == nil {
		return names, nil, nil
	}
	var c clause
	if err := json.Unmarshal(r.Match, &c); err != nil {
		return nil, nil, err
	}
	return namedExactly(c)
}

func (s *seller) tariff(number int) (*modelTariff, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.compiled[number]; known != nil {
		return known, nil
	}
	made, err := s.models[number].compile()
	if err == nil {
		s.compiled[number] = made
	}
	return made, err
}

// find returns the model of a lower-cased name, nil when the seller has none.
func (s *seller) find(name string, day int64) (*modelTariff, error) {
	s.index.Do(s.indexModels)
	if s.failed != nil {
		return nil, s.failed
	}
	for _, moving := range s.aliases[name] {
		if moving.constraint.onDay(day) {
			name = moving.model
		}
	}
	number, ok := s.exact[name]
	if !ok {
		position := slices.IndexFunc(s.clauses, func(c numbered) bool { return c.test(name) })
		if position < 0 {
			return nil, nil
		}
		number = s.clauses[position].number
	}
	return s.tariff(number)
}

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
	if strings.HasSuffix(model, ":free") {
		if named == "" {
			named = "unknown"
		}
		gift := &modelTariff{id: model, free: true, mode: wholeRequest}
		return &entry{provider: named, tariff: gift, rules: noRules, notes: []string{":free"}}, nil
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
