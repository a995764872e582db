package netfilter

// Op is one step of a rule: Match, Ext, Verdict, VMap, Assign or Stmt. The kernel runs them in order; the first match
// that fails ends the rule, and what earlier statements did stays done.
type Op interface{ op() string }

// Ops is a rule's steps in order. Its JSON form tags each step with "op".
type Ops []Op

// Field is what a match looks at, in nft's words where nft has one.
type Field string

// The fields that readers produce and the evaluator knows. Address fields name their family: "ip.saddr" on an IPv6 packet
// matches never, inverted or not. Widths in bits: Field.Bits.
const (
	IIFName  Field = "meta.iifname" // left-aligned name, see Value
	OIFName  Field = "meta.oifname"
	IIF      Field = "meta.iif" // interface index
	OIF      Field = "meta.oif"
	IIFGroup Field = "meta.iifgroup"
	OIFGroup Field = "meta.oifgroup"
	IIFType  Field = "meta.iiftype" // ARPHRD_*
	OIFType  Field = "meta.oiftype"
	IIFKind  Field = "meta.iifkind" // left-aligned rtnl link kind
	OIFKind  Field = "meta.oifkind"
	NFProto  Field = "meta.nfproto"  // 2 IPv4, 10 IPv6
	L4Proto  Field = "meta.l4proto"  // 6 TCP; also ip.protocol and the xtables -p
	EthProto Field = "meta.protocol" // ethertype: 0x0800, 0x86dd
	Mark     Field = "meta.mark"
	PktType  Field = "meta.pkttype" // 0 host, 1 broadcast, 2 multicast, 3 otherhost
	Length   Field = "meta.length"  // bytes, IP header included
	SKUID    Field = "meta.skuid"
	SKGID    Field = "meta.skgid"
	CGroup   Field = "meta.cgroup"
	Priority Field = "meta.priority"

	IPSaddr  Field = "ip.saddr"
	IPDaddr  Field = "ip.daddr"
	IP6Saddr Field = "ip6.saddr"
	IP6Daddr Field = "ip6.daddr"
	TTL      Field = "ip.ttl" // and ip6.hoplimit
	DSCP     Field = "ip.dscp"
	TOS      Field = "ip.tos"      // the whole byte
	FragOff  Field = "ip.frag-off" // 16 bits with the flags

	Sport    Field = "th.sport" // TCP or UDP or any transport: guarded by an L4Proto match before it
	Dport    Field = "th.dport"
	TCPFlags Field = "tcp.flags" // fin 1, syn 2, rst 4, psh 8, ack 16, urg 32, ece 64, cwr 128
	TCPSeq   Field = "tcp.sequence"
	TCPAck   Field = "tcp.ackseq"
	TCPWin   Field = "tcp.window"

	CTState Field = "ct.state" // bits: invalid 1, established 2, related 4, new 8, untracked 64 (NF_CT_STATE_BIT)

	FIBDaddrType Field = "fib.daddr.type" // RTN_*: unicast 1, local 2, broadcast 3, anycast 4, multicast 5, blackhole 6, unreachable 7, prohibit 8
	FIBSaddrType Field = "fib.saddr.type"
)

// CT state bits as nft's ct state key has them. The two at the bottom have names in the xtables dialect only.
const (
	StateInvalid     = 1
	StateEstablished = 2
	StateRelated     = 4
	StateNew         = 8
	StateUntracked   = 64
	StateSNAT        = 1 << 16 // xtables' virtual states; never set without an entry
	StateDNAT        = 1 << 17
)

// Operand is one field of a match, with the bitwise step in front of the comparison: (field & Mask) ^ Xor.
// Mask nil: the field as it is. Other ct keys than state are Fields "ct.KEY" or "ct.original.KEY".
type Operand struct {
	Field Field  `json:"field"`
	Mask  *Value `json:"mask,omitempty"`
	Xor   *Value `json:"xor,omitempty"`
}

// Match compares: true when the operand (or the concatenation of several) lies in one of the intervals In, or in the set
// Set of the same table. Invert negates. A concatenation always names a Set.
type Match struct {
	Fields []Operand  `json:"fields"`
	In     []Interval `json:"in,omitempty"`
	Set    string     `json:"set,omitempty"`
	Invert bool       `json:"invert,omitempty"`
}

