package pricing

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/data"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// maker makes random readings out of what is in the book, and of what is not.
type maker struct {
	*rand.Rand
	providers []string            // ids, aliases, inventions
	models    map[string][]string // by provider
	sellers   []string
	hosts     []string
}

func newMaker(t testing.TB, seed uint64) *maker {
	t.Helper()
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 1)), models: make(map[string][]string)}
	var book struct{ Providers []rawProvider }
	if err := json.Unmarshal(data.Prices, &book); err != nil {
		t.Fatal(err)
	}
	for i := range book.Providers {
		p := &book.Providers[i]
		m.sellers = append(m.sellers, p.ID)
		for j := range p.Models {
			names, rest, err := p.Models[j].names()
			if err != nil {
				t.Fatal(err)
			}
			m.models[p.ID] = append(append(m.models[p.ID], p.Models[j].ID), names...)
			for _, part := range rest {
				for kind, raw := range part {
					var text string
					if json.Unmarshal(raw, &text) == nil && kind != "regex" {
						m.models[p.ID] = append(m.models[p.ID], text)
					}
				}
			}
		}
		for _, moving := range p.Aliases {
			m.models[p.ID] = append(m.models[p.ID], moving.Name)
		}
	}
	m.models["local"] = []string{"llama3.1:8b", "qwen3"}
	var table struct {
		Aliases   map[string]string
		Hosts     map[string]json.RawMessage
		Providers map[string]string
	}
	if err := json.Unmarshal(data.Providers, &table); err != nil {
		t.Fatal(err)
	}
	m.providers = append(slices.Sorted(maps.Keys(table.Aliases)), slices.Sorted(maps.Keys(table.Providers))...)
	m.providers = append(m.providers, "acme-cloud", "", "GCP.Vertex_AI")
	m.hosts = append(slices.Sorted(maps.Keys(table.Hosts)), "localhost:11434", "eu.api.openai.com", "nobody.example:443",
		"api.anthropic.com.evil.com", "bedrock-runtime.eu-central-1.amazonaws.com", "europe-west4-aiplatform.googleapis.com")
	return m
}

func pick[T any](m *maker, from ...T) T { return from[m.IntN(len(from))] }

func (m *maker) often(percent int) bool { return m.IntN(100) < percent }

func (m *maker) call() (provider, model string) {
	seller := pick(m, m.sellers...)
	if m.often(50) {
		seller = pick(m, "openai", "anthropic", "google", "azure", "aws", "deepseek", "mistral", "groq", "perplexity", "x-ai")
	}
	provider, model = seller, pick(m, m.models[seller]...)
	if m.often(30) {
		provider = pick(m, m.providers...)
	}
	switch m.IntN(16) {
	case 0:
		model += pick(m, "-2027-01-01", "-20251211", "-latest", ":free", ":nitro", "-v1:0", "@20250929", "-preview-05-06", "-x")
	case 1:
		model = pick(m, "models/", "publishers/google/models/", "openai/", "openrouter/anthropic/", "eu/", "us/", "global/",
			"us.", "global.", "vertex_ai/", "azure/", "accounts/fireworks/models/", "ft:", "//", "~", "groq/openai/",
			"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.") + model
	case 2:
		model = " " + strings.ToUpper(model) + "\t"
	case 3:
		model = pick(m, "nobody-knows", "gpt-4o-mini-experimental", "claude-9-opus", "gemini-7", "\u0130stanbul-1", "a/b/c/d", "", "/", "GPT\u212a")
	case 4:
		model = model[:m.IntN(len(model)+1)]
		model = strings.ToValidUTF8(model, "")
	}
	return provider, model
}

// quantity is a count, mostly ordinary, sometimes huge, measured, or impossible.
func (m *maker) quantity(unit usage.Unit) usage.Quantity {
	measured := !strings.HasSuffix(unit.String(), "_tokens")
	switch m.IntN(40) {
	case 0:
		return usage.Count(pick(m, int64(0), 1, 199_999, 200_000, 200_001, 272_000, 272_001, 128_000, 128_001, 32_000, 100_001))
	case 1:
		return usage.Count(m.Int64N(usage.MaxQuantity) + 1)
	case 2:
		return usage.Count(-m.Int64N(5))
	case 3:
		return usage.Count(usage.MaxQuantity + m.Int64N(3))
	case 4, 5, 6:
		if measured {
			return usage.Nanos(m.Int64N(10_000), m.Int64N(1_000_000_000))
		}
	case 7:
		return usage.Count(0)
	}
	if unit.Component() == usage.LLM && !measured {
		return usage.Count(m.Int64N(400_000))
	}
	return usage.Count(m.Int64N(30))
}

