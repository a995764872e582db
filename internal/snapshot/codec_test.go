package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

var update = flag.Bool("update", false, "rewrite generated files")

// sameDocument compares by meaning: an empty list and a nil one are the same, a Value by its state.
var sameDocument = cmp.Options{cmpopts.EquateEmpty(), cmp.Exporter(func(t reflect.Type) bool {
	return strings.HasPrefix(t.Name(), "Value[")
})}

// sample holds every kind of thing a document can hold, with the hostile and the empty among them.
func sample() *Document {
	state := netfilter.XtState{HasState: true, States: netfilter.StateInvalid}
	return &Document{
		Version: Version, Tool: "ctaudit test", Host: "web-1",
		Taken: time.Date(2026, 11, 23, 14, 0, 0, 123000000, time.UTC),
		Collectors: []Collector{
			{Name: "kernel", Status: StatusOK},
			{Name: "iptables", Status: StatusPartial, Missing: []Missing{{What: "iptables-legacy filter (ip)", Why: "permission denied", Hint: "run as root"}}},
		},
		Kernel: Kernel{
			Release: Known("6.18.0"), Version: Known(""), Vendor: "mainline", OSRelease: map[string]string{"ID": "debian"},
			Modules: Known[[]string](nil), Builtin: Known([]string{"nf_conntrack", "nf_nat"}),
			Config: Absent[map[string]string](), CPUs: Known(0), UptimeSeconds: Unreadable[float64]("no such file", ""),
		},
		Sysctl: Sysctl{
			Live: map[string]Value[string]{
				"net.netfilter.nf_conntrack_tcp_be_liberal": Known("0"), "net.netfilter.nf_conntrack_max": Unreadable[string]("permission denied", "run as root"),
				"net.ipv4.netfilter.ip_conntrack_max": Absent[string](),
			},
			Persisted: Known([]Assignment{{Key: "a.b", Value: "1", File: "/etc/sysctl.d/\x1b[31m.conf", Line: 3}}),
		},
		IPTables: IPTables{
			Tables: []*netfilter.Table{{Backend: netfilter.Legacy, Family: netfilter.IP, Name: "filter", Chains: []*netfilter.Chain{{
				Name: "INPUT", Base: &netfilter.Base{Type: netfilter.FilterChain, Hook: netfilter.Input, Policy: netfilter.Accept, Counters: &netfilter.Counters{}},
				Rules: []*netfilter.Rule{
					{Number: 1, Line: 5, Text: `-m comment --comment "\"}]" -j ACCEPT`, Comment: `"}]`, Counters: &netfilter.Counters{Packets: 1 << 63, Bytes: 1}},
					{Number: 2, Text: "-m conntrack --ctstate INVALID -j DROP"},
				},
			}}}},
			LegacyLoaded: map[netfilter.Family]Value[[]string]{netfilter.IP: Known([]string{"filter"}), netfilter.IP6: Absent[[]string]()},
			NFTRead:      map[netfilter.Family]bool{netfilter.IP: true},
		},
		NFTables: NFTables{
			Tables: []*netfilter.Table{{
				Backend: netfilter.NFTables, Family: netfilter.INET, Name: "t",
				Chains: []*netfilter.Chain{{Name: "c", Rules: []*netfilter.Rule{{Number: 1, Handle: 4, Text: "ct state invalid drop", Ops: netfilter.Ops{
					netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.CTState}}, In: []netfilter.Interval{netfilter.Nums(1, 1)}},
					netfilter.Ext{Name: "limit", Args: "rate 1/second"},
					state,
					netfilter.VMap{Fields: []netfilter.Operand{{Field: netfilter.IIFName}}, Set: "m"},
					netfilter.Assign{Field: netfilter.Mark, And: netfilter.Value{Hi: ^uint64(0), Lo: ^uint64(0)}, Xor: netfilter.Num(7)},
					netfilter.Stmt{Name: "counter"},
					netfilter.Verdict{Kind: netfilter.Drop},
				}}}}},
				Sets: []*netfilter.Set{{Name: "m", Types: []string{"ifname"}, Map: true, Verdicts: true, Elements: []netfilter.Element{{
					Key: []netfilter.Interval{netfilter.Names("eth+")}, Verdict: &netfilter.Verdict{Kind: netfilter.Jump, Chain: "c"},
				}}, CatchAll: &netfilter.Element{Data: []netfilter.Value{netfilter.Num(3)}}}},
				Objects: []netfilter.Object{{Kind: "counter", Name: "n"}},
			}},
			Generation: Known(uint32(9)), HookOrder: Absent[[]HookEntry](),
		},
		Conntrack: Conntrack{Count: Known(uint64(3)), Second: &Counters{Stats: Known(map[string]uint64{"invalid": 7})}, Interval: 1.5},
		Topology: Topology{
			Links:      Known([]Link{{Index: 2, Name: "eth0", Type: 1, Up: true, PeerNS: new(int32)}}),
			Namespaces: Known([]Namespace{{ID: 4026531840, PIDs: []int{7}, Sysctl: map[string]Value[string]{"x": Known("1")}}}),
		},
	}
}

