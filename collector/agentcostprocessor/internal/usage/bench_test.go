package usage

import (
	"fmt"
	"testing"
)

// stranger is a database span: nothing of it is read but its host.
func stranger() Map {
	made := Map{
		"db.system.name": TextValue("postgresql"), "db.query.text": TextValue("SELECT 1"), "db.namespace": TextValue("shop"),
		"server.address": TextValue("db.internal"), "server.port": IntValue(5432), "network.peer.address": TextValue("10.0.0.7"),
		"thread.id": IntValue(7), "thread.name": TextValue("worker"), "code.function": TextValue("load"),
		"db.operation.name": TextValue("SELECT"),
	}
	for i := range 10 {
		made[fmt.Sprintf("app.detail.number_%d", i)] = IntValue(int64(i))
	}
	return made
}

// call is a GenAI client span with twenty attributes.
func call() Map {
	return Map{
		"gen_ai.operation.name": TextValue("chat"), "gen_ai.provider.name": TextValue("openai"),
		"gen_ai.request.model": TextValue("gpt-4o"), "gen_ai.response.model": TextValue("gpt-4o-2024-08-06"),
		"gen_ai.response.id": TextValue("chatcmpl-123"), "gen_ai.usage.input_tokens": IntValue(1843),
		"gen_ai.usage.output_tokens": IntValue(412), "gen_ai.usage.cache_read.input_tokens": IntValue(1024),
		"gen_ai.request.temperature": DoubleValue(0.2), "gen_ai.request.max_tokens": IntValue(1000),
		"gen_ai.response.finish_reasons": ListValue(List{TextValue("stop")}), "server.address": TextValue("api.openai.com"),
		"server.port": IntValue(443), "gen_ai.conversation.id": TextValue("c-1"), "gen_ai.agent.name": TextValue("triage"),
		"gen_ai.output.type": TextValue("text"), "thread.id": IntValue(1), "thread.name": TextValue("main"),
		"code.function": TextValue("ask"), "user.id": TextValue("u-7"),
	}
}

type pair struct {
	key   string
	value Value
}

func listed(attributes Map) []pair {
	made := make([]pair, 0, len(attributes))
	for key, value := range attributes {
		made = append(made, pair{key, value})
	}
	return made
}

func collect(evidence *Evidence, interest Interest, attributes []pair) {
	evidence.Begin(interest)
	for i := range attributes {
		if key, wanted := evidence.Find(attributes[i].key); wanted {
			evidence.Put(key, attributes[i].value)
		}
	}
}

// A span that is not ours, twenty attributes: collect and reject.
func BenchmarkReject(b *testing.B) {
	attributes := listed(stranger())
	evidence, reader, reading := &Evidence{}, NewReader(), &Reading{}
	span := Span{Name: "SELECT shop", Scope: "db", Kind: SpanClient, Attributes: evidence}
	b.ReportAllocs()
	for b.Loop() {
		collect(evidence, InUsage|InLabels|InStated, attributes)
		if reader.Read(&span, reading) {
			b.Fatal("read")
		}
	}
}

// A call with twenty attributes: collect and read.
func BenchmarkRead(b *testing.B) {
	attributes := listed(call())
	evidence, reader, reading := &Evidence{}, NewReader(), &Reading{}
	span := Span{Name: "chat gpt-4o", Scope: "openai", Kind: SpanClient, Attributes: evidence}
	b.ReportAllocs()
	for b.Loop() {
		collect(evidence, InAll, attributes)
		if !reader.Read(&span, reading) {
			b.Fatal("not read")
		}
	}
}

// The same, with its identity and the cost it may already state.
func BenchmarkReadLabelsStated(b *testing.B) {
	attributes := listed(call())
	evidence, reader, reading := &Evidence{}, NewReader(), &Reading{}
	span := Span{Name: "chat gpt-4o", Scope: "openai", Kind: SpanClient, Attributes: evidence}
	var labels Labels
	b.ReportAllocs()
	for b.Loop() {
		collect(evidence, InAll, attributes)
		if !reader.Read(&span, reading) {
			b.Fatal("not read")
		}
		ReadLabels(evidence, nil, &labels)
		if _, stated := ReadStated(evidence); stated {
			b.Fatal("stated")
		}
	}
}

// A call whose usage is a JSON text.
func BenchmarkReadJSON(b *testing.B) {
	attributes := listed(Map{
		"langfuse.observation.type":       TextValue("generation"),
		"langfuse.observation.model.name": TextValue("gpt-4o"),
		"langfuse.observation.usage_details": TextValue(
			`{"input": 3000, "input_cached_tokens": 7000, "output": 600, "output_reasoning_tokens": 200, "total": 10800}`),
	})
	evidence, reader, reading := &Evidence{}, NewReader(), &Reading{}
	span := Span{Name: "generation", Scope: "langfuse-sdk", Kind: SpanInternal, Attributes: evidence}
	b.ReportAllocs()
	for b.Loop() {
		collect(evidence, InAll, attributes)
		if !reader.Read(&span, reading) {
			b.Fatal("not read")
		}
	}
}
