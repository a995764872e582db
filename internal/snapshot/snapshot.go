// Package snapshot is the document: what was seen on a node, by which reader, and what could not be read and why.
// It owns the types; collect owns the readers, facts the questions. A document written by any released version decodes for
// ever: testdata keeps one of each.
package snapshot

import (
	"time"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Version is the schema version written by this build.
const Version = 1

// Document is one node's snapshot.
type Document struct {
	Version    int         `json:"version" jsonschema:"minimum=1,maximum=1"`
	Tool       string      `json:"tool"`       // "ctaudit 0.1.0"
	Host       string      `json:"host"`       // the name it is reported under
	Taken      time.Time   `json:"taken"`      // UTC
	Collectors []Collector `json:"collectors"` // one for each collector of the registry, in its order
	Kernel     Kernel      `json:"kernel"`
	Sysctl     Sysctl      `json:"sysctl"`
	IPTables   IPTables    `json:"iptables"`
	NFTables   NFTables    `json:"nftables"`
	Conntrack  Conntrack   `json:"conntrack"`
	Topology   Topology    `json:"topology"`
}

// Status says how a collector fared.
type Status string

// OK: all read. Partial: some of it. Unreadable: nothing. Absent: read, and there is nothing of the kind on this node.
const (
	StatusOK         Status = "ok"
	StatusPartial    Status = "partial"
	StatusUnreadable Status = "unreadable"
	StatusAbsent     Status = "absent"
)

// Collector is one collector's account of itself.
type Collector struct {
	Name    string    `json:"name"`
	Status  Status    `json:"status"`
	Missing []Missing `json:"missing,omitempty"`
}

// Missing is something that could not be read: what, why, and how to provide it.
type Missing struct {
	What string `json:"what"`           // "iptables-legacy filter (ip)"
	Why  string `json:"why"`            // "permission denied"
	Hint string `json:"hint,omitempty"` // "run as root, or grant CAP_NET_ADMIN"
}

// Kernel is what runs the node.
type Kernel struct {
	Release       Value[string]            `json:"release"` // uname -r
	Version       Value[string]            `json:"version"` // uname -v
	Vendor        string                   `json:"vendor"`  // mainline, debian, ubuntu, el8, el9, el10, sle, amzn, alpine, openwrt, other: from release and os-release
	OSRelease     map[string]string        `json:"osRelease,omitempty"`
	Modules       Value[[]string]          `json:"modules"` // loaded, sorted
	Builtin       Value[[]string]          `json:"builtin"` // netfilter modules built in, from modules.builtin or the kernel configuration
	Config        Value[map[string]string] `json:"config"`  // CONFIG_NF_*, CONFIG_NETFILTER_*: y, m, n or a number
	CPUs          Value[int]               `json:"cpus"`
	MemoryKiB     Value[uint64]            `json:"memoryKiB"`
	UptimeSeconds Value[float64]           `json:"uptimeSeconds"`
	// Upstream is the upstream release that the kernel is made from, "5.15.131", where that can be told: from Debian's version
	// text, Ubuntu's version_signature, or a release that is upstream's own. Absent where the vendor does not say.
	Upstream Value[string] `json:"upstream"`
}

// Sysctl is what the kernel says and what files would make it say at the next boot.
type Sysctl struct {
	// Live holds the keys by their dotted name; a dot in an interface's name is a slash, as sysctl.d writes it.
	Live map[string]Value[string] `json:"live"`
	// Persisted are the assignments in sysctl.d and /etc/sysctl.conf to the keys we read, in the order in which systemd
	// applies them: the last one wins.
	Persisted Value[[]Assignment] `json:"persisted"`
	// ModulesLoad are the modules named in modules-load.d and /etc/modules, with the file.
	ModulesLoad Value[[]ModuleLoad] `json:"modulesLoad"`
	// BootReader says who applies the files at boot: "systemd" (systemd-sysctl: sysctl.d only) or "procps" (sysctl --system and
	// the init scripts like it: sysctl.d, then /etc/sysctl.conf). Known from the name of process 1.
	BootReader Value[string] `json:"bootReader"`
	// Contained is the name of process 1 where that is no init and the kernel's threads are not to be seen: a container was read,
	// and not the node around it. Absent: nothing hints at that.
	Contained Value[string] `json:"contained,omitzero"`
	// ModuleOptions are the options set for nf_conntrack in modprobe.d and on the kernel command line.
	ModuleOptions Value[[]ModuleOption] `json:"moduleOptions"`
	// Mentions are lines in boot scripts and unit files that name be_liberal; nobody says that they are ever run.
	Mentions Value[[]Mention] `json:"mentions"`
}

// Assignment is one line of a sysctl.d file.
type Assignment struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Ignore bool   `json:"ignore,omitempty"` // written with "-" in front: failure is ignored
	// Overridden: the line is not in force. A file of the same name in a stronger directory masks this file, or a later line
	// sets the key, or an earlier one sets it to the same value, or nothing that runs at boot reads the file (Unread).
	Overridden bool `json:"overridden,omitempty"`
	// Exclude: the line is "-key" without a value: it takes the key out of the reach of patterns ("net.ipv4.conf.*.rp_filter", a
	// Key as well), and sets nothing. [Sysctl.AtBoot] weighs them all for one key.
	Exclude bool `json:"exclude,omitempty"`
	// Unread: nothing that runs at boot on this node reads the file (/etc/sysctl.conf under systemd, without a link to it).
	Unread bool `json:"unread,omitempty"`
}

