package pricing

import (
	"maps"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// Which rates hold: from a model's dated tariffs, variants and multipliers to one rate per unit for one moment.
//
//	standard tariff of the day -> dated amendments -> variants (tier, batch, size ...) -> region multiplier
//	  -> the user's own rates -> the user's discount -> currency
//
// Each step works unit by unit, so a component can be dated, or be the user's, on its own.

const defaultLabel = "default"

// The two ways a price depends on length: the whole request at one price, or step by step.
const (
	wholeRequest = "whole_request"
	graduated    = "graduated"
)

var (
	standardTiers   = []string{"default", "standard", "on_demand", "standard_only", "none"}
	knownTiers      = []string{"flex", "priority", "fast", "batch", "scale", "reserved", "provisioned", "provisioned_throughput"}
	tierKeys        = []string{"processing", "service_tier", "speed"}
	ordinarySpeeds  = []string{"standard", "normal", "default"}
	ordinaryProcess = []string{"standard", "online", "sync", "realtime", "default"}
)

// tariff is one rate per unit for one moment and context, and what is uncertain about it.
type tariff struct {
	rates    rates
	label    string
	mode     string
	free     bool
	reasons  []string // each makes the bill an estimate
	notes    []string
	measures []*measure
	covered  usage.UnitSet
	context  map[string]string
}

// settleTier returns the context with the tier that was billed, and why it is uncertain.
//
// The response decides, the request is a fallback, `auto` never selects (rule 16). Ordinary tiers fall away.
func settleTier(context map[string]string, rules *sellerRules) (settled map[string]string, reasons []string) {
	settled = maps.Clone(context)
	for _, key := range []string{"service_tier", "request_service_tier", "speed"} {
		delete(settled, key)
	}
	if slices.Contains(ordinaryProcess, strings.ToLower(settled["processing"])) {
		delete(settled, "processing")
	}
	ordinary := func(tier string) bool {
		return slices.Contains(standardTiers, tier) || slices.Contains(rules.Tiers.Standard, tier)
	}
	billed := strings.ToLower(context["service_tier"])
	if billed == "" || billed == "auto" {
		asked := strings.ToLower(context["request_service_tier"])
		if asked == "" {
			asked = billed
		}
		billed = ""
		if asked == "auto" {
			reasons = append(reasons, "tier_unknown:auto")
		} else if asked != "" && !ordinary(asked) {
			billed = asked
			reasons = append(reasons, "tier_as_requested:"+asked)
		}
	}
	if billed == "batch" {
		settled["processing"] = "batch"
	} else if billed != "" && !ordinary(billed) {
		settled["service_tier"] = billed
	}
	if speed := strings.ToLower(context["speed"]); speed != "" && !slices.Contains(ordinarySpeeds, speed) {
		settled["speed"] = speed
	}
	return settled, reasons
}

// resolve returns the rates of a found model for a moment and a context, before anything of the user's.
func (e *entry) resolve(context map[string]string, day, minute int64) *tariff {
	told := maps.Clone(e.context)
	if told == nil {
		told = make(map[string]string, len(context))
	}
	for key, value := range context {
		if value != "" {
			told[key] = value
		}
	}
	settled, reasons := settleTier(told, e.rules)
	model := e.tariff
	t := &tariff{label: defaultLabel, mode: model.mode, free: model.free || e.rules.Free, context: settled}
	t.reasons = slices.Concat(e.reasons, reasons)
	t.notes = slices.Clone(e.notes)
	for i := range e.rules.Measures {
		if e.rules.Measures[i].appliesTo(model.id) {
			t.measures = append(t.measures, &e.rules.Measures[i])
		}
	}
	for i := range e.rules.Covers {
		if e.rules.Covers[i].appliesTo(model.id) {
			t.covered |= e.rules.Covers[i].units
		}
	}
	standard, ok := model.standard(day, minute)
	if !ok {
		t.rates = rates{}
		if !t.free {
			t.reasons = append(t.reasons, "no_price_on:"+dayText(day))
		}
		return t
	}
	t.rates = standard
	t.applyVariants(e, day, minute)
	t.applyRegions(e)
	return t
}

func (t *tariff) applyVariants(e *entry, day, minute int64) {
	model := e.tariff
	asked := make([]string, 0, len(tierKeys))
	for _, key := range tierKeys {
		if value, ok := t.context[key]; ok {
			asked = append(asked, value)
		}
	}
	slices.Sort(asked)
	chosen := make(rates)
	tierFound, sameAsStandard := false, false
	var later []*dated
	for i := range model.variants {
		variant := &model.variants[i]
		if !variant.when.holds(t.context) {
			continue
		}
		isTier := slices.ContainsFunc(tierKeys, func(key string) bool { return variant.when[key] != nil })
		if !variant.constraint.holds(day, minute) {
			if isTier && day < variant.constraint.first {
				later = append(later, variant)
			}
			continue
		}
		if isTier {
			tierFound = true
			sameAsStandard = sameAsStandard || len(variant.rates) == 0
		}
		chosen.addMissing(variant)
	}
	if len(asked) > 0 && !tierFound && len(later) > 0 {
		tierFound = t.backdate(model, later, chosen, minute)
	}
	if len(asked) > 0 {
		t.label = strings.Join(asked, "+")
		if !tierFound && !t.free {
			for _, value := range asked {
				reason := "unknown_tier:"
				if slices.Contains(knownTiers, value) {
					reason = "no_tier_rate:"
				}
				t.reasons = append(t.reasons, reason+value)
			}
		} else if tierFound && e.resold != "" {
			t.reasons = append(t.reasons, "tier_rates_of:"+e.resold)
		}
	} else if len(chosen) > 0 {
		t.label = t.toldBy(func(key string) bool {
			return slices.ContainsFunc(model.variants, func(v dated) bool { return v.when[key] != nil })
		})
	}
	if tierFound && !sameAsStandard {
		for unit, rate := range t.rates {
			if _, ok := chosen[unit]; !ok && tokenLike(unit) {
				rate.inherited = true
				t.rates[unit] = rate
			}
		}
	}
	maps.Copy(t.rates, chosen)
}

// addMissing takes the rates of a variant for units that have none yet.
func (r rates) addMissing(variant *dated) {
	for unit, rate := range variant.rates {
		if _, ok := r[unit]; !ok {
			r[unit] = rate.noted(variant.when.text())
		}
	}
}

// backdate uses a tier's first known rates for an earlier day on which the ordinary rates were the same: an estimate.
func (t *tariff) backdate(model *modelTariff, later []*dated, chosen rates, minute int64) bool {
	for _, variant := range later {
		first := variant.constraint.first
		then, ok := model.standard(first, minute)
		if !ok || !maps.EqualFunc(then, t.rates, unitRate.equal) {
			continue
		}
		chosen.addMissing(variant)
		t.reasons = append(t.reasons, "tier_rates_since:"+dayText(first))
		return true
	}
	return false
}

// toldBy writes what the context says about some keys, sorted.
func (t *tariff) toldBy(wanted func(key string) bool) string {
	var told []string
	for key, value := range t.context {
		if wanted(key) {
			told = append(told, key+"="+value)
		}
	}
	slices.Sort(told)
	return strings.Join(told, "+")
}

func (t *tariff) applyRegions(e *entry) {
	region := t.context[e.rules.Regions.Key]
	if e.rules.Regions.Key == "" {
		region = ""
	}
	if region != "" && slices.Contains(e.rules.Regions.Base, region) {
		return
	}
	known := region == ""
	for i := range e.rules.Multipliers {
		rule := &e.rules.Multipliers[i]
		if !rule.When.holds(t.context) {
			continue
		}
		known = true
		if rule.appliesTo(e.tariff.id) {
			note := "x" + rule.Factor + " " + t.toldBy(func(key string) bool { return rule.When[key] != nil })
			t.scale(rule, note)
		}
	}
	if !known && !t.free {
		t.reasons = append(t.reasons, "unknown_region:"+region)
	}
}

// scale multiplies the rates of the rule's units, or of all token-like ones.
func (t *tariff) scale(rule *multiplier, note string) {
	for unit, rate := range t.rates {
		scaled := tokenLike(unit)
		if rule.Units != nil {
			scaled = rule.units.Has(unit)
		}
		if scaled {
			t.rates[unit] = rate.times(rule.factor, note)
		}
	}
}
