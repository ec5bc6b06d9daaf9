package usage

import (
	"net/netip"
	"strconv"
	"strings"
)

// maxPath is the longest path that is kept, in characters.
const maxPath = 1024

var httpKeys = struct{ method, url, host, path, status, size []Key }{
	keysOf("http.request.method", "http.method"),
	keysOf("url.full", "http.url"),
	keysOf("server.address", "net.peer.name", "http.host", "peer.hostname"),
	keysOf("url.path", "http.target"),
	keysOf("http.response.status_code", "http.status_code"),
	keysOf("http.response.body.size", "http.response_content_length", "http.response.header.content-length"),
}

func keysOf(names ...string) []Key {
	made := make([]Key, len(names))
	for i, name := range names {
		made[i] = keys.number(name, InHTTP)
	}
	return made
}

// ReadHTTPClient reads one request to an API; false for a span that is no HTTP client span with a known host.
//
// Context: host, method, path. The query, a fragment and user names in the URL are never kept. A response of 400 and
// above is a failed request (StatusError, `http_<code>`). The evidence needs Interest InHTTP.
func ReadHTTPClient(evidence *Evidence, into *Reading) bool {
	method := methodOf(evidence)
	if method == "" {
		return false
	}
	host, path := address(evidence)
	if host == "" {
		return false
	}
	into.Reset()
	into.Kind = KindAPI
	into.Operation = "http"
	into.Dialect = "http"
	into.Tool = host
	into.Context = append(into.Context,
		ContextEntry{"host", host}, ContextEntry{"method", cut(strings.ToUpper(method), 16)}, ContextEntry{"path", path})
	into.Usage, into.HasUsage = Of(APIRequests, Count(1)), true
	if size := firstOf(evidence, httpKeys.size); size.kind != Null {
		bytes, ok := size.decimal()
		if ok && bytes.Sign() >= 0 && bytes.IsWhole() && !bytes.exceeds(MaxQuantity) {
			count := bytes.quantity().Whole()
			var both Quantities
			both.Put(APIRequests, Count(1))
			both.Put(ResponseMegabytes, Nanos(count/1_000_000, count%1_000_000*1000))
			into.Usage = both.Usage()
		}
	}
	status := firstOf(evidence, httpKeys.status)
	if number, ok := status.decimal(); ok && number.Sign() > 0 && !number.exceeds(999) {
		if code := number.quantity().Whole(); code >= 400 {
			into.Status, into.Reason = StatusError, "http_"+strconv.FormatInt(code, 10)
		}
	}
	return true
}

// methodOf returns the method in its stable name, or in the old one where that says nothing; "" when it is no text.
func methodOf(evidence *Evidence) string {
	for _, key := range httpKeys.method {
		value := evidence.get(key)
		if value == nil || value.falsy() {
			continue
		}
		if value.kind != Text {
			return ""
		}
		return value.text
	}
	return ""
}

// falsy tells whether a value says nothing: null, empty, zero or false.
func (v *Value) falsy() bool {
	switch v.kind {
	case Null:
		return true
	case Text:
		return v.text == ""
	case Bool, Int:
		return v.bits == 0
	case Double:
		return v.bits<<1 == 0
	case Sequence:
		if v.nested == nil {
			return false
		}
		_, any := v.nested.First()
		return !any
	}
	return false
}

// firstOf returns the first value that is not null; of a list, its first element.
func firstOf(evidence *Evidence, names []Key) Value {
	for _, key := range names {
		value := evidence.get(key)
		if isNull(value) {
			continue
		}
		if value.kind == Sequence && value.nested != nil {
			if first, ok := value.nested.First(); ok {
				return first
			}
		}
		return *value
	}
	return Value{}
}

// address returns the host in lower case without port, and the path without query.
func address(evidence *Evidence) (host, path string) {
	if url := firstOf(evidence, httpKeys.url); url.kind == Text {
		host, path = splitURL(url.text)
	}
	if stated := firstOf(evidence, httpKeys.host); stated.kind == Text {
		if name := trim(stated.text); name != "" {
			host = withoutPort(name)
		}
	}
	if path == "" {
		if target := firstOf(evidence, httpKeys.path); target.kind == Text {
			path, _, _ = strings.Cut(target.text, "?")
			path, _, _ = strings.Cut(path, "#")
		}
		if path == "" {
			path = "/"
		}
	}
	return strings.TrimRight(lower(host), "."), cut(path, maxPath)
}

func withoutPort(host string) string {
	if inside, ok := strings.CutPrefix(host, "["); ok {
		name, _, _ := strings.Cut(inside, "]")
		return name
	}
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 && allDigits(host[colon+1:]) &&
		!strings.Contains(host[:colon], ":") {
		return host[:colon]
	}
	return host
}

// splitURL returns host and path of a URL, both empty for one that nobody could request.
func splitURL(url string) (host, path string) {
	url = strings.TrimLeftFunc(url, func(r rune) bool { return r <= ' ' })
	if strings.ContainsAny(url, "\t\r\n") {
		url = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(url)
	}
	if colon := strings.IndexByte(url, ':'); colon > 0 && isScheme(url[:colon]) {
		url = url[colon+1:]
	}
	var authority string
	if rest, ok := strings.CutPrefix(url, "//"); ok {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		authority, url = rest[:end], rest[end:]
	}
	path, _, _ = strings.Cut(url, "#")
	path, _, _ = strings.Cut(path, "?")
	bracketed := strings.Contains(authority, "[")
	if bracketed != strings.Contains(authority, "]") || bracketed && !isAddress(insideBrackets(authority)) {
		return "", ""
	}
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if strings.Contains(authority, "[") {
		return insideBrackets(authority), path
	}
	host, _, _ = strings.Cut(authority, ":")
	return host, path
}

func insideBrackets(authority string) string {
	_, inside, _ := strings.Cut(authority, "[")
	inside, _, _ = strings.Cut(inside, "]")
	return inside
}

func isScheme(text string) bool {
	for i := range len(text) {
		c := text[i] | 0x20
		if 'a' <= c && c <= 'z' || i > 0 && (isDigit(text[i]) || strings.IndexByte("+-.", text[i]) >= 0) {
			continue
		}
		return false
	}
	return true
}

// isAddress tells whether a text in brackets is an IPv6 address or one of a future version.
func isAddress(text string) bool {
	if future, ok := strings.CutPrefix(text, "v"); ok {
		version, rest, _ := strings.Cut(future, ".")
		return rest != "" && version != "" && strings.Trim(version, "0123456789abcdefABCDEF") == ""
	}
	address, err := netip.ParseAddr(text)
	return err == nil && address.Is6()
}
