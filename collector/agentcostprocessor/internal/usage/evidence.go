package usage

// Key is the number of an attribute key that somebody here reads.
type Key uint16

// maxKeys bounds how many keys the tables may name.
const maxKeys = 512

// Interest tells which questions will be asked about a span, so that the keys of the others are passed over.
type Interest uint8

// What may be asked: Reader.Read; ReadLabels; Reader.ReadHTTPClient; ReadStated; and what dialects ask of a resource.
const (
	InUsage Interest = 1 << iota
	InLabels
	InHTTP
	InStated
	InResource
	InAll = InUsage | InLabels | InHTTP | InStated
)

// keyTable numbers the keys that anybody reads. It is complete once the package is initialised.
type keyTable struct {
	names     []string
	interests [maxKeys]Interest
	// shapes holds, for a mix of first and last letter, the lengths of the keys that have it: most foreign keys fail here.
	shapes [256]uint64
	// slots is a hash table with open addressing: number + 1 of a key, 0 for nothing.
	slots [8 * maxKeys]uint16
}

func (t *keyTable) number(name string, interest Interest) Key {
	key, ok := t.find(name)
	if !ok {
		if len(t.names) == maxKeys || name == "" {
			panic("usage: the tables name more keys than maxKeys, or an empty one")
		}
		key = Key(len(t.names))
		t.names = append(t.names, name)
		t.shapes[mix(name)] |= 1 << (len(name) & 63)
		slot := hash(name)
		for t.slots[slot%uint32(len(t.slots))] != 0 {
			slot++
		}
		t.slots[slot%uint32(len(t.slots))] = uint16(key) + 1
	}
	t.interests[key] |= interest
	return key
}

// hash mixes the length, the last eight bytes and eight from the middle: keys differ there, they begin alike.
func hash(name string) uint32 {
	size := len(name)
	if size < 8 {
		mixed := uint64(size)
		for i := range size {
			mixed = mixed<<8 | uint64(name[i])
		}
		return uint32(mixed * 0x9e3779b97f4a7c15 >> 40)
	}
	last, middle := word(name[size-8:]), word(name[(size-8)/2:])
	return uint32((last*0x9e3779b97f4a7c15 ^ middle*0xc2b2ae3d27d4eb4f ^ uint64(size)<<58) * 0xff51afd7ed558ccd >> 40)
}

// word returns the first eight bytes of a text as a number.
func word(text string) uint64 {
	_ = text[7]
	return uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
		uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
}

func mix(name string) uint8 { return name[0]*29 + name[len(name)-1] }

func (t *keyTable) find(name string) (Key, bool) {
	if name == "" || t.shapes[mix(name)]>>(len(name)&63)&1 == 0 {
		return 0, false
	}
	return t.look(name)
}

func (t *keyTable) look(name string) (Key, bool) {
	for slot := hash(name); ; slot++ {
		number := t.slots[slot%uint32(len(t.slots))]
		if number == 0 {
			return 0, false
		}
		if t.names[number-1] == name {
			return Key(number - 1), true
		}
	}
}

// Evidence is what one span or resource has of the attributes that somebody reads, collected in one pass.
//
// Reuse one: Begin, then for each attribute Find and, when it is wanted, Put; or Collect for all at once. It refers to
// the texts it was given until the next Begin.
type Evidence struct {
	interest Interest
	markers  uint64
	present  [maxKeys / 64]uint64
	at       [maxKeys]uint16
	entries  []entry
}

type entry struct {
	key   Key
	value Value
}

// Begin forgets everything; what is put afterwards serves the given questions.
func (e *Evidence) Begin(interest Interest) {
	clear(e.entries)
	e.entries = e.entries[:0]
	e.present = [maxKeys / 64]uint64{}
	e.markers = 0
	e.interest = interest
}

// Find returns the number of a key that is wanted.
func (e *Evidence) Find(name string) (Key, bool) {
	key, ok := keys.find(name)
	return key, ok && keys.interests[key]&e.interest != 0
}

// Put keeps the value of a key; of a repeated key, the last value counts.
func (e *Evidence) Put(key Key, value Value) {
	if e.has(key) {
		e.entries[e.at[key]].value = value
		return
	}
	e.present[key>>6] |= 1 << (key & 63)
	e.at[key] = uint16(len(e.entries))
	e.entries = append(e.entries, entry{key, value})
	e.markers |= markerBits[key]
}

// Collect forgets everything and keeps what is wanted of some attributes.
func (e *Evidence) Collect(interest Interest, attributes Attributes) {
	e.Begin(interest)
	if attributes == nil {
		return
	}
	attributes.Range(func(name string, value Value) bool {
		if key, wanted := e.Find(name); wanted {
			e.Put(key, value)
		}
		return true
	})
}

// Gather returns evidence of its own about some attributes.
func Gather(interest Interest, attributes Attributes) *Evidence {
	evidence := &Evidence{}
	evidence.Collect(interest, attributes)
	return evidence
}

func (e *Evidence) has(key Key) bool { return e.present[key>>6]>>(key&63)&1 == 1 }

// get returns the value of a key, or nil.
func (e *Evidence) get(key Key) *Value {
	if e == nil || !e.has(key) {
		return nil
	}
	return &e.entries[e.at[key]].value
}
