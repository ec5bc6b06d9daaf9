package usage

// found is what one span has of what its dialect looks for.
type found struct {
	set [groupCount]uint64
	at  [groupCount][slotCount]*Value
	by  [groupCount][slotCount]uint8 // rank of what was found
}

func (f *found) field(slot int) *Value {
	if f.set[inFields]>>slot&1 == 0 {
		return nil
	}
	return f.at[inFields][slot]
}

func (f *found) words(slot int) string {
	if value := f.field(slot); value != nil {
		return value.words()
	}
	return ""
}

// gather finds the best value for each thing the dialect knows, in one pass; null and empty text count as absent.
func (r *Reader) gather(d *dialect, evidence *Evidence) {
	r.found.set = [groupCount]uint64{}
	r.keyOf, r.dug = r.keyOf[:0], r.dug[:0]
	for i := range evidence.entries {
		at := &evidence.entries[i]
		if int(at.key) >= len(d.places) {
			continue
		}
		for j := range d.places[at.key] {
			place := &d.places[at.key][j]
			value := &at.value
			if value.absent() && place.group != inOwnUsage {
				continue
			}
			seen := r.found.set[place.group]>>place.slot&1 == 1
			if seen && r.found.by[place.group][place.slot] <= place.rank {
				continue
			}
			if place.path != nil {
				if value = r.dig(at.key, value, place.path); value.absent() {
					continue
				}
			}
			r.found.set[place.group] |= 1 << place.slot
			r.found.at[place.group][place.slot] = value
			r.found.by[place.group][place.slot] = place.rank
		}
	}
}

// dig returns what a path inside an attribute leads to; a JSON text is parsed once for each span.
func (r *Reader) dig(key Key, value *Value, path []string) *Value {
	told := Value{}
	switch value.kind {
	case Text:
		told = r.documentOf(key, value.text).dig(path)
	case Structure:
		told = *value
		for _, step := range path {
			next, ok := Value{}, false
			if told.kind == Structure && told.nested != nil {
				next, ok = told.nested.Field(step)
			}
			if !ok {
				next = Value{}
			}
			told = next
		}
	}
	r.dug = append(r.dug, told)
	return &r.dug[len(r.dug)-1]
}

func (r *Reader) documentOf(key Key, text string) *document {
	for i, known := range r.keyOf {
		if known == key {
			return &r.documents[i]
		}
	}
	r.keyOf = append(r.keyOf, key)
	if len(r.documents) < len(r.keyOf) {
		r.documents = append(r.documents, document{})
	}
	parsed := &r.documents[len(r.keyOf)-1]
	parsed.parse(text)
	return parsed
}
