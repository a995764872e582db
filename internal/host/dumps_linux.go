package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// nfnetlink subsystems and messages that x/sys does not name (include/uapi/linux/netfilter/nfnetlink.h,
// nfnetlink_conntrack.h, nfnetlink_hook.h; Linux 6.18).
const (
	subsysHook       = 12
	msgHookGet       = 0
	msgCTGetStatsCPU = 4
	attrHookNum      = 1 // NFNLA_HOOK_HOOKNUM
	attrHookDev      = 3 // NFNLA_HOOK_DEV
)

// extMask is IFLA_EXT_MASK with RTEXT_FILTER_SKIP_STATS: links without their counters (since 4.6).
const (
	attrExtMask = 29
	skipStats   = 8
)

// dumpSpec says how to ask for a dump.
type dumpSpec struct {
	protocol int
	module   string // kernel module that answers; "" when every kernel does
	request  request
	// young requests are unknown to old kernels, which refuse them with EINVAL even though the module is there.
	young bool
}

// dumpSpecOf finds a dump by its name; elements and hooks, which are many dumps each, have only protocol and module.
func dumpSpecOf(name string) (dumpSpec, bool) {
	if s, ok := rtnlDump(name); ok {
		return s, true
	}
	s := dumpSpec{protocol: unix.NETLINK_NETFILTER, module: "nf_tables"}
	switch name {
	case DumpNFTables:
		s.request = nftDump(unix.NFT_MSG_GETTABLE)
	case DumpNFChains:
		s.request = nftDump(unix.NFT_MSG_GETCHAIN)
	case DumpNFRules:
		s.request = nftDump(unix.NFT_MSG_GETRULE)
	case DumpNFSets:
		s.request = nftDump(unix.NFT_MSG_GETSET)
	case DumpNFElements:
	case DumpNFObjects:
		s.request, s.young = nftDump(unix.NFT_MSG_GETOBJ), true
	case DumpNFFlowtables:
		s.request, s.young = nftDump(unix.NFT_MSG_GETFLOWTABLE), true
	case DumpNFGen:
		s.request = request{typ: nfType(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETGEN), body: nfgenmsg(unix.AF_UNSPEC)}
	case DumpNFHooks:
		s.module, s.young = "nfnetlink_hook", true
	case DumpCTStats:
		s.module, s.young = "nf_conntrack_netlink", true
		s.request = request{typ: nfType(unix.NFNL_SUBSYS_CTNETLINK, msgCTGetStatsCPU), flags: unix.NLM_F_DUMP, body: nfgenmsg(unix.AF_UNSPEC)}
	default:
		return dumpSpec{}, false
	}
	return s, true
}

// rtnlDump covers rtnetlink, which every kernel with a network has. A body of zeros means every family. The dump of
// links gives an id to each namespace that a link leads to and that has none yet, as "ip link" does (net/core/rtnetlink.c
// rtnl_fill_link_netnsid); whoever moved the link there has had the same effect already.
func rtnlDump(name string) (dumpSpec, bool) {
	s := dumpSpec{protocol: unix.NETLINK_ROUTE, request: request{flags: unix.NLM_F_DUMP}}
	switch name {
	case DumpLinks:
		mask := native.AppendUint32(native.AppendUint16(native.AppendUint16(nil, 8), attrExtMask), skipStats)
		s.request.typ, s.request.body = unix.RTM_GETLINK, append(make([]byte, unix.SizeofIfInfomsg), mask...)
	case DumpAddresses:
		s.request.typ, s.request.body = unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg)
	case DumpRoutes:
		s.request.typ, s.request.body = unix.RTM_GETROUTE, make([]byte, unix.SizeofRtMsg)
	case DumpRules:
		s.request.typ, s.request.body = unix.RTM_GETRULE, make([]byte, unix.SizeofRtMsg)
	case DumpQdiscs:
		s.request.typ, s.request.body = unix.RTM_GETQDISC, make([]byte, 20) // struct tcmsg
	default:
		return dumpSpec{}, false
	}
	return s, true
}

func nfType(subsystem, message int) uint16 { return uint16(subsystem<<8 | message) }

// nfgenmsg is family, version 0 and resource id 0.
func nfgenmsg(family uint8) []byte { return []byte{family, 0, 0, 0} }

func nftDump(message int) request {
	return request{typ: nfType(unix.NFNL_SUBSYS_NFTABLES, message), flags: unix.NLM_F_DUMP, body: nfgenmsg(unix.AF_UNSPEC)}
}

// dumper reads Netlink needs in the namespace of its thread.
type dumper struct {
	modules *modules
}

// tries is how often a dump that was overtaken by a change is read again, with longer and longer pauses between.
const tries = 6

// readRTNL and its like read one dump.
func (d *dumper) read(ctx context.Context, n Need) *Answer {
	return d.readAll(ctx, []Need{n}, nil)[0]
}

