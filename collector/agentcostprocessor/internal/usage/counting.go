package usage

const (
	// simple is two totals and nothing else: no part can contradict them.
	simple UnitSet = 1<<InputTokens | 1<<OutputTokens
	// common units cannot overlap: their parts are disjoint by what they are.
	common = simple | 1<<CacheReadTokens | 1<<CacheWriteTokens | 1<<CacheWrite5mTokens | 1<<CacheWrite1hTokens |
		1<<OutputReasoningTokens
)
