package usage

import (
	"regexp"
	"strings"
)

// maxSteps bounds how many layers of addressing a name has; one with more is hostile.
const maxSteps = 8

type rewrite struct {
	pattern *regexp.Regexp
	to      string
}

// apply replaces what the pattern finds; a name it would eat up stays.
func (r *rewrite) apply(name string) string {
	if shorter := r.pattern.ReplaceAllString(name, r.to); shorter != "" {
		return shorter
	}
	return name
}

func compileRewrites(rules [][2]string) []rewrite {
	compiled := make([]rewrite, len(rules))
	for i, rule := range rules {
		compiled[i] = rewrite{regexp.MustCompile(rule[0]), rule[1]}
	}
	return compiled
}

var (
	bareRules   = compileRewrites(providerTable.ModelNames.Bare)
	familyRules = compileRewrites(providerTable.ModelNames.Family)
	modelNames  = newShared(2048, workOutModel)
)

// ModelName is what a model's name says without its address and version.
type ModelName struct {
	// Bare is the name without its address, lower-case. Versions, tags (`:free`) and region profiles (`us.anthropic.`)
	// have a price of their own and stay.
	Bare string
	// Family is Bare without region profile, vendor, date, version and `latest`, to compare two requests. Never used to
	// find a price.
	Family string
	// Routed is the provider the prefixes of the name tell: the innermost one that has a name, or "".
	Routed string
}

// NameOf takes a model's name apart; remembered.
func NameOf(model string) ModelName {
	if len(model) > longestKey {
		model = cut(model, maxText)
	}
	return modelNames.get(model)
}

// BareModel returns a model name without its address: `models/`, `publishers/*/models/`, known router prefixes
// (`openrouter/anthropic/`), ARNs up to the model id.
func BareModel(model string) string { return NameOf(model).Bare }

// ModelFamily returns the name two requests are compared by: `gpt-4o-2024-08-06` and `gpt-4o` are one family.
func ModelFamily(model string) string { return NameOf(model).Family }

// RoutedProvider returns the provider a model name tells: `openai/gpt-4o` is `openai`, `meta-llama/llama-3` is "".
func RoutedProvider(model string) string { return NameOf(model).Routed }

func workOutModel(model string) ModelName {
	routed, bare := peel(model)
	family := bare
	for i := range familyRules {
		family = familyRules[i].apply(family)
	}
	return ModelName{Bare: strings.Clone(bare), Family: strings.Clone(family), Routed: routed}
}

func peel(model string) (provider, name string) {
	name = lower(bounded(cut(model, maxText)))
	for range maxSteps {
		before := name
		for i := range bareRules {
			name = bareRules[i].apply(name)
		}
		if prefix, rest, slash := strings.Cut(name, "/"); slash && rest != "" {
			if told, known := providerTable.ModelNames.Prefixes[prefix]; known {
				if told != "" {
					provider = told
				}
				name = rest
			}
		}
		if name == before {
			break
		}
	}
	return provider, name
}