// usage makes quantities that mostly agree with each other: parts are drawn from what is left of the whole.
func (m *maker) usage() usage.Usage {
	var all usage.Quantities
	units := []usage.Unit{usage.InputTokens, usage.OutputTokens}
	for range max(0, m.IntN(8)-4) {
		units = append(units, usage.Unit(m.IntN(usage.UnitCount)))
	}
	if m.often(40) {
		units = append(units, pick(m, usage.CacheReadTokens, usage.CacheWriteTokens, usage.CacheWrite5mTokens,
			usage.CacheWrite1hTokens, usage.OutputReasoningTokens, usage.InputAudioTokens, usage.WebSearches,
			usage.GroundedPrompts, usage.Requests, usage.AudioSeconds, usage.InputAudioSeconds, usage.OutputImages,
			usage.CacheAudioReadTokens, usage.InputImageTokens, usage.InputTextTokens))
	}
	if m.often(8) {
		units = units[2:]
	}
	if m.often(3) {
		for range 14 {
			units = append(units, usage.Unit(m.IntN(usage.UnitCount)))
		}
	}
	slices.SortFunc(units, func(a, b usage.Unit) int { return int(b) - int(a) }) // wholes before parts
	left := make(map[usage.Unit]usage.Quantity)
	for _, unit := range units {
		quantity := m.quantity(unit)
		if !m.often(2) {
			for _, above := range unit.Ancestors() {
				if all.Has(above) && left[above].Sign() >= 0 {
					room := left[above].Whole()
					if room > 0 {
						room = m.Int64N(room + 1)
					}
					quantity = usage.Min(quantity, usage.Count(room))
				}
			}
		}
		if all.Has(unit) {
			continue
		}
		for _, above := range unit.Ancestors() {
			left[above] = left[above].Sub(quantity)
		}
		left[unit] = quantity
		all.Put(unit, quantity)
	}
	return all.Usage()
}

func (m *maker) context() usage.Context {
	var c usage.Context
	values := map[string][]string{
		"service_tier":         {"flex", "priority", "default", "standard", "auto", "batch", "turbo", "scale", "FLEX", "on_demand", "fast"},
		"request_service_tier": {"flex", "auto", "priority", "default", "turbo"},
		"processing":           {"batch", "sync", "standard", "realtime", "odd"},
		"speed":                {"fast", "standard", "slow"},
		"region":               {"us", "eu", "global", "us-east-1", "moon"},
		"inference_geo":        {"us", "global", "not_available", "eu"},
		"data_zone":            {"us", "eu", "global"},
		"search_context_size":  {"low", "medium", "high"},
		"search_type":          {"fast", "pro"},
		"tool_version":         {"web_search_preview", "web_search"},
		"size":                 {"1024x1024", "1024x1792", "1536x1024"},
		"quality":              {"standard", "hd", "high", "low", "medium"},
		"resolution":           {"720p", "1080p", "4k"},
		"route":                {"cheapest"},
		"irrelevant":           {"x", "y"},
		"team":                 {"red", "blue"},
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if m.often(8) {
			c = c.With(key, pick(m, append(values[key], "")...))
		}
	}
	if m.often(30) {
		c = c.With("host", pick(m, m.hosts...))
	}
	return c
}

func (m *maker) reading() (reading *usage.Reading, cost string) {
	r := &usage.Reading{Kind: usage.KindCall, HasUsage: true, Usage: m.usage(), Context: m.context(), ReportedCurrency: "USD"}
	r.Provider, r.Model = m.call()
	if m.often(15) {
		_, r.RequestModel = m.call()
	}
	if m.often(5) {
		r.Model = ""
	}
	if m.often(5) {
		r.Kind = usage.KindAggregate
	}
	r.Estimated = m.often(5)
	switch m.IntN(30) {
	case 0:
		r.HasUsage, r.Usage = false, usage.Usage{}
	case 1:
		r.Status, r.Reason = usage.StatusInvalid, "negative:input_tokens=-5"
	case 2:
		r.Status, r.Reason = usage.StatusError, pick(m, "http_500", "")
	case 3:
		r.Status, r.Reason = usage.StatusNoUsage, "stream_without_usage"
	case 4, 5:
		for range m.IntN(3) + 1 {
			_, model := m.call()
			r.Parts = append(r.Parts, usage.Part{Model: pick(m, model, r.Model, ""), Usage: m.usage()})
		}
	case 6, 7:
		m.tool(r)
	case 8, 9:
		m.api(r)
	case 10, 11:
		m.machine(r)
	}
	if m.often(6) {
		cost = pick(m, "0", "0.01712", "0.0000000000005", "0.0000000000015", "12345678.123456789012", "3e-7", "1e19", "-0.25")
		r.ReportedCost, _ = usage.ParseDecimal(cost)
		r.ReportedBy = pick(m, usage.ByProvider, usage.ByUser, usage.ByEmitter)
		r.ReportedCurrency = pick(m, "USD", "USD", "EUR", "XTS")
	}
	return r, cost
}

func (m *maker) tool(r *usage.Reading) {
	r.Kind, r.Tool = usage.KindTool, pick(m, "crm_lookup", "CRM_Delete", "web_search", "x[1]", "x1", "", "a-b")
	r.Usage = usage.Of(usage.ToolCalls, usage.Count(m.Int64N(3)))
	if m.often(20) {
		r.Usage = usage.Usage{}
	}
}

