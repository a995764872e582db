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
type answered struct {
	plan    *probe.Plan
	printed []byte
}

func (a answered) Sinkless() {}

func (a answered) Fetch(context.Context, host.Request) (*host.Evidence, error) {
	return a.plan.Read(bytes.NewReader(a.printed), speedNonce, 256<<20)
}

const speedNonce = "00000000000000000000000000000000"

// BenchmarkAnswers is what a fleet costs a host behind the wire, up to the parsed snapshot: the answers of TestFleetSpeed are unpacked,
// made evidence, and parsed by all collectors.
func BenchmarkAnswers(b *testing.B) {
	labtest.Require(b, "root", "netns", "nft", "iptables")
	f := &speedFleet{t: b, dir: b.TempDir()}
	f.script = f.file("probe.sh", string(probeScript()))
	ff := &fleetFlags{}
	plan := probe.NewPlan(ff.request())
	var hosts []host.Host
	for _, shape := range speedShapes() {
		a, err := sshtest.ParseAnswer(shape.answer(b, f.script))
		if err != nil {
			b.Fatal(err)
		}
		hosts = append(hosts, answered{plan, append([]byte(sshtest.Marker(speedNonce, "gzip")), sshtest.Pack(a.Body(speedNonce))...)})
	}
	readers, err := collect.Prepare(registry.All(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer (&app{env: map[string]string{}}).fleetMemory()()
	opts := collect.Options{Sample: ff.sample, Tool: toolName()}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := hosts[i%len(hosts)].Fetch(b.Context(), host.Request{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			doc, _, err := readers.Run(b.Context(), hosts[i%len(hosts)], opts)
			if err != nil || len(doc.Collectors) == 0 {
				b.Fatal(err)
			}
		}
	})
}
