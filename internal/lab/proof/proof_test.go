package proof_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/proof"
	"github.com/ctaudit/ctaudit/internal/report/schematest"
)

var update = flag.Bool("update", false, "rewrite generated files")

// far and unseen are INVALID on every kernel; the others of the window's classes only on kernels without the fix of Linux 6.1.
const (
	far    = "SEQ over, far"
	unseen = "ACK of unseen data"
)

// invalid says whether conntrack calls the segment so without be_liberal; fix is the kernel's.
func invalid(injection, fix string) bool {
	return injection == far || injection == unseen || fix == "none" && injection != proof.Control
}

func prove(t *testing.T, o proof.Options) *proof.Result {
	t.Helper()
	labtest.Require(t, "root", "netns", "afpacket")
	r, err := proof.Prove(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// want is the run as theory has it for a kernel with that fix: where the segment goes, and what it provokes.
func want(r proof.Run, fix string) (counted int, delivered, connection string, reset *proof.Reset) {
	liberal := r.Workaround == "be_liberal" || r.Workaround == "both"
	switch {
	case r.Injection == proof.Control:
		return 0, "no", "alive", nil
	case r.Injection == proof.OutsideRST, !liberal && invalid(r.Injection, fix):
		counted = 1
	default:
		return 0, "translated", "alive", nil
	}
	dropped := r.Workaround == "mangle" || r.Question == proof.QuestionA && (r.Workaround == "INPUT" || r.Workaround == "both") ||
		r.Question == proof.QuestionB && r.Workaround == "FORWARD"
	delivered = "no"
	if r.Question == proof.QuestionB && !dropped {
		delivered = "untranslated"
	}
	by := map[string]string{proof.QuestionA: "router", proof.QuestionB: "pod"}[r.Question]
	switch {
	case dropped || r.Injection == proof.OutsideRST:
		return counted, delivered, "alive", nil
	case r.Injection == proof.StaleAck:
		return counted, delivered, "alive", &proof.Reset{By: by, Seq: 10110467, Window: "outside", Taken: "reset"}
	case r.Injection == unseen:
		return counted, delivered, "alive", &proof.Reset{By: by, Seq: 10422531, Window: "outside", Taken: "reset"}
	}
	return counted, delivered, "reset", &proof.Reset{By: by, Seq: 10149475, Window: "next", Taken: "reset"}
}

func TestTableOfThisKernel(t *testing.T) {
	d := prove(t, proof.Options{}).Document
	if len(d.Runs) != 2*2*len(proof.Workarounds())*len(proof.Injections()) {
		t.Errorf("%d runs", len(d.Runs))
	}
	if d.KernelFix != "partial" && d.KernelFix != "none" {
		t.Errorf("the kernel fix of %s is %q", d.Kernel, d.KernelFix)
	}
	for _, r := range d.Runs {
		counted, delivered, connection, reset := want(r, d.KernelFix)
		name := strings.Join([]string{r.Question, r.Family, r.Workaround, r.Injection}, ", ")
		if r.Invalid != counted || r.Delivered != delivered || r.Connection != connection {
			t.Errorf("%s: invalid %d, delivered %s, connection %s; want %d, %s, %s",
				name, r.Invalid, r.Delivered, r.Connection, counted, delivered, connection)
		}
		if (reset == nil) != (r.Reset == nil) || reset != nil && *reset != *r.Reset {
			t.Errorf("%s: reset %+v, want %+v", name, r.Reset, reset)
		}
		evidence(t, name, r)
	}
}

// evidence holds the packets against what the run says of them.
func evidence(t *testing.T, name string, r proof.Run) {
	t.Helper()
	server, client := 0, 0 // resets towards the server on each wire
	for _, p := range r.Packets {
		if p.Flags != "RST" || !strings.HasSuffix(p.Dst, ":80") && !strings.HasSuffix(p.Dst, ":8080") {
			continue
		}
		if p.Wire == "client" {
			client++
			continue
		}
		server++
		if r.Reset != nil && p.Seq != r.Reset.Seq {
			t.Errorf("%s: a RST of %d on the wire, the run says %d", name, p.Seq, r.Reset.Seq)
		}
	}
	if (server > 0) != (r.Reset != nil) || (client > 0) != (r.Reset != nil && r.Reset.By == "pod") {
		t.Errorf("%s: %d resets on the server's wire, %d on the client's; the run says %+v", name, server, client, r.Reset)
	}
	if r.Injection == proof.StaleAck && (len(r.Packets) == 0 || r.Packets[0].Ack != 10110467 || r.Packets[0].Window != 173056 || r.Packets[0].Seq != 26) {
		t.Errorf("%s: the stale ACK is not first in the evidence: %+v", name, r.Packets)
	}
}

func TestOptionsNarrow(t *testing.T) {
	d := prove(t, proof.Options{
		Questions: []string{proof.QuestionB}, Families: []string{proof.IPv6}, Workarounds: []string{"mangle"},
	}).Document
	if len(d.Runs) != len(proof.Injections()) || d.KernelFix != "unknown" {
		t.Errorf("%d runs, kernel fix %s", len(d.Runs), d.KernelFix)
	}
	for _, r := range d.Runs {
		if r.Question != proof.QuestionB || r.Family != proof.IPv6 || r.Workaround != "mangle" {
			t.Errorf("run %+v was not asked for", r)
		}
	}
}

func TestEndsWithItsContext(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket")
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("enough")
	cancel(stop)
	if _, err := proof.Prove(ctx, proof.Options{}); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

// descriptors counts the open ones: sockets and namespaces.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestKeepsNothingOpen(t *testing.T) {
	o := proof.Options{Questions: []string{proof.QuestionA}, Families: []string{proof.IPv4}, Workarounds: []string{proof.NoWorkaround}}
	prove(t, o)
	before := descriptors(t)
	prove(t, o)
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestCaptures(t *testing.T) {
	r := prove(t, proof.Options{
		Questions: []string{proof.QuestionA}, Families: []string{proof.IPv4}, Workarounds: []string{proof.NoWorkaround}, Captures: true,
	})
	dir := t.TempDir()
	if err := r.Save(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2*len(proof.Injections()) {
		t.Errorf("files %v, %v", files, err)
	}
	// The client's wire never carries the segment that conntrack calls INVALID, nor the router's RST; the server's has both.
	server := capture(t, filepath.Join(dir, "a-ipv4-none-seq-over-far.server.pcap"))
	client := capture(t, filepath.Join(dir, "a-ipv4-none-seq-over-far.client.pcap"))
	if server.syn != 2 || client.syn != 2 || server.octets < 10<<20*98/100 || client.octets < 10<<20*98/100 {
		t.Errorf("server's wire %+v, client's %+v", server, client)
	}
	if server.resets != 2 || client.resets != 1 {
		t.Errorf("resets: %d on the server's wire (want the router's and the server's), %d on the client's (want the server's)", server.resets, client.resets)
	}
}

// traffic is what a capture has: segments with SYN, segments with RST, octets of payload.
type traffic struct{ syn, resets, octets int }

func capture(t *testing.T, path string) (sum traffic) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := pcapgo.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return sum
		}
		if err != nil {
			t.Fatal(err)
		}
		tcp, ok := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok {
			t.Fatalf("%s: a frame without TCP", path)
		}
		if tcp.SYN {
			sum.syn++
		}
		if tcp.RST {
			sum.resets++
		}
		sum.octets += info.Length - 14 - 20 - 4*int(tcp.DataOffset)
	}
}

func TestPublishedSchema(t *testing.T) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	o := schematest.Options{Name: "proof-1", Root: proof.Document{}, Dirs: []string{"internal/lab/proof"}}
	schematest.UpToDate(t, filepath.Join(here, "proof.schema.json"), schematest.Generate(t, filepath.Join(here, "../../.."), o), *update)
}

func TestDocumentIsValid(t *testing.T) {
	d := prove(t, proof.Options{Questions: []string{proof.QuestionA}, Families: []string{proof.IPv4}}).Document
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	schematest.Validate(t, proof.Schema(), b)
}
