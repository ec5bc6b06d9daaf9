package ledger

import (
	"cmp"
	"slices"
	"strings"

	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/pricing"
	"github.com/otel-agentcost/otel-agentcost/collector/agentcostprocessor/internal/usage"
)

// none is no entry.
const none int32 = -1

// Tree is the entries of one trace, each once, with the parent each one counts below. Entries are numbered in the order
// of their span ids, so that the smaller number is the smaller id; nothing in it recurses, so depth has no limit.
//
// A parent that was never exported makes an orphan; an orphan counts below the innermost aggregate of the trace that
// contains its time (and names the same agent, where both do). Malformed links (a span below itself) are cut.
type Tree struct {
	entries  []Entry
	parent   []int32
	children []int32 // the children of all, those of entry i from firstChild[i] to firstChild[i+1], by start
	first    []int32
	roots    []int32
	order    []int32 // outermost first
}

// NewTree builds the tree of a trace's entries, in whatever order they are given.
func NewTree(entries []Entry) *Tree {
	t := &Tree{entries: eachOnce(entries)}
	t.parent = make([]int32, len(t.entries))
	for i := range t.entries {
		t.parent[i] = t.find(t.entries[i].ParentID)
		if t.parent[i] == int32(i) {
			t.parent[i] = none
		}
	}
	t.cutCircles()
	t.adoptOrphans()
	t.link()
	return t
}

// Len is how many entries the tree has.
func (t *Tree) Len() int { return len(t.entries) }

// Entry returns an entry by its number.
func (t *Tree) Entry(i int32) *Entry { return &t.entries[i] }

// Parent returns the number of the entry another one counts below, or -1.
func (t *Tree) Parent(i int32) int32 { return t.parent[i] }

// Children returns the numbers of the entries right below one, by their start.
func (t *Tree) Children(i int32) []int32 { return t.children[t.first[i]:t.first[i+1]] }

// Roots returns the numbers of the entries below none, by their start.
func (t *Tree) Roots() []int32 { return t.roots }

// OutermostFirst returns all numbers so that every entry comes before all entries below it, which follow at once.
func (t *Tree) OutermostFirst() []int32 { return t.order }

// find returns the number of a span id, or -1.
func (t *Tree) find(id string) int32 {
	if id == "" {
		return none
	}
	at, found := slices.BinarySearchFunc(t.entries, id, func(e Entry, id string) int { return strings.Compare(e.SpanID, id) })
	if !found {
		return none
	}
	return int32(at)
}

// eachOnce sorts entries by span id and keeps of several exports of one span the one that says more.
func eachOnce(given []Entry) []Entry {
	order := make([]int32, len(given)) // sorted in place of the entries, which are large
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		if by := strings.Compare(given[a].SpanID, given[b].SpanID); by != 0 {
			return by
		}
		return cmp.Compare(a, b)
	})
	entries := make([]Entry, 0, len(given))
	for _, i := range order {
		last := len(entries) - 1
		switch {
		case last < 0 || entries[last].SpanID != given[i].SpanID:
			entries = append(entries, given[i])
		case compareWeight(&given[i], &entries[last]) > 0:
			entries[last] = given[i]
		}
	}
	return entries
}