// Ext is a match known by name only: an xtables match module that is not a plain comparison (limit, connmark, helper,
// recent, set ...), or an nft expression that no field describes. Args is its canonical text without the inversion. What
// it does to a packet without a conntrack entry is the evaluator's knowledge (packetpath), not the reader's.
type Ext struct {
	Name   string `json:"name"`
	Args   string `json:"args,omitempty"`
	Invert bool   `json:"invert,omitempty"`
}

// XtState is the xtables conntrack or state match. States are CT state bits (StateSNAT and StateDNAT included). HasState
// is false when the match has other keys only. Others names the other keys in the match (ctdir, ctstatus, ctorigdst ...):
// without an entry they are ignored when there is a state, and the match fails when there is none.
// Source: net/netfilter/xt_conntrack.c, conntrack_mt().
type XtState struct {
	HasState bool     `json:"hasState"`
	States   uint32   `json:"states,omitempty"`
	Invert   bool     `json:"invert,omitempty"`
	Others   []string `json:"others,omitempty"`
}

// VerdictKind is what a rule or policy decides.
type VerdictKind string

// The verdicts. Reject carries With; Queue may carry Bypass.
const (
	Accept   VerdictKind = "accept"
	Drop     VerdictKind = "drop"
	Reject   VerdictKind = "reject"
	Queue    VerdictKind = "queue"
	Return   VerdictKind = "return"
	Jump     VerdictKind = "jump"
	Goto     VerdictKind = "goto"
	Continue VerdictKind = "continue"
)

// Verdict ends a rule. With, for Reject: "tcp-reset", or the ICMP code's name as written ("icmp-port-unreachable").
type Verdict struct {
	Kind   VerdictKind `json:"kind"`
	Chain  string      `json:"chain,omitempty"`  // Jump, Goto
	With   string      `json:"with,omitempty"`   // Reject
	Queue  string      `json:"queue,omitempty"`  // Queue: the queue numbers as text
	Bypass bool        `json:"bypass,omitempty"` // Queue: accept when nobody listens
}

// VMap looks the operand up in a verdict map of the same table and carries out the verdict found; no element: continue.
type VMap struct {
	Fields []Operand `json:"fields"`
	Set    string    `json:"set"`
}

// Assign writes to the packet. Only Field Mark is of consequence here: mark = (From & And) ^ Xor, From being the packet's
// own mark when From is empty. From names another field ("ct.mark", which breaks the rule without an entry) or "" .
// Map, if set, names a map of the same table that the operand From is looked up in. A write to anything else than the
// packet mark (ct.mark, ct.label, ip.ttl ...) names its Field and is of no consequence to the verdict unless a later
// match reads that field.
type Assign struct {
	Field Field  `json:"field"`
	From  Field  `json:"from,omitempty"`
	And   Value  `json:"and"`
	Xor   Value  `json:"xor"`
	Map   string `json:"map,omitempty"`
}

// Stmt is a statement or target known by name: counter, log, notrack, masquerade, snat, dnat, redirect, netmap, tproxy,
// synproxy, tee/dup, fwd, checksum, classify, tcpmss, ct (helper, zone, timeout), flow (offload), queue-less NF targets ...
// Names are nft's, lower case; an xtables target without an nft name keeps its own in lower case. Args is canonical text.
type Stmt struct {
	Name string `json:"name"`
	Args string `json:"args,omitempty"`
}

func (Match) op() string   { return "match" }
func (Ext) op() string     { return "ext" }
func (XtState) op() string { return "xtstate" }
func (Verdict) op() string { return "verdict" }
func (VMap) op() string    { return "vmap" }
func (Assign) op() string  { return "assign" }
func (Stmt) op() string    { return "stmt" }

// Bits is a field's width: how many low bits of a Value it uses (128 for IPv6 addresses and left-aligned names).
func (f Field) Bits() int {
	switch f {
	case IIFName, OIFName, IIFKind, OIFKind, IP6Saddr, IP6Daddr:
		return 128
	case NFProto, L4Proto, PktType, TTL, DSCP, TOS, TCPFlags:
		return 8
	case EthProto, Sport, Dport, FragOff, TCPWin, IIFType, OIFType:
		return 16
	}
	return 32
}
