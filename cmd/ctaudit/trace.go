package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/render"
	"github.com/ctaudit/ctaudit/internal/render/json"
	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// traceFlags is the packet as the user wrote it.
type traceFlags struct {
	question, family, in, out  string
	src, dst, flags, state     string
	sport, dport, mark, format string
}

func (a *app) traceCommand() *cobra.Command {
	var (
		src source
		tf  traceFlags
	)
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Print a packet's path through this node's rules, hook by hook",
		Long: `Print what this node's rules do to a packet, hook by hook, with the rule that decides.

Without a packet: question A (a reply to a masqueraded flow, INVALID, arrives at the node) for every uplink and, where
Services are translated, question B (a backend's reply, INVALID, is forwarded to the client pod) for every link to pods.
With --src and --dst: the one packet described, delivered to the node, or forwarded when --out is given.`,
		Example: `  ctaudit trace
  ctaudit trace --question A --family ipv4 --in eth0 -f json
  ctaudit trace --in eth0 --src 203.0.113.9 --sport 443 --dst 198.51.100.1 --dport 31000 --flags ack --state invalid`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.trace(cmd.Context(), &src, tf) },
	}
	f := cmd.Flags()
	src.flags(f)
	f.StringVar(&tf.question, "question", "", "A or B (default: both)")
	f.StringVar(&tf.family, "family", "", "ipv4 or ipv6 (default: both)")
	f.StringVar(&tf.in, "in", "", "the interface the packet comes in by")
	f.StringVar(&tf.out, "out", "", "the interface it is forwarded to")
	f.StringVar(&tf.src, "src", "", "source `address`")
	f.StringVar(&tf.dst, "dst", "", "destination `address`")
	f.StringVar(&tf.sport, "sport", "443", "source `port`")
	f.StringVar(&tf.dport, "dport", "31000", "destination `port`")
	f.StringVar(&tf.flags, "flags", "ack", "TCP flags, separated by commas: fin, syn, rst, psh, ack, urg")
	f.StringVar(&tf.state, "state", "invalid", "what conntrack calls it: invalid, untracked, new, established, related")
	f.StringVar(&tf.mark, "mark", "0", "packet mark")
	f.StringVarP(&tf.format, "format", "f", "text", "text or json")
	return cmd
}

func (a *app) trace(ctx context.Context, src *source, tf traceFlags) error {
	if err := tf.check(); err != nil {
		return err
	}
	first := true
	return src.each(ctx, a.in, func(doc *snapshot.Document) error {
		answers, err := tf.answer(facts.Of(doc))
		if err != nil {
			return err
		}
		if tf.format == "json" {
			return a.traceJSON(doc.Host, answers)
		}
		for _, answer := range answers {
			if !first {
				fmt.Fprintln(a.out)
			}
			first = false
			r := reportAnswer(answer)
			if err := render.Trace(a.out, &r, "text", render.Options{Text: a.textOptions()}); err != nil {
				return unwritten(err)
			}
		}
		return nil
	})
}

func (a *app) traceJSON(host string, answers []packetpath.Answer) error {
	d := report.Trace{Host: host}
	worst := slices.MaxFunc(answers, func(x, y packetpath.Answer) int { return cmp.Compare(facts.Rank(x), facts.Rank(y)) })
	d.Answer = reportAnswer(worst)
	if len(answers) > 1 {
		for _, answer := range answers {
			d.All = append(d.All, reportAnswer(answer))
		}
	}
	b, err := json.Marshal(d, "")
	if err != nil {
		return err
	}
	_, err = a.out.Write(append(b, '\n'))
	return unwritten(err)
}

func (tf traceFlags) custom() bool { return tf.src != "" || tf.dst != "" }

