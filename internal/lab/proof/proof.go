// Package proof puts the question to the kernel itself: in throw-away namespaces a real client uploads through a router with
// NAT, the server (a scripted TCP peer) sends one odd segment, and what conntrack, the router and the connection make of it is
// written down with the packets as evidence.
//
//	client c0 -- veth-c ROUTER up0 -- s0 server
//
// Question A: the router masquerades, as a container engine does. Question B: it translates a Service address to the server,
// which is a pod, as kube-proxy does.
//
// # Whether the connection dies
//
// A RST carries the number that the odd segment acknowledged. Where that is the number which the server expects next (data out
// of place with an up-to-date ACK), every server takes it, and the connection is dead. A stale ACK's number lies below all that
// the server has acknowledged since, for conntrack calls only such an ACK INVALID as is late by more than a whole window: a
// server by RFC 9293 discards the RST, Linux does, and data still flows.
//
// The server in the capture of moby/libnetwork#1090 took it: it acknowledged all that was sent before the RST, up to 10322531,
// and nothing after, though the RST said 10110467. It was no Linux, whose resets have window 0: its own say 8397824, and its
// other segments 173056, which the same scale makes 8201 and 169 units of 1024; 8201 is what NetScaler load balancers put there
// for a segment of a connection that they do not know. So the proof says both: Run.Connection is what a strict server makes of
// the RST, Reset.Taken what comes of one that takes it wherever it lies.
//
// Everything runs on one thread pinned to one CPU, so that segments pass the kernel's backlog in order, and ARP fences tell
// when the kernel has done with them: nothing here waits for a while and hopes.
package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/lab"
)

// Version of the document; it rises when a field changes its meaning or goes away.
const Version = 1

// Document is what `ctaudit prove -f json` prints.
type Document struct {
	Version int       `json:"version"`
	Tool    string    `json:"tool"`
	Kernel  string    `json:"kernel"` // release of the running kernel (uname -r)
	Time    time.Time `json:"time"`
	// KernelFix is what conntrack of this kernel does without a workaround: "none", it calls the stale ACK INVALID; "partial",
	// not the stale ACK but others of the segments; "full", none of them.
	KernelFix string `json:"kernel_fix"`
	Runs      []Run  `json:"runs"`
}

// Run is one connection with one segment injected.
type Run struct {
	Question   string `json:"question"`   // A: masquerade; B: a Service's DNAT
	Family     string `json:"family"`     // ipv4 or ipv6
	Workaround string `json:"workaround"` // one of the names of [Workarounds]
	Injection  string `json:"injection"`  // one of the names of [Injections]
	// Invalid counts the segments of the injection that conntrack called INVALID: 1 or 0. It is the growth of the router's
	// "invalid" counter without the RST, which is INVALID itself.
	Invalid int `json:"invalid"`
	// Delivered says how the segment reached the client: "translated" back, "untranslated" (question B), or "no".
	Delivered string `json:"delivered"`
	// Reset is the RST that the segment provoked, as the server saw it.
	Reset *Reset `json:"reset,omitempty"`
	// Connection is what became of it: "alive", data still flows; "reset", the client's socket has an error; "stalled", neither.
	Connection string `json:"connection"`
	// Packets are those of both wires from the injection on, each wire in its order.
	Packets []Packet `json:"packets"`
}

// Reset is a RST on the server's wire.
type Reset struct {
	By  string `json:"by"`  // router, or pod: the client's own stack, which knows no such connection
	Seq uint32 `json:"seq"` // relative to the client's first
	// Window is where it lies in the server's receive window: "next", every server takes it; "inside", a server by RFC 793 takes
	// it, one by RFC 5961 sends a challenge; "outside", a server by either discards it, as Linux does.
	Window string `json:"window"`
	// Taken is what becomes of the connection when the server takes the RST wherever it lies, with the words of Run.Connection.
	Taken string `json:"taken"`
}

// Packet is a TCP segment with sequence numbers relative to the connection's first, as analysers print them.
type Packet struct {
	Wire   string `json:"wire"` // server or client
	Src    string `json:"src"`
	Dst    string `json:"dst"`
	Flags  string `json:"flags"`
	Seq    uint32 `json:"seq"`
	Ack    uint32 `json:"ack"`
	Window uint32 `json:"window"` // scaled
	Length int    `json:"length"` // octets of payload
}

