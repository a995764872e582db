package policy

import (
	"context"
	"testing"
)

// BenchmarkJudge is what one scan pays for Rego: parse, compile, evaluate all embedded controls on an ordinary node.
func BenchmarkJudge(b *testing.B) {
	f := readFacts(b, "docker-exposed")
	b.ReportAllocs()
	for b.Loop() {
		e, err := Load(Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := e.Evaluate(context.Background(), f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	e, err := Load(Options{})
	if err != nil {
		b.Fatal(err)
	}
	f := readFacts(b, "docker-exposed")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Evaluate(context.Background(), f); err != nil {
			b.Fatal(err)
		}
	}
}
