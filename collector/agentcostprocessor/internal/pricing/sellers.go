package pricing

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"sync"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Who sells: the providers of a book, their rules and their models by name.

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