// Options say what to prove; empty lists mean everything.
type Options struct {
	Questions, Families, Workarounds []string
	Captures                         bool // keep every frame for [Result.Save]
}

// Questions and families.
const (
	QuestionA = "A"
	QuestionB = "B"
	IPv4      = "ipv4"
	IPv6      = "ipv6"
)

// Result is the document, and the captures when they were asked for.
type Result struct {
	Document Document
	captures []capture
}

// Prove builds the scenes and runs every injection under every workaround. An error that wraps [*Unavailable] means that the
// proof cannot be run here. When the context ends it stops between two runs.
func Prove(ctx context.Context, o Options) (*Result, error) {
	if len(o.Questions) == 0 {
		o.Questions = []string{QuestionA, QuestionB}
	}
	if len(o.Families) == 0 {
		o.Families = []string{IPv4, IPv6}
	}
	parts := make([]part, len(o.Questions))
	group, ctx := errgroup.WithContext(ctx)
	for i, question := range o.Questions {
		group.Go(func() error {
			return lab.OnCPU(i, func() (err error) {
				parts[i], err = prove(ctx, question, o)
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	r := &Result{Document: Document{Version: Version, Kernel: release(), Time: time.Now().UTC().Truncate(time.Second)}}
	for _, p := range parts {
		r.Document.Runs = append(r.Document.Runs, p.runs...)
		r.captures = append(r.captures, p.captures...)
	}
	// By question, then family; within these they are in the order of the table.
	slices.SortStableFunc(r.Document.Runs, func(a, b Run) int {
		return cmp.Or(cmp.Compare(a.Question, b.Question), cmp.Compare(a.Family, b.Family))
	})
	r.Document.KernelFix = kernelFix(r.Document.Runs)
	return r, nil
}

// part is one question's share of the result.
type part struct {
	keep     bool // captures too
	runs     []Run
	captures []capture
}

func prove(ctx context.Context, question string, o Options) (p part, err error) {
	s, err := newScene(question)
	if err != nil {
		return p, err
	}
	defer s.close()
	p.keep = o.Captures
	for _, w := range Workarounds() {
		if !w.wanted(o.Workarounds) {
			continue
		}
		if err := s.apply(w); err != nil {
			return p, fmt.Errorf("workaround %s: %w", w.Name, err)
		}
		for _, family := range o.Families {
			if err := s.table(ctx, w, family, &p); err != nil {
				return p, fmt.Errorf("question %s, %s, workaround %s, %w", question, family, w.Name, err)
			}
		}
	}
	return p, nil
}

// table makes every injection under one workaround.
func (s *scene) table(ctx context.Context, w Workaround, family string, p *part) error {
	for _, injection := range Injections() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		run, frames, err := s.attempt(family, injection, p.keep)
		if err != nil {
			return fmt.Errorf("%s: %w", injection.Name, err)
		}
		run.Workaround = w.Name
		p.runs = append(p.runs, run)
		if p.keep {
			p.captures = append(p.captures, capture{run: run, frames: frames})
		}
	}
	return nil
}

// attempts are the connections that are tried for a run.
const attempts = 4

func (s *scene) attempt(family string, injection Injection, keep bool) (run Run, frames []frame, err error) {
	for range attempts {
		f := newFlow(s, family, keep)
		if run, err = f.run(injection); !errors.Is(err, errDisturbed) {
			return run, f.frames, err
		}
	}
	return run, nil, err
}

// kernelFix reads the runs without workaround. Without such runs it is "unknown".
func kernelFix(runs []Run) string {
	fix := "unknown"
	for _, r := range runs {
		switch {
		case r.Workaround != NoWorkaround:
		case r.Injection == StaleAck && r.Invalid > 0:
			return "none"
		case r.Invalid > 0 && r.Injection != OutsideRST:
			fix = "partial"
		case fix == "unknown":
			fix = "full"
		}
	}
	return fix
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
