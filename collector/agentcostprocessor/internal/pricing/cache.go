package pricing

import (
	"hash/maphash"
	"sync/atomic"
)

var seed = maphash.MakeSeed()

// hashText mixes a text into a hash.
func hashText(hash uint64, text string) uint64 {
	return hash*0x9e3779b97f4a7c15 + maphash.String(seed, text)
}

const ways = 4

// cache remembers answers for keys, misses included: bounded, and without a lock, so that any number of goroutines read
// it at full speed. A key has four places; when all are taken, the next answer takes the place of another.
type cache[K, V any] struct {
	mask  uint64
	slots []atomic.Pointer[cached[K, V]]
	next  atomic.Uint32
}

type cached[K, V any] struct {
	hash  uint64
	key   K
	value V
}

// newCache makes a cache of at most size answers, rounded up to a power of two.
func newCache[K, V any](size int) *cache[K, V] {
	sets := 1
	for sets*ways < size {
		sets *= 2
	}
	return &cache[K, V]{mask: uint64(sets - 1), slots: make([]atomic.Pointer[cached[K, V]], sets*ways)}
}

func (c *cache[K, V]) set(hash uint64) []atomic.Pointer[cached[K, V]] {
	first := (hash >> 32 & c.mask) * ways
	return c.slots[first : first+ways]
}

// get returns the answer for a key of this hash that is the same, or nil.
func (c *cache[K, V]) get(hash uint64, same func(key *K) bool) *V {
	set := c.set(hash)
	for i := range set {
		if found := set[i].Load(); found != nil && found.hash == hash && same(&found.key) {
			return &found.value
		}
	}
	return nil
}

// put remembers an answer.
func (c *cache[K, V]) put(hash uint64, key K, value V) {
	made := &cached[K, V]{hash, key, value}
	set := c.set(hash)
	for i := range set {
		if set[i].CompareAndSwap(nil, made) {
			return
		}
	}
	set[c.next.Add(1)%ways].Store(made)
}