// Mention is a line of a script or a unit that names something we look for; Text is at most 200 bytes of it.
type Mention struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

// ModuleOption is one option of a module, as modprobe.d or the kernel command line sets it.
type ModuleOption struct {
	Module string `json:"module"`
	Option string `json:"option"` // "hashsize=131072"
	File   string `json:"file"`
	Line   int    `json:"line"`
}

// ModuleLoad is one module named for loading at boot.
type ModuleLoad struct {
	Module string `json:"module"`
	File   string `json:"file"`
}

// IPTables is what the iptables tools show: legacy tables, and iptables-nft's through its own save.
type IPTables struct {
	Tools  []IPTablesTool     `json:"tools,omitempty"`
	Tables []*netfilter.Table `json:"tables"` // Backend Legacy and IPTablesNFT; rules carry Text, not Ops
	// LegacyLoaded lists the legacy tables that the kernel has registered (ip_tables_names), by family.
	LegacyLoaded map[netfilter.Family]Value[[]string] `json:"legacyLoaded"`
	// NFTRead says that the iptables-nft tables of that family were read by the tool: nftables' copies then step back.
	// That holds table by table: one that is not among Tables, or is Incomplete there, was not read by the tool.
	NFTRead map[netfilter.Family]bool `json:"nftRead"`
}

// IPTablesTool is an iptables binary found on the node.
type IPTablesTool struct {
	Path    string `json:"path"`
	Mode    string `json:"mode"`    // legacy or nf_tables
	Version string `json:"version"` // "1.8.9"
}

// NFTables is what nf_tables holds, read over netlink; iptables-nft's tables included (Backend IPTablesNFT).
type NFTables struct {
	Tables     []*netfilter.Table `json:"tables"`
	Generation Value[uint32]      `json:"generation"`
	// HookOrder is the kernel's own registration order by family and hook (NFNL_SUBSYS_HOOK, 5.14), when it can say.
	HookOrder Value[[]HookEntry] `json:"hookOrder"`
}

// HookEntry is one function registered at a hook, in running order.
type HookEntry struct {
	Family      netfilter.Family `json:"family"`
	Hook        netfilter.Hook   `json:"hook"`
	Device      string           `json:"device,omitempty"`
	Priority    int32            `json:"priority"`
	Function    string           `json:"function"`
	Module      string           `json:"module,omitempty"`
	Table       string           `json:"table,omitempty"` // nf_tables chains
	Chain       string           `json:"chain,omitempty"`
	TableFamily netfilter.Family `json:"tableFamily,omitempty"`
}

// Conntrack is the table's pressure and the TCP counters.
type Conntrack struct {
	Count   Value[uint64] `json:"count"`
	Max     Value[uint64] `json:"max"`
	Buckets Value[uint64] `json:"buckets"`
	// First and Second are two readings, Interval seconds apart (0: one reading only, and Second is nil).
	First    Counters  `json:"first"`
	Second   *Counters `json:"second,omitempty"`
	Interval float64   `json:"intervalSeconds,omitempty"`
}

// Counters is one reading. Stats are summed over CPUs, by the kernel's own names: found, invalid, insert, insert_failed,
// drop, early_drop, search_restart, clash_resolve, chaintoolong. PerCPU keeps them apart. TCP holds the counters of
// /proc/net/snmp (Tcp: OutRsts, EstabResets, InErrs ...) and netstat (TcpExt: ...) as "Tcp.OutRsts".
type Counters struct {
	Stats   Value[map[string]uint64] `json:"stats"`
	PerCPU  []map[string]uint64      `json:"perCPU,omitempty"`
	Source  string                   `json:"source,omitempty"` // netlink or proc
	TCP     Value[map[string]uint64] `json:"tcp"`
	Entries Value[uint64]            `json:"entries"` // conntrack entries at this reading
}

