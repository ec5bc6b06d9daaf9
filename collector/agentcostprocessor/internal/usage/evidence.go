package usage

// Key is the number of an attribute key that somebody here reads.
type Key uint16

// maxKeys bounds how many keys the tables may name.
const maxKeys = 1024

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

// keyTable numbers the keys that anybody reads.
type keyTable struct {
	ids       map[string]Key
	interests [maxKeys]Interest
	// shapes holds, for a mix of three letters, the lengths of the keys that have it: most foreign keys fail there.
	shapes [256]uint64
}

func (t *keyTable) number(name string, interest Interest) Key {
	key, ok := t.ids[name]
	if !ok {
		if len(t.ids) == maxKeys {
			panic("usage: the tables name more keys than maxKeys")
		}
		key = Key(len(t.ids))
		t.ids[name] = key
		t.shapes[mix(name)] |= 1 << (len(name) & 63)
	}
	t.interests[key] |= interest
	return key
}

func mix(name string) uint8 {
	size := len(name)
	return name[0] ^ name[size/2]*31 ^ name[size-1]*7
}

func (t *keyTable) find(name string) (Key, bool) {
	size := len(name)
	if size == 0 || t.shapes[mix(name)]>>(size&63)&1 == 0 {
		return 0, false
	}
	key, ok := t.ids[name]
	return key, ok
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
