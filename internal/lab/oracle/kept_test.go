package oracle_test

import (
	"context"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// workbench is a bench with its reader. A fresh one serves one case.
type workbench struct {
	*lab.Bench
	kept *oracle.Kept // nil: fresh
	host *steady
	docs map[bool]*snapshot.Document // a whole reading, by whether fwmark_reflect was on
}

func freshBench() (*workbench, error) {
	b, err := lab.NewBench()
	if err != nil {
		return nil, err
	}
	reader := &steady{Host: host.Local(host.LocalOptions{Namespace: b.Node.Path()}), fixed: map[string]*host.Answer{}}
	return &workbench{Bench: b, host: reader, docs: map[bool]*snapshot.Document{}}, nil
}

// Close takes it down, and its programs.
func (w *workbench) Close() {
	if w.kept == nil {
		w.Bench.Close()
		return
	}
	_ = w.kept.Close() // nothing is lost with a program that ends badly: each document was answered for
}

func (w *workbench) load(c oracle.Case) (oracle.Case, error) {
	if w.kept != nil {
		w.host.without = idlePrograms(c)
		return w.kept.Load(c)
	}
	return c.Load(w.Node)
}

// read is the node as our own collectors see it. A bench's links and addresses are parsed once, its sysctls once for either
// setting of fwmark_reflect.
func (w *workbench) read() (*snapshot.Document, error) {
	reflect := w.kept != nil && w.kept.Reflects()
	whole := w.docs[reflect]
	if w.kept == nil || whole == nil {
		doc, err := w.collect("sysctl", "iptables", "nftables", "topology")
		w.docs[reflect] = doc
		return doc, err
	}
	doc, err := w.collect("iptables", "nftables")
	if err != nil {
		return nil, err
	}
	doc.Sysctl, doc.Topology = whole.Sysctl, whole.Topology
	for i, c := range whole.Collectors {
		if c.Name == "sysctl" || c.Name == "topology" {
			doc.Collectors[i] = c
		}
	}
	return doc, nil
}

func (w *workbench) collect(only ...string) (*snapshot.Document, error) {
	doc, _, err := collect.Run(context.Background(), w.host, registry.All(), collect.Options{Only: only})
	return doc, err
}

// steady reads the programs' versions once, and leaves out programs that have nothing to print: to start one costs as much
// as to load a ruleset.
type steady struct {
	host.Host
	fixed   map[string]*host.Answer
	without []string
}

// Fetch reads what is not known yet.
func (s *steady) Fetch(ctx context.Context, req host.Request) (*host.Evidence, error) {
	asked := req.Needs
	req.Needs = slices.DeleteFunc(slices.Clone(asked), func(n host.Need) bool { return s.fixed[n.Key()] != nil || s.idle(n) })
	ev, err := s.Host.Fetch(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, n := range asked {
		switch key := n.Key(); {
		case s.idle(n):
			ev.Answers[key] = &host.Answer{Absent: true}
		case s.fixed[key] != nil:
			ev.Answers[key] = s.fixed[key]
		case n.Kind == host.Command && len(n.Args) == 2 && n.Args[1] == "-V":
			s.fixed[key] = ev.Answers[key]
		}
	}
	return ev, nil
}

func (s *steady) idle(n host.Need) bool {
	return n.Kind == host.Command && slices.ContainsFunc(s.without, func(program string) bool { return strings.HasPrefix(n.Args[0], program) })
}

// idlePrograms are the dumps of iptables-nft that a case leaves empty. One case in eight is read with all of them.
func idlePrograms(c oracle.Case) []string {
	if c.Seed%8 == 0 {
		return nil
	}
	out := []string{"iptables-nft-save", "ip6tables-nft-save"}
	for _, d := range c.Documents {
		if d.Backend == netfilter.IPTablesNFT {
			own := map[netfilter.Family]string{netfilter.IP: out[0], netfilter.IP6: out[1]}[d.Family]
			return slices.DeleteFunc(out, func(program string) bool { return program == own })
		}
	}
	return out
}

// benches are one worker's.
type benches struct {
	cpu  int
	kept map[netfilter.Family]*workbench
}

// take returns a bench for the case, an old one where one serves.
func (bs *benches) take(c oracle.Case) (*workbench, error) {
	kind := c.Kind()
	if w := bs.kept[kind]; w != nil {
		if w.kept.Serves() {
			return w, nil
		}
		w.Close()
		delete(bs.kept, kind)
	}
	w, err := freshBench()
	if err != nil {
		return nil, err
	}
	w.Range.CPU = bs.cpu
	w.kept = oracle.Keep(w.Bench, kind)
	if bs.kept == nil {
		bs.kept = map[netfilter.Family]*workbench{}
	}
	bs.kept[kind] = w
	return w, nil
}

func (bs *benches) close() {
	for _, w := range bs.kept {
		w.Close()
	}
}
