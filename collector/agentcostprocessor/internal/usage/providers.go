package usage

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/data"
)

// ProviderKind is what a provider is: vendor, cloud, gateway, framework, local, or "" when nobody knows it.
type ProviderKind string

// The kinds of providers. A framework is not a biller; a gateway may pass a call on to somebody else.
const (
	Vendor    ProviderKind = "vendor"
	Cloud     ProviderKind = "cloud"
	Gateway   ProviderKind = "gateway"
	Framework ProviderKind = "framework"
	Local     ProviderKind = "local"
)

type hostRule struct {
	Provider string
	Under    *string
	Region   string
	Path     string
	under    *regexp.Regexp
	region   int // number of the group that is the region, 0 when there is none
}

var providerTable = func() (table struct {
	Providers  map[string]ProviderKind
	Aliases    map[string]string
	Hosts      map[string][]hostRule
	LocalPorts map[string]string `json:"local_ports"`
	ModelNames struct {
		Bare     [][2]string
		Family   [][2]string
		Prefixes map[string]string
	} `json:"model_names"`
}) {
	if err := json.Unmarshal(data.Providers, &table); err != nil {
		panic(fmt.Errorf("embedded providers.json: %w", err))
	}
	for _, rules := range table.Hosts {
		for i := range rules {
			if rule := &rules[i]; rule.Under != nil {
				rule.under = regexp.MustCompile(`\A(?:` + *rule.Under + `)\z`)
				rule.region = max(rule.under.SubexpIndex("region"), 0)
			}
		}
	}
	return table
}()

var (
	thisMachine = map[string]bool{
		"localhost": true, "127.0.0.1": true, "::1": true, "0.0.0.0": true, "host.docker.internal": true,
	}
	separators = strings.NewReplacer("_", "-", " ", "-", "/", "-")
	canonical  = newShared(512, workOutProvider)
	hosts      = newShared(2048, factsOfHost)
)

// CanonicalProvider returns the canonical id of a provider; an unknown name comes back lower-cased, a blank one as "".
//
// `gcp.vertex_ai` is `google`, `openai.chat` is `openai`. Ids are those of genai-prices where it has the provider.
func CanonicalProvider(name string) string {
	if name == "" {
		return ""
	}
	return canonical.get(name)
}

func workOutProvider(name string) string {
	plain := lower(trim(name))
	for key := separators.Replace(plain); key != ""; key = key[:max(strings.LastIndexByte(key, '.'), 0)] {
		if known, ok := providerTable.Aliases[key]; ok {
			return known
		}
	}
	return strings.Clone(plain)
}

// biller is what a reader has to know about who bills.
type biller struct {
	id   string
	kind ProviderKind
	// exclusive: when this vendor counts, cached tokens are left out of the input.
	exclusive bool
}

func billerOf(name string) biller {
	id := CanonicalProvider(name)
	return biller{id: id, kind: KindOfProvider(id), exclusive: tables.exclusiveVendors[id]}
}

// KindOfProvider returns what a canonical id is; "" when nobody knows it.
func KindOfProvider(provider string) ProviderKind { return providerTable.Providers[provider] }

// HostFacts is what an API host tells about the calls it answers; the zero value for a host nobody knows.
type HostFacts struct {
	// Provider is the canonical id.
	Provider string
	// Region is the price region the host stands for (`eu`, `us-east-1`, `global`), "" when the host does not say.
	Region string
	// Kind is what the provider is.
	Kind ProviderKind
}

// Host returns what the host of an API tells, whatever the path; remembered. False for a host nobody knows.
func Host(host string) (HostFacts, bool) {
	facts := hosts.get(host)
	return facts, facts.Provider != ""
}

func factsOfHost(host string) HostFacts { return FactsOf(host, "") }

// FactsOf returns what host and path of an API tell; the path decides for the few hosts that answer for several
// providers.
//
// The host may carry a port. It matches a known host exactly or below a dot, never in the middle of a name:
// `api.anthropic.com.evil.com` and `notapi.anthropic.com` are unknown.
func FactsOf(host, path string) HostFacts {
	name, port := splitPort(host)
	if thisMachine[name] {
		provider := providerTable.LocalPorts[port]
		return HostFacts{Provider: provider, Kind: KindOfProvider(provider)}
	}
	for start := 0; ; {
		dot := strings.IndexByte(name[start:], '.')
		if dot < 0 { // a top-level name alone is no host
			return HostFacts{}
		}
		for _, rule := range providerTable.Hosts[name[start:]] {
			if facts, ok := rule.match(strings.TrimSuffix(name[:start], "."), path); ok {
				return facts
			}
		}
		start += dot + 1
	}
}

func (r *hostRule) match(before, path string) (HostFacts, bool) {
	if !strings.HasPrefix(path, r.Path) {
		return HostFacts{}, false
	}
	region := r.Region
	if r.under == nil {
		if before != "" {
			return HostFacts{}, false
		}
	} else {
		found := r.under.FindStringSubmatch(before)
		if found == nil {
			return HostFacts{}, false
		}
		if r.region > 0 && found[r.region] != "" {
			region = strings.Clone(found[r.region])
		}
	}
	return HostFacts{Provider: r.Provider, Region: region, Kind: KindOfProvider(r.Provider)}, true
}

// splitPort splits `host:port`, also in the `[::1]:8080` form; the host is lower-case and has no final dot.
func splitPort(host string) (name, port string) {
	host = lower(trim(host))
	if inside, ok := strings.CutPrefix(host, "["); ok {
		name, rest, _ := strings.Cut(inside, "]")
		return name, strings.TrimLeft(rest, ":")
	}
	name = host
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 && allDigits(host[colon+1:]) {
		name, port = host[:colon], host[colon+1:]
	}
	return strings.TrimRight(name, "."), port
}

func allDigits(text string) bool {
	for i := range len(text) {
		if !isDigit(text[i]) {
			return false
		}
	}
	return text != ""
}
