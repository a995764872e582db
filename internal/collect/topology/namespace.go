package topology

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// insideKeys are the kernel parameters read in every namespace, by their file.
// Source: Documentation/networking/nf_conntrack-sysctl.rst, Linux 6.18.
func insideKeys() map[string]string {
	return map[string]string{
		"/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal": "net.netfilter.nf_conntrack_tcp_be_liberal",
		"/proc/sys/net/netfilter/nf_conntrack_count":          "net.netfilter.nf_conntrack_count",
	}
}

func namespacesNeed() host.Need {
	need := host.Need{Kind: host.Namespaces}
	for file := range insideKeys() {
		need.Args = append(need.Args, file)
	}
	slices.Sort(need.Args)
	return need
}

// namespaces lists the namespaces, ordered by their number, and says why the list may be incomplete. What was found is
// true all the same; finding nothing proves nothing then, and is no list.
func (r *reader) namespaces(links []snapshot.Link) (list snapshot.Value[[]snapshot.Namespace], incomplete string) {
	const what = "network namespaces"
	answer := r.evidence.Answer(namespacesNeed())
	found, err := host.ReadNamespaces(answer)
	if err != nil {
		_, hint := collect.Trouble(answer)
		list, incomplete = lack[[]snapshot.Namespace](r, what, err.Error(), hint), err.Error()
		if len(found) == 0 {
			return list, incomplete
		}
	}
	all := make([]snapshot.Namespace, 0, len(found))
	leading := byNetns(links)
	for _, ns := range found {
		all = append(all, r.namespace(ns, leading))
	}
	return snapshot.Known(all), incomplete
}

func (r *reader) namespace(ns host.NamespaceEvidence, leading map[int32][]uint32) snapshot.Namespace {
	c := parseCGroup(ns.CGroup)
	out := snapshot.Namespace{
		ID: ns.Inode, Names: ns.Names, PIDs: ns.PIDs, Processes: ns.Processes, Command: ns.Command,
		CGroup: c.cgroup, Container: c.id, Runtime: c.runtime,
		Sysctl: map[string]snapshot.Value[string]{},
	}
	if ns.NetnsID != nil {
		out.Links = leading[*ns.NetnsID]
	}
	if out.PIDs == nil {
		out.PIDs = []int{} // a namespace kept by a name alone
	}
	what := fmt.Sprintf("network namespace %d", ns.Inode)
	if ns.Command != "" {
		what += fmt.Sprintf(" of %q", ns.Command)
	}
	hint := ""
	if ns.Denied {
		hint = "run as root"
	}
	if ns.Err != "" {
		r.missing = append(r.missing, snapshot.Missing{What: what, Why: ns.Err, Hint: hint})
	}
	for file, key := range insideKeys() {
		if ns.Err != "" {
			out.Sysctl[key] = snapshot.Unreadable[string](ns.Err, hint)
			continue
		}
		out.Sysctl[key] = parameter(ns.Files[file])
	}
	addresses, err := insideAddresses(ns.Addresses)
	if err != nil && ns.Err == "" {
		r.missing = append(r.missing, snapshot.Missing{What: "addresses in " + what, Why: err.Error()})
	}
	out.Addresses = addresses
	return out
}

// parameter is a kernel parameter's value. A parameter that is not there is normal: conntrack may not be loaded.
func parameter(a *host.Answer) snapshot.Value[string] {
	if a == nil {
		return snapshot.Unreadable[string]("not collected", "")
	}
	v, _ := collect.Parse(a, "", func(b []byte) (string, error) { return string(bytes.TrimSpace(b)), nil })
	return v
}

// byNetns are our ends of the veth pairs that lead to other namespaces, by the id of the namespace.
func byNetns(links []snapshot.Link) map[int32][]uint32 {
	out := map[int32][]uint32{}
	for _, l := range links {
		if l.PeerNS != nil && l.Peer != 0 {
			out[*l.PeerNS] = append(out[*l.PeerNS], l.Index)
		}
	}
	return out
}

// insideAddresses are the addresses in a namespace that others can reach, with their prefix lengths, IPv4 first.
func insideAddresses(a *host.Answer) ([]string, error) {
	if a == nil {
		return nil, nil
	}
	if why, _ := fault(a); why != "" {
		return nil, errors.New(why)
	}
	d, err := parseDump(a.Data)
	if err != nil {
		return nil, err
	}
	all, err := parseAll(d, unix.RTM_NEWADDR, parseAddress)
	if err != nil {
		return nil, err
	}
	var prefixes []netip.Prefix
	for _, address := range all {
		if p, err := netip.ParsePrefix(address.Prefix); err == nil && address.Scope == "global" {
			prefixes = append(prefixes, p)
		}
	}
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var out []string
	for _, p := range prefixes {
		out = append(out, p.String())
	}
	return out, nil
}