func TestRoundTrip(t *testing.T) {
	doc := sample()
	first := encode(t, doc)
	got, err := Decode(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(doc, got, sameDocument); diff != "" {
		t.Errorf("decoded document differs (-want +got):\n%s", diff)
	}
	if second := encode(t, got); !bytes.Equal(first, second) {
		t.Errorf("encoding what was decoded differs:\n%s", cmp.Diff(string(first), string(second)))
	}
}

// The layout does not depend on how the encoder cuts what it writes.
func TestLayoutInPieces(t *testing.T) {
	compact, err := jsonv2.Marshal(sample(), codecOptions())
	if err != nil {
		t.Fatal(err)
	}
	want := string(encode(t, sample()))
	for _, size := range []int{1, 2, 7, 100, len(compact)} {
		var out strings.Builder
		l := &layout{w: &out}
		for piece := range slices.Chunk(compact, size) {
			if n, err := l.Write(piece); err != nil || n != len(piece) {
				t.Fatal(n, err)
			}
		}
		if have := out.String() + "\n"; have != want {
			t.Errorf("pieces of %d bytes: %s", size, cmp.Diff(want, have))
		}
	}
}

func TestStatesStayApart(t *testing.T) {
	got, err := Decode(bytes.NewReader(encode(t, sample())))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := got.Kernel.Modules.Get(); !ok || len(v) != 0 {
		t.Errorf("known empty list: got %v, %v", v, ok)
	}
	if v, ok := got.Kernel.CPUs.Get(); !ok || v != 0 {
		t.Errorf("known zero: got %v, %v", v, ok)
	}
	if v, ok := got.Kernel.Version.Get(); !ok || v != "" {
		t.Errorf("known empty string: got %q, %v", v, ok)
	}
	if !got.Kernel.Config.IsAbsent() {
		t.Error("absent: got another state")
	}
	if why, _ := got.Kernel.MemoryKiB.Why(); !got.Kernel.MemoryKiB.IsUnreadable() || why != "not collected" {
		t.Errorf("never asked: got %q", why)
	}
	if why, hint := got.Sysctl.Live["net.netfilter.nf_conntrack_max"].Why(); why != "permission denied" || hint != "run as root" {
		t.Errorf("unreadable: got %q, %q", why, hint)
	}
}

// TestStandardJSON: other encoders see the same three forms.
func TestStandardJSON(t *testing.T) {
	for want, v := range map[string]any{
		`{"value":""}`: Known(""), `{"value":[]}`: Known[[]int](nil), `{"value":0}`: Known(0), `{"absent":true}`: Absent[int](),
		`{"unreadable":"why","hint":"how"}`: Unreadable[int]("why", "how"), `{"unreadable":"not collected"}`: Value[int]{},
	} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	var v Value[[]int]
	if err := json.Unmarshal([]byte(`{"value":[1]}`), &v); err != nil || len(v.Or(nil)) != 1 {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := string(encode(t, sample()))
	edit := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the sample has no %q", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	for name, c := range map[string]struct{ in, want string }{
		"empty":             {"", "decode snapshot: empty"},
		"not json":          {"hello", `begins with "hello": this is no snapshot`},
		"other json":        {"[]", "/: a list where an object is expected"},
		"no version":        {"{}", "no version"},
		"future version":    {edit(`"version": 1`, `"version": 2`), `version 2: this build reads version 1; audit it with the ctaudit that wrote it ("ctaudit test") or a newer one`},
		"version a string":  {edit(`"version": 1`, `"version": "1"`), "/version: a string where a whole number is expected"},
		"unknown field":     {edit(`"vendor"`, `"vender"`), "/kernel/vender: unknown field"},
		"other case":        {edit(`"vendor"`, `"Vendor"`), "/kernel/Vendor: unknown field"},
		"unknown in value":  {edit(`{"value": 0}`, `{"value": 0, "x": 1}`), "/kernel/cpus/x: unknown field"},
		"doubled field":     {edit(`"vendor": "mainline"`, `"vendor": "a", "vendor": "b"`), "/kernel/vendor: duplicate object member name"},
		"missing field":     {edit(`"vendor": "mainline",`, ``), `/kernel: no field "vendor"`},
		"missing rules":     {edit(`"rules"`, `"comment"`), "/iptables/tables/0/chains/0/comment: unknown field"},
		"wrong type":        {edit(`{"value": 0}`, `{"value": "0"}`), "/kernel/cpus/value: a string where a whole number is expected"},
		"fraction":          {edit(`{"value": 0}`, `{"value": 0.5}`), "/kernel/cpus/value:"},
		"negative":          {edit(`"packets": 0`, `"packets": -1`), "/iptables/tables/0/chains/0/base/counters/packets:"},
		"null list":         {edit(`"modules": {"value": []}`, `"modules": {"value": null}`), "/kernel/modules/value: null where a list is expected"},
		"null string":       {edit(`"vendor": "mainline"`, `"vendor": null`), "/kernel/vendor: null where a string is expected"},
		"two forms":         {edit(`{"value": 0}`, `{"value": 0, "absent": true}`), "/kernel/cpus: a value needs exactly one of value, absent, unreadable"},
		"no form":           {edit(`{"value": 0}`, `{}`), "/kernel/cpus: a value needs exactly one of"},
		"absent false":      {edit(`{"absent": true}`, `{"absent": false}`), "a value needs exactly one of"},
		"trailing document": {good + "{}", "after top-level value"},
		"long string":       {edit(`"vendor": "mainline"`, `"vendor": "`+strings.Repeat("x", 2<<20)+`"`), "/kernel/vendor: a string of 2097154 bytes, more than 1048576"},
		"gzip":              {"\x1f\x8b\x08\x00\x00", "compressed with gzip: unpack it first (gzip -dc)"},
		"zstd":              {"\x28\xb5\x2f\xfd\x00", "compressed with zstd: unpack it first (zstd -dc)"},
		"UTF-16":            {"\xff\xfe{\x00", "UTF-16, as PowerShell writes it: convert it to UTF-8"},
		"UTF-16 big":        {"\xfe\xff\x00{", "UTF-16, as PowerShell writes it: convert it to UTF-8"},
		"byte order mark":   {"\xef\xbb\xbf" + good, "begins with a byte order mark: remove it"},
		"trailing text":     {good + "x", "after top-level value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(strings.NewReader(c.in))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestDecodeCut: a document cut anywhere is an error that says so.
func TestDecodeCut(t *testing.T) {
	good := encode(t, sample())
	end := bytes.LastIndexByte(good, '}')
	for n := 1; n <= end; n++ {
		_, err := Decode(bytes.NewReader(good[:n]))
		if err == nil || !strings.Contains(err.Error(), "ends early") {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	_, err := Decode(bytes.NewReader(good[:bytes.Index(good, []byte("INVALID"))]))
	if want := "/iptables/tables/0/chains/0/rules/1/text: the document ends early"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDecodeDeepAndBroken(t *testing.T) {
	deep := `{"version":1,"kernel":` + strings.Repeat("[", 1<<20)
	if _, err := Decode(strings.NewReader(deep)); err == nil || !strings.Contains(err.Error(), "depth") {
		t.Errorf("deep: %.200v", err)
	}
	if _, err := Decode(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("read error: %v", err)
	}
}

// TestRecorded: documents of every released version decode for ever. Never rewrite one; add one for a new version.
func TestRecorded(t *testing.T) {
	const v1 = "testdata/version1.json"
	if _, err := os.Stat(v1); *update && errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(v1, encode(t, sample()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(v1)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if doc.Host != "web-1" || len(doc.IPTables.Tables) != 1 || len(doc.NFTables.Tables[0].Chains[0].Rules[0].Ops) != 7 {
		t.Errorf("version 1 lost content: %+v", doc)
	}
}

func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	if err := Encode(&b, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":1,"kernel":{"cpus":{"value":null}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		doc, err := Decode(bytes.NewReader(in))
		if err != nil {
			return
		}
		once := encode(t, doc)
		again, err := Decode(bytes.NewReader(once))
		if err != nil {
			t.Fatalf("what was decoded does not decode again: %v\n%s", err, once)
		}
		if twice := encode(t, again); !bytes.Equal(once, twice) {
			t.Fatalf("not stable:\n%s\n%s", once, twice)
		}
	})
}

// large is the shape of a kube-proxy node: n rules in chains of ten.
func large(n int) *Document {
	doc := sample()
	table := doc.IPTables.Tables[0]
	for i := range n / 10 {
		c := &netfilter.Chain{Name: fmt.Sprintf("KUBE-SVC-%016X", i)}
		for j := range 10 {
			c.Rules = append(c.Rules, &netfilter.Rule{
				Number: j + 1, Line: i*10 + j, Comment: "default/service:http", Counters: &netfilter.Counters{Packets: uint64(i)},
				Text: fmt.Sprintf(`-d 10.96.%d.%d/32 -p tcp -m comment --comment "default/service:http" -m tcp --dport 80 -j KUBE-SEP-%016X`, i>>8&255, i&255, j),
			})
		}
		table.Chains = append(table.Chains, c)
	}
	return doc
}

func BenchmarkEncode(b *testing.B) {
	doc := large(100_000)
	for b.Loop() {
		if err := Encode(io.Discard, doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	in := encode(b, large(100_000))
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, err := Decode(bytes.NewReader(in)); err != nil {
			b.Fatal(err)
		}
	}
}

func encode(t testing.TB, doc *Document) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, doc); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
