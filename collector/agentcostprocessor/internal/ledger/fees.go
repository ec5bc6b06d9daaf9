package ledger

import (
	"cmp"
	"slices"
)

// settleFees charges a fee once when several instrumentations show one tool call or API request (law 2 for fees).
func (s *settling) settleFees() {
	var fees []int32
	for i := range s.entries {
		if isFee(&s.entries[i]) {
			fees = append(fees, int32(i))
		}
	}
	if len(fees) == 0 {
		return
	}
	s.prepare()
	same := newUnion(s.Len())
	same.joinByID(s.Tree, fees)
	var records []int32
	for _, members := range same.sets(fees) {
		record := slices.MinFunc(members, s.byFee)
		records = append(records, record)
		s.members[record] = members
		for _, i := range members {
			s.request[i] = record
		}
	}
	wrapped := make([][]int32, s.Len())
	for _, record := range records {
		for _, i := range s.members[record] {
			wrapped[record] = s.appendSameFeeBelow(wrapped[record], i)
		}
	}
	inner := s.withoutCircles(records, wrapped)
	for _, record := range records {
		shown := record
		if below := inner[record]; len(below) > 0 {
			shown = below[0]
		}
		for _, i := range s.members[record] {
			s.charge(i, mirrorOf(&s.entries[shown]))
		}
		if shown == record {
			s.charge(record, chargeInFull(&s.entries[record]))
		}
	}
}

// byFee orders records of one fee: the first has a price, is deepest, earliest, smallest of id.
func (s *settling) byFee(a, b int32) int {
	x, y := &s.entries[a], &s.entries[b]
	return cmp.Or(
		compareBool(hasPrice(y), hasPrice(x)),
		cmp.Compare(s.depth(b), s.depth(a)),
		cmp.Compare(x.Start, y.Start),
		cmp.Compare(a, b),
	)
}

// appendSameFeeBelow appends the requests of fees of the same kind and name right below, with nothing but plain spans
// between.
func (s *settling) appendSameFeeBelow(to []int32, i int32) []int32 {
	outer := s.entries[i].Reading
	stack := slices.Clone(s.Children(i))
	for len(stack) > 0 {
		child := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		entry := &s.entries[child]
		if entry.Reading == nil {
			stack = append(stack, s.Children(child)...)
		} else if isFee(entry) && mayBeOneFee(entry.Reading, outer) {
			to = append(to, s.request[child])
		}
	}
	return to
}
