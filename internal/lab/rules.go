package lab

import "github.com/ctaudit/ctaudit/internal/netfilter"

// Load puts a ruleset into the namespace in one transaction of the backend's own tool: an iptables-restore document for
// the iptables backends (family [netfilter.IP] or [netfilter.IP6]), an nft script for native nf_tables (family ignored).
// Tables that the document does not name stay as they are.
func (n *Netns) Load(backend netfilter.Backend, family netfilter.Family, document string) error {
	var argv []string
	switch {
	case backend == netfilter.NFTables:
		argv = []string{"nft", "-f", "-"}
	case backend == netfilter.Legacy:
		argv = []string{legacyRestore(family), "-w", "10"}
	case family == netfilter.IP6:
		argv = []string{"ip6tables-nft-restore"}
	default:
		argv = []string{"iptables-nft-restore"}
	}
	_, err := n.Pipe(document, argv...)
	return err
}

func legacyRestore(family netfilter.Family) string {
	if family == netfilter.IP6 {
		return "ip6tables-legacy-restore"
	}
	return "iptables-legacy-restore"
}
