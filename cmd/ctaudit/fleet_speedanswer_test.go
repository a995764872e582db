package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// answered is a host whose answer is there already.
type answered struct{ printed []byte }

func (a answered) Fetch(_ context.Context, req host.Request) (*host.Evidence, error) {
	return probe.Read(bytes.NewReader(a.printed), req, speedNonce, 256<<20)
}

const speedNonce = "00000000000000000000000000000000"

// BenchmarkAnswers is what a fleet costs a host behind the wire, up to the parsed snapshot: the answers of TestFleetSpeed are unpacked,
// made evidence, and parsed by all collectors.
func BenchmarkAnswers(b *testing.B) {
	labtest.Require(b, "root", "netns", "nft", "iptables")
	f := &speedFleet{t: b, dir: b.TempDir()}
	f.script = f.file("probe.sh", string(probeScript()))
	var hosts []host.Host
	for _, shape := range speedShapes() {
		a, err := sshtest.ParseAnswer(shape.answer(b, f.script))
		if err != nil {
			b.Fatal(err)
		}
		hosts = append(hosts, answered{append([]byte(sshtest.Marker(speedNonce, "gzip")), sshtest.Pack(a.Body(speedNonce))...)})
	}
	ff, readers := &fleetFlags{}, registry.All()
	defer (&app{env: map[string]string{}}).fleetMemory()()
	opts, req := collect.Options{Sample: ff.sample, Tool: toolName()}, host.Request{Needs: collect.NeedsOf(readers), Sample: ff.sample}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := hosts[i%len(hosts)].Fetch(b.Context(), req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			doc, _, err := collect.Run(b.Context(), hosts[i%len(hosts)], readers, opts)
			if err != nil || len(doc.Collectors) == 0 {
				b.Fatal(err)
			}
		}
	})
}
