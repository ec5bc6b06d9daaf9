package usage

import (
	"strings"
	"sync"
)

// longestKey is the longest text that is remembered; a longer one is worked out each time.
const longestKey = maxText

// memory remembers what was worked out for a text: at most two generations of `size` entries, the older one forgotten
// when the younger one is full. The zero value of the maps is ready.
type memory[V any] struct {
	size       int
	young, old map[string]V
}

func newMemory[V any](size int) memory[V] {
	return memory[V]{size: size, young: make(map[string]V)}
}

func (m *memory[V]) recall(text string) (V, bool) {
	value, ok := m.young[text]
	if !ok && m.old != nil {
		if value, ok = m.old[text]; ok {
			m.keep(text, value)
		}
	}
	return value, ok
}

// keep copies the text: it may point into a batch that must not live on.
func (m *memory[V]) keep(text string, value V) {
	if len(text) > longestKey {
		return
	}
	if len(m.young) >= m.size {
		m.old, m.young = m.young, make(map[string]V, m.size/4)
	}
	m.young[strings.Clone(text)] = value
}

// get returns what is remembered, or works it out.
func (m *memory[V]) get(text string, answer func(text string) V) V {
	value, ok := m.recall(text)
	if !ok {
		value = answer(text)
		m.keep(text, value)
	}
	return value
}

// shared is a memory for many goroutines.
type shared[V any] struct {
	lock   sync.RWMutex
	memory memory[V]
	answer func(text string) V
}

func newShared[V any](size int, answer func(text string) V) *shared[V] {
	return &shared[V]{memory: newMemory[V](size), answer: answer}
}

func (s *shared[V]) get(text string) V {
	s.lock.RLock()
	value, ok := s.memory.young[text]
	s.lock.RUnlock()
	if ok {
		return value
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.memory.get(text, s.answer)
}