func (m *maker) api(r *usage.Reading) {
	r.Kind, r.Usage = usage.KindAPI, usage.Of(usage.APIRequests, usage.Count(1))
	if m.often(40) {
		volume := usage.Of(usage.ResponseMegabytes, usage.Nanos(m.Int64N(20), m.Int64N(1_000_000_000)))
		r.Usage = r.Usage.Plus(&volume)
	}
	r.Context = r.Context.
		With("host", pick(m, "api.tavily.com", "api.exa.ai", "api.search.brave.com", "www.googleapis.com", "API.openserp.org:443",
			"api.firecrawl.dev", "eu.geodata.example", "geodata.example", "api.credit.example", "nobody.example", "12345")).
		With("method", pick(m, "GET", "POST", "post", "")).
		With("path", pick(m, "/search", "/search?q=1", "/res/v1/web/search", "/customsearch/v1", "/v2/map", "/v2/scrape/",
			"/v2/reports/de", "/", "", "//", "/res/v1", "/customsearch/v1/siterestrict"))
	if m.often(50) {
		r.Context = r.Context.With("http.response.header.x-credits-used",
			pick(m, "12", " 3 ", "2.5", "many", "-1", "1e3", "1e999999999", "0.0000000004", "99999999999.123", "", "9e15", "1e16"))
	}
}

func (m *maker) machine(r *usage.Reading) {
	var all usage.Quantities
	for range m.IntN(4) {
		unit := pick(m, usage.GPUSeconds, usage.VCPUSeconds, usage.MemoryGBSeconds, usage.MachineSeconds, usage.EnergyKWh)
		all.Put(unit, usage.Nanos(m.Int64N(5000), m.Int64N(1_000_000_000)))
	}
	r.Kind, r.Usage = usage.KindCompute, all.Usage()
	r.Provider = pick(m, "aws", "lambda", "gcp", "", "azure", "runpod")
	r.Context = r.Context.With("machine", pick(m, "lambda", "fargate", "gpu_8x_h100_sxm5", "p5.48xlarge", "gpu-node-7", "worker", "")).
		With("gpu", pick(m, "", "H100 SXM", "H100", "A100-80GB", "h200"))
}

// settings are price parts of an agentcost.yaml for the comparison.
var settings = []string{
	`{}`,
	`{"prices": [{"model": "gpt-*", "units": {"input_tokens": 1.25, "web_searches": {"price": 8, "per": 1000}}},
	  {"provider": "anthropic", "model": "*", "from": "2025-01-01", "weekdays": [1, 2, 3], "units": {"output_tokens": {"price": "11.5", "tiers": [{"gt": 1000, "price": 9}]}}},
	  {"provider": "*", "model": "nobody-*", "units": {"input_tokens": 0.3}, "variants": [{"when": {"service_tier": "turbo"}, "units": {"input_tokens": 0.1}}, {"when": {"team": "*"}, "units": {"input_tokens": 7}}], "context_window": 4096},
	  {"model": "claude-9-*", "tier_mode": "graduated", "units": {"input_tokens": {"price": 1, "tiers": [{"gt": 100000, "price": 0.5}, {"gte": 300000, "price": 0.333333333333}]}}},
	  {"model": "[g]emini-[0-9]*", "windows": [["22:00", "06:30"]], "free": true}],
	  "discounts": [{"percent": 7.5}, {"provider": "openai", "percent": "33.333333", "units": ["output_tokens", "cache_read_tokens"]}, {"model": "*mini*", "percent": 100, "windows": [["01:00", "04:00"]]}],
	  "fees": [{"id": "crm", "tool": "crm_*", "per_call": 0.002}, {"tool": "x[[]1]", "free": true}, {"tool": "x[!2-9]", "per_call": 1}, {"host": "*.geodata.example", "per_unit": {"price": 0.0005, "per": 3, "header": "X-Credits-Used", "default": 2}, "per_megabyte": 0.0123}, {"host": "api.credit.example", "path": "/v2/reports/{country}", "method": "post", "per_call": 1.2, "errors": "billed"}],
	  "compute": [{"machine": "gpu-node-*", "gpu": "H100*", "rates": {"gpu_seconds": 2.1}}, {"machine": "worker", "estimated": true, "rates": {"vcpu_seconds": 0.03, "memory_gb_seconds": {"price": 0.0000011, "per": 1}, "energy_kwh": 0.31}}],
	  "aliases": {"a/b/c/d": "gpt-4o", "nobody-knows": [{"model": "claude-sonnet-4-5", "provider": "aws", "to": "2025-06-30"}, {"model": "gpt-5", "from": "2025-07-01"}]}}`,
	`{"currency": "EUR", "rates": {"USD": [{"from": "2026-01-01", "rate": 0.92}, {"from": "2024-06-01", "rate": "0.933333333"}, {"rate": 0.9}], "GBP": 1.15},
	  "prices": [{"model": "gpt-4o*", "currency": "GBP", "units": {"input_tokens": 2, "input_audio_tokens": 30}}, {"model": "*haiku*", "units": {"cache_read_tokens": 0}}],
	  "discounts": [{"model": "*", "percent": 12.5, "to": "2026-06-30"}], "fees": [{"tool": "web_search", "per_call": 0.01}]}`,
}