// readAll reads dumps that belong together, in order. Those of nf_tables are read again, all of them, until no generation
// began meanwhile, so that rules, chains and sets fit each other.
func (d *dumper) readAll(ctx context.Context, needs []Need, sinks map[string]Sink) []*Answer {
	answers := make([]*Answer, len(needs))
	for try := range tries {
		if try > 0 {
			pause(ctx, time.Duration(5<<try)*time.Millisecond)
		}
		before, changed := d.generation(ctx, needs), false
		for i, n := range needs {
			answers[i] = d.onceTo(ctx, n, sinkOf(n, sinks))
			changed = changed || answers[i].Err == errChanged.Error()
		}
		if !changed && d.generation(ctx, needs) == before {
			return answers
		}
	}
	for _, a := range answers {
		if !a.Absent && a.Err == "" {
			*a = Answer{Err: errChanged.Error()}
		}
	}
	return answers
}

// generation is nf_tables' own counter as raw message, when one of the needs depends on it.
func (d *dumper) generation(ctx context.Context, needs []Need) string {
	for _, n := range needs {
		if strings.HasPrefix(n.Args[0], "nft/") && n.Args[0] != DumpNFHooks {
			return string(withoutHeader(d.once(ctx, Need{Kind: Netlink, Args: []string{DumpNFGen}}).Data))
		}
	}
	return ""
}

// withoutHeader drops the header, whose port number differs from socket to socket, and the name of the process, which
// the kernel appends behind the number.
func withoutHeader(b []byte) []byte {
	if len(b) < nlHeader+12 {
		return nil
	}
	return b[nlHeader : nlHeader+12] // nfgenmsg and NFTA_GEN_ID
}

// sinkOf is the sink of a need that can have one.
func sinkOf(n Need, sinks map[string]Sink) Sink {
	if n.Sampled || n.Args[0] == DumpNFHooks {
		return nil
	}
	return sinks[n.Key()]
}

// once reads a dump once.
func (d *dumper) once(ctx context.Context, n Need) *Answer { return d.onceTo(ctx, n, nil) }

// onceTo reads a dump once, into the sink if there is one.
func (d *dumper) onceTo(ctx context.Context, n Need, sink Sink) *Answer {
	spec, ok := dumpSpecOf(n.Args[0])
	if !ok {
		return &Answer{Err: fmt.Sprintf("no such dump: %s", n.Args[0])}
	}
	var there moduleState
	if spec.module != "" {
		if there = d.modules.state(spec.module); there.err != nil {
			return &Answer{Err: there.err.Error()}
		}
		if !there.there {
			return &Answer{Absent: true}
		}
	}
	r := &dumpRun{ctx: ctx, spec: spec, limit: n.Cap(), sink: sink}
	defer r.close()
	r.begin()
	err := r.run(n.Args[0])
	// An unknown subsystem or message is EINVAL (nfnetlink_rcv_msg); so it means absent where it may be unknown.
	if errors.Is(err, unix.EINVAL) && spec.module != "" && (there.askIt || spec.young) {
		return &Answer{Absent: true}
	}
	if err != nil {
		return failed(err)
	}
	if r.sink != nil {
		r.out.handOver()
		return &Answer{Sink: r.sink, Truncated: r.truncated}
	}
	return &Answer{Data: r.out.take(), Truncated: r.truncated}
}

// dumpRun is one dump, or one after the other, into one answer.
type dumpRun struct {
	ctx       context.Context
	spec      dumpSpec
	limit     int64
	socket    *nlSocket
	out       spool
	truncated bool
	sink      Sink   // nil: the answer is kept whole
	expect    []byte // how the kernel's messages begin, see expected; nil: anyhow
}

// begin starts the answer, or starts it over.
func (r *dumpRun) begin() {
	r.out.drop()
	if r.sink != nil {
		r.out.to = r.sink.Piece
		r.sink.Begin()
	}
}

func (r *dumpRun) close() {
	r.hangUp()
	r.out.drop()
}

func (r *dumpRun) hangUp() {
	if r.socket != nil {
		r.socket.close()
		r.socket = nil
	}
}

func (r *dumpRun) run(name string) error {
	switch name {
	case DumpNFElements:
		return r.elements()
	case DumpNFHooks:
		return r.hooks()
	case DumpNFRules:
		return r.rules()
	}
	cut, err := r.ask(r.spec.protocol, r.spec.request, r.limit)
	r.truncated = cut
	return err
}

// ask dumps into the answer until it holds more than limit bytes.
func (r *dumpRun) ask(protocol int, q request, limit int64) (cut bool, err error) {
	if r.socket == nil {
		if r.socket, err = dialNetlink(protocol); err != nil {
			return false, err
		}
	}
	cut, err = r.socket.dump(r.ctx, q, dumpTo{&r.out, limit, r.expect})
	if cut || err != nil {
		r.hangUp() // the kernel may still hold more of this dump
	}
	return cut, err
}

// aside dumps something that is needed to go on, and not part of the answer.
func (r *dumpRun) aside(protocol int, q request) ([]byte, error) {
	side := dumpRun{ctx: r.ctx}
	defer side.close()
	cut, err := side.ask(protocol, q, defaultLimit)
	if err == nil && cut {
		err = errors.New("too long")
	}
	return side.out.take(), err
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