// compareWeight orders two exports of one span id by how much they say.
func compareWeight(a, b *Entry) int {
	return cmp.Or(
		compareBool(a.Reading != nil, b.Reading != nil),
		moneyOrLess(a).Cmp(moneyOrLess(b)),
		cmp.Compare(unitsOf(a).Len(), unitsOf(b).Len()),
		cmp.Compare(a.End, b.End),
		cmp.Compare(a.Start, b.Start),
		strings.Compare(a.ParentID, b.ParentID),
		strings.Compare(a.Emitter, b.Emitter),
		compareUsage(a, b),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// moneyOrLess is the total of an entry's bill, and less than nothing without one.
func moneyOrLess(e *Entry) pricing.Money {
	if hasPrice(e) {
		return e.Bill.Total
	}
	return pricing.Pico(-1)
}

func unitsOf(e *Entry) usage.UnitSet {
	if e.Reading == nil || !e.Reading.HasUsage {
		return 0
	}
	return e.Reading.Usage.Units()
}

// compareUsage compares quantities unit by unit, in the order of the units' names.
func compareUsage(a, b *Entry) int {
	left, right := quantityTexts(a), quantityTexts(b)
	return slices.Compare(left, right)
}

func quantityTexts(e *Entry) []string {
	var texts []string
	for unit := range unitsOf(e).All() {
		// U+0000 sorts a unit before one whose name goes on.
		texts = append(texts, unit.String()+"\x00"+e.Reading.Usage.Get(unit).String())
	}
	slices.Sort(texts)
	return texts
}

// cutCircles makes the smallest span id of every circle a root.
func (t *Tree) cutCircles() {
	const fresh, onPath, safe = 0, 1, 2
	state := make([]uint8, len(t.entries))
	var path []int32
	for start := range t.entries {
		path = path[:0]
		here := int32(start)
		for here != none && state[here] == fresh {
			state[here] = onPath
			path = append(path, here)
			here = t.parent[here]
		}
		if here != none && state[here] == onPath {
			circle := path[slices.Index(path, here):]
			t.parent[slices.Min(circle)] = none
		}
		for _, i := range path {
			state[i] = safe
		}
	}
}

func (t *Tree) adoptOrphans() {
	var orphans, aggregates []int32
	for i := range t.entries {
		if t.entries[i].ParentID != "" && t.parent[i] == none {
			orphans = append(orphans, int32(i))
		}
		if carriesUsage(&t.entries[i]) {
			aggregates = append(aggregates, int32(i))
		}
	}
	if len(orphans) == 0 || len(aggregates) == 0 {
		return
	}
	slices.SortFunc(aggregates, func(a, b int32) int {
		x, y := &t.entries[a], &t.entries[b]
		return cmp.Or(cmp.Compare(x.End-x.Start, y.End-y.Start), cmp.Compare(y.Start, x.Start), cmp.Compare(a, b))
	})
	slices.SortFunc(orphans, func(a, b int32) int {
		x, y := &t.entries[a], &t.entries[b]
		return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(y.End, x.End), cmp.Compare(a, b))
	})
	for _, orphan := range orphans {
		t.parent[orphan] = t.adopter(orphan, aggregates)
	}
}

func (t *Tree) adopter(orphan int32, aggregates []int32) int32 {
	entry := &t.entries[orphan]
	name := agentOf(entry)
	for _, candidate := range aggregates {
		outer := &t.entries[candidate]
		if outer.Start > entry.Start || outer.End < entry.End {
			continue
		}
		if other := agentOf(outer); name != "" && other != "" && name != other {
			continue
		}
		if !t.isAbove(orphan, candidate) {
			return candidate
		}
	}
	return none
}

// isAbove tells whether an entry is another one or above it.
func (t *Tree) isAbove(above, here int32) bool {
	for ; here != none; here = t.parent[here] {
		if here == above {
			return true
		}
	}
	return false
}

// depth is how many entries there are from an entry up to its root, itself included.
func (t *Tree) depth(here int32) int {
	depth := 0
	for ; here != none; here = t.parent[here] {
		depth++
	}
	return depth
}

// link finds the children of every entry and the order of the walk.
func (t *Tree) link() {
	byTime := make([]int32, len(t.entries))
	t.first = make([]int32, len(t.entries)+1)
	for i := range t.entries {
		byTime[i] = int32(i)
		if above := t.parent[i]; above != none {
			t.first[above+1]++
		}
	}
	slices.SortFunc(byTime, func(a, b int32) int {
		x, y := &t.entries[a], &t.entries[b]
		switch {
		case x.Start != y.Start:
			return cmp.Compare(x.Start, y.Start)
		case x.End != y.End:
			return cmp.Compare(x.End, y.End)
		}
		return cmp.Compare(a, b)
	})
	for i := range t.entries {
		t.first[i+1] += t.first[i]
	}
	t.children = make([]int32, t.first[len(t.entries)])
	filled := make([]int32, len(t.entries))
	for _, i := range byTime {
		above := t.parent[i]
		if above == none {
			t.roots = append(t.roots, i)
			continue
		}
		t.children[t.first[above]+filled[above]] = i
		filled[above]++
	}
	t.order = make([]int32, 0, len(t.entries))
	stack := make([]int32, 0, len(t.roots))
	push := func(some []int32) {
		for i := len(some) - 1; i >= 0; i-- {
			stack = append(stack, some[i])
		}
	}
	push(t.roots)
	for len(stack) > 0 {
		here := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		t.order = append(t.order, here)
		push(t.Children(here))
	}
}

func agentOf(e *Entry) string {
	if e.Agent == "" && e.Reading != nil {
		return e.Reading.Agent
	}
	return e.Agent
}

// carriesUsage tells whether an entry is an aggregate that states usage or money of its own.
func carriesUsage(e *Entry) bool {
	return e.Reading != nil && e.Reading.Kind == usage.KindAggregate && showsUsage(e)
}

// separates tells whether an entry separates a call above from other work below it: a tool, an aggregate, compute. An
// HTTP span between client and gateway does not.
func separates(e *Entry) bool {
	if e.Reading == nil {
		return false
	}
	kind := e.Reading.Kind
	return kind == usage.KindTool || kind == usage.KindAggregate || kind == usage.KindCompute
}