// packet turns the flags into a query about one packet.
func (tf traceFlags) packet() (packetpath.Query, error) {
	q := packetpath.Query{Question: packetpath.Custom, In: tf.in, Out: tf.out, State: tf.state}
	if tf.src == "" || tf.dst == "" || tf.in == "" {
		return q, errors.New("a packet needs --in, --src and --dst")
	}
	src, err := netip.ParseAddr(tf.src)
	if err != nil {
		return q, fmt.Errorf("--src %q: not an address", tf.src)
	}
	dst, err := netip.ParseAddr(tf.dst)
	if err != nil {
		return q, fmt.Errorf("--dst %q: not an address", tf.dst)
	}
	src, dst = src.Unmap(), dst.Unmap()
	if src.Is4() != dst.Is4() {
		return q, errors.New("--src and --dst are of different families")
	}
	q.Family = netfilter.IP
	if src.Is6() {
		q.Family = netfilter.IP6
	}
	q.Src = []netip.Prefix{netip.PrefixFrom(src, src.BitLen())}
	q.Dst = []netip.Prefix{netip.PrefixFrom(dst, dst.BitLen())}
	return q, errors.Join(tf.ports(&q), tf.rest(&q))
}

func (tf traceFlags) ports(q *packetpath.Query) error {
	sport, err1 := strconv.ParseUint(tf.sport, 10, 16)
	dport, err2 := strconv.ParseUint(tf.dport, 10, 16)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("--sport %q --dport %q: want a port from 0 to 65535", tf.sport, tf.dport)
	}
	q.Sport = []packetpath.PortRange{{From: uint16(sport), To: uint16(sport)}}
	q.Dport = []packetpath.PortRange{{From: uint16(dport), To: uint16(dport)}}
	return nil
}

var (
	flagBits = map[string]uint8{"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32}
	states   = []string{"invalid", "untracked", "new", "established", "related"}
)

func (tf traceFlags) rest(q *packetpath.Query) error {
	var bits uint8
	for _, name := range strings.Split(tf.flags, ",") {
		b, ok := flagBits[strings.ToLower(strings.TrimSpace(name))]
		if !ok {
			return fmt.Errorf("--flags %q: want fin, syn, rst, psh, ack, urg", tf.flags)
		}
		bits |= b
	}
	q.Flags = []uint8{bits}
	mark, err := strconv.ParseUint(tf.mark, 0, 32)
	if err != nil {
		return fmt.Errorf("--mark %q: want a number of 32 bits", tf.mark)
	}
	q.Mark = uint32(mark)
	if q.State = strings.ToLower(tf.state); !slices.Contains(states, q.State) {
		return fmt.Errorf("--state %q: want one of %s", tf.state, strings.Join(states, ", "))
	}
	return nil
}

// wanted narrows the standard questions down to what the flags name.
func (tf traceFlags) wanted(a packetpath.Answer) bool {
	return (tf.family == "" || familyNames[strings.ToLower(tf.family)] == a.Family) &&
		(tf.in == "" || tf.in == a.Interface) && (tf.out == "" || tf.out == a.Interface)
}

var familyNames = map[string]netfilter.Family{"ipv4": netfilter.IP, "ip": netfilter.IP, "4": netfilter.IP, "ipv6": netfilter.IP6, "ip6": netfilter.IP6, "6": netfilter.IP6}

func (tf traceFlags) check() error {
	if tf.question != "" && !strings.EqualFold(tf.question, "A") && !strings.EqualFold(tf.question, "B") {
		return fmt.Errorf("--question %q: want A or B", tf.question)
	}
	if _, ok := familyNames[strings.ToLower(tf.family)]; tf.family != "" && !ok {
		return fmt.Errorf("--family %q: want ipv4 or ipv6", tf.family)
	}
	if !slices.Contains(render.TraceFormats(), tf.format) {
		return fmt.Errorf("--format %q: want one of %s", tf.format, strings.Join(render.TraceFormats(), ", "))
	}
	return nil
}

// answer runs the questions, or the packet, on one node.
func (tf traceFlags) answer(n *facts.Node) ([]packetpath.Answer, error) {
	if tf.custom() {
		q, err := tf.packet()
		if err != nil {
			return nil, err
		}
		a, err := n.Packet(q)
		return []packetpath.Answer{a}, err
	}
	var out []packetpath.Answer
	answers := n.Answers()
	if tf.question != "" {
		answers = n.Ask(packetpath.Question(strings.ToUpper(tf.question)))
	}
	for _, a := range answers {
		if tf.wanted(a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, withHint(errors.New("no question fits"), "the uplinks and links to containers of this node are: "+strings.Join(n.Interfaces(), ", "))
	}
	return out, nil
}
