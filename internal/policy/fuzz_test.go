package policy

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ctaudit/ctaudit/internal/facts"
)

// odd are values that no honest node gives, to be put where something else is expected.
var odd = [...]any{nil, "", "x", "\x1b[2J", "-1", "99999999999999999999", 0, -1, 1 << 40, 0.5, true, false, []any{}, map[string]any{}}

// FuzzEvaluate judges facts in which picks, pairs of a place and a value, replace parts of a node: every control must
// speak, and none may break its contract.
func FuzzEvaluate(f *testing.F) {
	names := []string{"docker-exposed", "drops-that-fail", "kube-proxy-iptables", "not-root", "hostile"}
	var docs [][]byte
	for i, name := range names {
		text, err := os.ReadFile(filepath.Join("testdata", "facts", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		docs = append(docs, text)
		f.Add(uint8(i), []byte{0, 0})
		f.Add(uint8(i), []byte{3, 1, 40, 2, 77, 6, 120, 13})
	}
	e := load(f, Options{})
	f.Fuzz(func(t *testing.T, which uint8, picks []byte) {
		var doc any
		if err := json.Unmarshal(docs[int(which)%len(docs)], &doc); err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(picks) && i < 16; i += 2 {
			places := settable(doc)
			places[(int(picks[i])*7+i)%len(places)](odd[int(picks[i+1])%len(odd)])
		}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		var odd facts.Facts
		if json.Unmarshal(text, &odd) != nil {
			return
		}
		results, err := e.Evaluate(context.Background(), odd)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		checkContract(t, e, results)
	})
}

// settable lists what can be replaced in a JSON document, in a fixed order.
func settable(v any) []func(any) {
	var out []func(any)
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, func(x any) { v[k] = x })
			out = append(out, settable(v[k])...)
		}
	case []any:
		for i := range v {
			out = append(out, func(x any) { v[i] = x })
			out = append(out, settable(v[i])...)
		}
	}
	return out
}