// Topology is links, addresses, routes and container namespaces.
type Topology struct {
	Links      Value[[]Link]       `json:"links"`
	Addresses  Value[[]Address]    `json:"addresses"`
	Routes     Value[[]Route]      `json:"routes"`
	Rules      Value[[]PolicyRule] `json:"policyRules"`
	Namespaces Value[[]Namespace]  `json:"namespaces"`
	// NamespacesIncomplete says why there may be namespaces that Namespaces does not list ("" when it lists all).
	NamespacesIncomplete string `json:"namespacesIncomplete,omitempty"`
}

// Link is a network interface.
type Link struct {
	Index      uint32   `json:"index"`
	Name       string   `json:"name"`
	Kind       string   `json:"kind,omitempty"` // veth, bridge, vlan, vxlan, wireguard ...; empty: hardware or loopback
	Type       uint16   `json:"type"`           // ARPHRD_*
	Group      uint32   `json:"group,omitempty"`
	Master     uint32   `json:"master,omitempty"` // index
	Peer       uint32   `json:"peer,omitempty"`   // veth: index of the other end, in the namespace PeerNS (-1 or absent: this one)
	PeerNS     *int32   `json:"peerNetnsID,omitempty"`
	Up         bool     `json:"up"`
	Loopback   bool     `json:"loopback,omitempty"`
	XDP        uint32   `json:"xdp,omitempty"`        // program id; 0: none
	TCPrograms []string `json:"tcPrograms,omitempty"` // clsact or ingress qdiscs with filters, by description
}

// Address is an address of a link.
type Address struct {
	Link      uint32 `json:"link"`
	Prefix    string `json:"prefix"` // "192.0.2.1/24"
	Broadcast string `json:"broadcast,omitempty"`
	Scope     string `json:"scope"` // global, link, host
}

// Route is a route of any table.
type Route struct {
	Family  netfilter.Family `json:"family"`
	Table   uint32           `json:"table"` // main 254, local 255
	Type    string           `json:"type"`  // unicast, local, broadcast, blackhole, unreachable, prohibit, throw, nat, anycast, multicast
	Dst     string           `json:"dst"`   // "0.0.0.0/0" for the default
	Gateway string           `json:"gateway,omitempty"`
	Source  string           `json:"source,omitempty"` // preferred source
	Metric  uint32           `json:"metric,omitempty"`
	Links   []uint32         `json:"links,omitempty"` // one, or the next hops of a multipath route
}

// PolicyRule is one entry of "ip rule".
type PolicyRule struct {
	Family   netfilter.Family `json:"family"`
	Priority uint32           `json:"priority"`
	Table    uint32           `json:"table"`
	Src      string           `json:"src,omitempty"`
	Dst      string           `json:"dst,omitempty"`
	Mark     string           `json:"mark,omitempty"` // "0x1/0xff"
	In       string           `json:"in,omitempty"`
	Invert   bool             `json:"invert,omitempty"`
	Action   string           `json:"action"` // lookup, blackhole, unreachable, prohibit, goto, nop
}

// Namespace is a network namespace other than the node's own, found through the processes that live in it or the
// file that keeps it alive.
type Namespace struct {
	ID        uint64                   `json:"id"`              // inode of its nsfs file: "net:[ID]"
	Names     []string                 `json:"names,omitempty"` // files that keep it alive, in /run/netns or /run/docker/netns
	PIDs      []int                    `json:"pids"`            // at most 8, the lowest
	Processes int                      `json:"processes"`
	Command   string                   `json:"command"` // comm of the lowest pid
	CGroup    string                   `json:"cgroup,omitempty"`
	Container string                   `json:"container,omitempty"` // container id, from the cgroup path, 12 hex digits
	Runtime   string                   `json:"runtime,omitempty"`   // docker, containerd, crio, podman, lxc; empty: unknown
	Sysctl    map[string]Value[string] `json:"sysctl"`              // be_liberal and conntrack count inside it
	Links     []uint32                 `json:"links,omitempty"`     // host-side indexes of veths that lead there
	Addresses []string                 `json:"addresses,omitempty"`
}
