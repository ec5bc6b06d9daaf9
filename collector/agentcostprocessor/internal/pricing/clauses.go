package pricing

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// test tells whether a lower-cased name is meant.
type test func(name string) bool

// clause is what names a price is meant for, as it stands in the book: {equals|starts|ends|contains|regex: text},
// {or|and: [clause]}, {not: clause}.
type clause map[string]json.RawMessage

// compile turns a clause into a test. Regular expressions search anywhere unless anchored.
func (c clause) compile() (test, error) {
	if len(c) != 1 {
		return nil, fmt.Errorf("a clause has one key, not %d", len(c))
	}
	for kind, value := range c {
		switch kind {
		case "equals", "starts", "ends", "contains", "regex":
			var text string
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, fmt.Errorf("%s: %w", kind, err)
			}
			return textTest(kind, text)
		case "not":
			var inner clause
			if err := json.Unmarshal(value, &inner); err != nil {
				return nil, fmt.Errorf("not: %w", err)
			}
			tested, err := inner.compile()
			if err != nil {
				return nil, err
			}
			return func(name string) bool { return !tested(name) }, nil
		case "or", "and":
			var parts []clause
			if err := json.Unmarshal(value, &parts); err != nil {
				return nil, fmt.Errorf("%s: %w", kind, err)
			}
			tests, err := compileAll(parts)
			if err != nil {
				return nil, err
			}
			if kind == "or" {
				return func(name string) bool { return anyOf(tests, name) }, nil
			}
			return func(name string) bool {
				return !slices.ContainsFunc(tests, func(t test) bool { return !t(name) })
			}, nil
		default:
			return nil, fmt.Errorf("unknown clause %q", kind)
		}
	}
	panic("not reached: the clause has one key")
}

func textTest(kind, text string) (test, error) {
	switch kind {
	case "equals":
		return func(name string) bool { return name == text }, nil
	case "starts":
		return func(name string) bool { return strings.HasPrefix(name, text) }, nil
	case "ends":
		return func(name string) bool { return strings.HasSuffix(name, text) }, nil
	case "contains":
		return func(name string) bool { return strings.Contains(name, text) }, nil
	}
	pattern, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("regex: %w", err)
	}
	return pattern.MatchString, nil
}

func compileAll(parts []clause) ([]test, error) {
	tests := make([]test, len(parts))
	for i, part := range parts {
		var err error
		if tests[i], err = part.compile(); err != nil {
			return nil, err
		}
	}
	return tests, nil
}

func anyOf(tests []test, name string) bool {
	return slices.ContainsFunc(tests, func(t test) bool { return t(name) })
}

// namedExactly splits the alternatives of a clause into whole names, which a map finds, and the rest.
func namedExactly(c clause) (names []string, rest []clause, err error) {
	parts := []clause{c}
	if alternatives, ok := c["or"]; ok {
		parts = nil
		if err := json.Unmarshal(alternatives, &parts); err != nil {
			return nil, nil, fmt.Errorf("or: %w", err)
		}
	}
	for _, part := range parts {
		whole, ok := part["equals"]
		if !ok {
			rest = append(rest, part)
			continue
		}
		var name string
		if err := json.Unmarshal(whole, &name); err != nil {
			return nil, nil, fmt.Errorf("equals: %w", err)
		}
		names = append(names, name)
	}
	return names, rest, nil
}

// texts is a text or a list of texts.
type texts []string

// UnmarshalJSON reads both forms.
func (t *texts) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

// when is what a context must have: each key one of the values, `*` being any value at all. A key that the context
// does not have never holds.
type when map[string]texts

func (w when) holds(context map[string]string) bool {
	for key, wanted := range w {
		value := context[key]
		if value == "" {
			return false
		}
		if !slices.Contains(wanted, value) && !(len(wanted) == 1 && wanted[0] == "*") {
			return false
		}
	}
	return true
}

// text writes the conditions for a note, sorted by key.
func (w when) text() string {
	written := make([]string, 0, len(w))
	for key, wanted := range w {
		written = append(written, key+"="+strings.Join(wanted, "|"))
	}
	slices.Sort(written)
	return strings.Join(written, "+")
}

// scope is which models a provider's rule is meant for: any of models (or all), none of except.
type scope struct {
	Models []clause `json:"models"`
	Except []clause `json:"except"`

	hasModels      bool
	models, except []test
}

func (s *scope) compile() error {
	var err error
	s.hasModels = s.Models != nil
	if s.models, err = compileAll(s.Models); err != nil {
		return err
	}
	s.except, err = compileAll(s.Except)
	return err
}

func (s *scope) appliesTo(model string) bool {
	if s.hasModels && !anyOf(s.models, model) {
		return false
	}
	return !anyOf(s.except, model)
}
