package topology

import (
	"encoding/binary"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// recorded is evidence with the dumps of testdata.
func recorded(t testing.TB) *host.Evidence {
	t.Helper()
	ev := &host.Evidence{Answers: map[string]*host.Answer{namespacesNeed().Key(): {Absent: true}}}
	for _, name := range dumpNames() {
		b, err := os.ReadFile(fixture(name))
		if err != nil {
			t.Fatal(err)
		}
		ev.Answers[netlinkNeed(name).Key()] = &host.Answer{Data: b}
	}
	return ev
}

func TestRecordedDumps(t *testing.T) {
	topology := section1(t, recorded(t))
	byName := map[string]snapshot.Link{}
	for _, l := range must(t, topology.Links) {
		byName[l.Name] = l
	}
	if l := byName["veth0"]; l.Kind != "veth" || l.PeerNS == nil || l.Peer == 0 || !l.Up || len(l.TCPrograms) != 1 {
		t.Errorf("veth0: %+v", l)
	}
	if l := byName["a0"]; l.Master != byName["br0"].Index || l.Peer != byName["b0"].Index || l.PeerNS != nil {
		t.Errorf("a0: %+v", l)
	}
	if l := byName["d0"]; l.Group != 7 || byName["lo"].Type != unix.ARPHRD_LOOPBACK || !byName["lo"].Loopback {
		t.Errorf("d0: %+v, lo: %+v", l, byName["lo"])
	}
	for _, r := range must(t, topology.Routes) {
		if r.Dst == "198.51.100.0/24" && len(r.Links) != 2 {
			t.Errorf("multipath route: %+v", r)
		}
	}
	if len(must(t, topology.Namespaces)) != 0 {
		t.Errorf("namespaces: %+v, want an empty list", topology.Namespaces)
	}
}

// netlinkError is an NLMSG_ERROR message with an errno.
func netlinkError(errno int32) []byte {
	b := make([]byte, 20)
	binary.NativeEndian.PutUint32(b, 20)
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_ERROR)
	binary.NativeEndian.PutUint32(b[16:], uint32(-errno))
	return b
}

func TestWhatCannotBeReadIsMissing(t *testing.T) {
	links, err := os.ReadFile(fixture(host.DumpLinks))
	if err != nil {
		t.Fatal(err)
	}
	shortAttribute := append([]byte{}, links...)
	shortAttribute[unix.NLMSG_HDRLEN+unix.SizeofIfInfomsg] = 3 // an attribute shorter than its own header
	tests := []struct {
		name   string
		answer host.Answer
		why    string
	}{
		{"permission", host.Answer{Err: "permission denied", Denied: true}, "permission denied"},
		{"no such dump", host.Answer{Absent: true}, "not available"},
		{"cut by the reader", host.Answer{Data: links, Truncated: true}, "cut at"},
		{"cut in a header", host.Answer{Data: links[:7]}, "header cut"},
		{"cut in a message", host.Answer{Data: links[:len(links)-9]}, "bytes left"},
		{"bad attribute", host.Answer{Data: shortAttribute}, "attribute"},
		{"kernel's error", host.Answer{Data: netlinkError(int32(unix.EPERM))}, "operation not permitted"},
		{"message of its header alone", host.Answer{Data: []byte{16, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}, "shorter than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ev := recorded(t)
			ev.Answers[netlinkNeed(host.DumpLinks).Key()] = &tt.answer
			var doc snapshot.Document
			missing := New().Collect(ev, &doc)
			if len(missing) != 1 || missing[0].What != "links" || !strings.Contains(missing[0].Why, tt.why) {
				t.Errorf("missing: %+v, want links: ...%s...", missing, tt.why)
			}
			if !doc.Topology.Links.IsUnreadable() || doc.Topology.Routes.IsUnreadable() {
				t.Errorf("links %+v, routes %+v", doc.Topology.Links, doc.Topology.Routes)
			}
		})
	}
}

func TestTornDumpIsSaid(t *testing.T) {
	ev := recorded(t)
	routes := ev.Answers[netlinkNeed(host.DumpRoutes).Key()].Data
	binary.NativeEndian.PutUint16(routes[6:], binary.NativeEndian.Uint16(routes[6:])|unix.NLM_F_DUMP_INTR)
	var doc snapshot.Document
	missing := New().Collect(ev, &doc)
	if len(missing) != 1 || missing[0].Why != "changed while being read" || doc.Topology.Routes.IsUnreadable() {
		t.Errorf("missing: %+v", missing)
	}
}

func TestUnreadableQdiscsAreMayDrop(t *testing.T) {
	ev := recorded(t)
	ev.Answers[netlinkNeed(host.DumpQdiscs).Key()] = &host.Answer{Err: "permission denied", Denied: true}
	var doc snapshot.Document
	New().Collect(ev, &doc)
	for _, l := range must(t, doc.Topology.Links) {
		if len(l.TCPrograms) != 1 || !strings.HasPrefix(l.TCPrograms[0], "unknown") {
			t.Errorf("%s: %q", l.Name, l.TCPrograms)
		}
	}
}

func TestMultiModeXDP(t *testing.T) {
	attribute := func(kind uint16, body ...byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(body)))
		return append(binary.NativeEndian.AppendUint16(b, kind), append(body, make([]byte, -len(body)&3)...)...)
	}
	id := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	body := make([]byte, unix.SizeofIfInfomsg)
	nested := append(attribute(unix.IFLA_XDP_ATTACHED, 4), attribute(unix.IFLA_XDP_DRV_PROG_ID, id(42)...)...)
	body = append(body, attribute(unix.IFLA_XDP|unix.NLA_F_NESTED, nested...)...)
	l, _, err := parseLink(message{body: body})
	if err != nil || l.XDP != 42 {
		t.Errorf("%+v, %v", l, err)
	}
}

// The same evidence must give the same section, whatever order maps come in.
func TestCollectIsDeterministic(t *testing.T) {
	first := section1(t, recorded(t))
	for range 10 {
		if again := section1(t, recorded(t)); !reflect.DeepEqual(first, again) {
			t.Fatalf("%+v, then %+v", first, again)
		}
	}
}

func FuzzCollect(f *testing.F) {
	for i, name := range dumpNames() {
		b, err := os.ReadFile(fixture(name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
		f.Add(uint8(i), b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		name := dumpNames()[int(which)%len(dumpNames())]
		ev := &host.Evidence{Answers: map[string]*host.Answer{netlinkNeed(name).Key(): {Data: data}}}
		var doc snapshot.Document
		missing := New().Collect(ev, &doc)
		read := 0
		for _, unreadable := range []bool{
			doc.Topology.Links.IsUnreadable(), doc.Topology.Addresses.IsUnreadable(), doc.Topology.Routes.IsUnreadable(),
			doc.Topology.Rules.IsUnreadable(),
		} {
			if !unreadable {
				read++
			}
		}
		if read > 1 || len(missing) < 5 { // five needs were not answered at all
			t.Errorf("%d sections read, missing %+v", read, missing)
		}
	})
}
