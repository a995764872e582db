package kernel

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// builtin lists the netfilter modules that are part of the kernel image. modules.builtin says it by name; where the release
// has no such file (a kernel without modules) the configuration says it by option.
func (r *reader) builtin(release string, config snapshot.Value[configured]) snapshot.Value[[]string] {
	listed, ok := parseInstalled(r, []string{globBuiltin}, release, r.known.builtin.parse(parseBuiltin))
	if ok {
		return listed
	}
	if c, ok := config.Get(); ok {
		return snapshot.Known(c.builtin)
	}
	why, hint := listed.Why()
	if why == "" {
		why = "neither modules.builtin nor a kernel configuration of the running release is on this node"
		hint = "make /lib/modules or /boot readable, or load the configs module"
	}
	r.miss("built-in modules", why, hint)
	return snapshot.Unreadable[[]string](why, hint)
}

// parseBuiltin reads the netfilter modules out of modules.builtin (Documentation/kbuild/kbuild.rst: one path a line, such as
// "kernel/net/netfilter/nf_conntrack.ko"), sorted.
func parseBuiltin(b []byte) ([]string, error) {
	names := []string{}
	number := 0
	for line := range bytes.Lines(b) {
		number++
		p := string(bytes.TrimRight(line, "\r\n"))
		if p == "" {
			continue
		}
		name, ok := strings.CutSuffix(path.Base(p), ".ko")
		if !ok || !strings.HasPrefix(p, "kernel/") || !moduleName([]byte(name)) {
			return nil, fmt.Errorf("line %d is no path of a module", number)
		}
		if strings.Contains(p, "/netfilter/") || name == "br_netfilter" {
			names = append(names, moduleKey(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// moduleKey writes a module's name as the kernel does: dashes of the file name are underscores.
func moduleKey(name string) string { return strings.ReplaceAll(name, "-", "_") }

// builtinByConfig names the modules of the options that are "y". Only options that stand for one module each are known;
// those that are mere switches (CONFIG_NF_CONNTRACK_MARK) name nothing.
func builtinByConfig(config map[string]string) []string {
	names := []string{}
	for option, module := range moduleOptions() {
		if config[option] == "y" {
			names = append(names, module)
		}
	}
	// Since 6.17 CONFIG_IP_NF_IPTABLES no longer builds ip_tables by itself.
	for _, fam := range [...]struct{ option, module string }{{"CONFIG_IP_NF_IPTABLES", "ip_tables"}, {"CONFIG_IP6_NF_IPTABLES", "ip6_tables"}} {
		legacy, split := config[fam.option+"_LEGACY"]
		if config[fam.option] == "y" && (!split || legacy == "y") {
			names = append(names, fam.module)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// moduleOptions maps options to modules, from the Makefiles of net/netfilter, net/ipv4/netfilter, net/ipv6/netfilter and
// net/bridge (Linux 6.18).
var moduleOptions = sync.OnceValue(func() map[string]string {
	m := map[string]string{
		"CONFIG_NF_CONNTRACK": "nf_conntrack", "CONFIG_NF_NAT": "nf_nat", "CONFIG_NF_TABLES": "nf_tables",
		"CONFIG_NF_CT_NETLINK": "nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK_TIMEOUT": "nfnetlink_cttimeout",
		"CONFIG_NF_CT_NETLINK_HELPER": "nfnetlink_cthelper", "CONFIG_NF_DEFRAG_IPV4": "nf_defrag_ipv4",
		"CONFIG_NF_DEFRAG_IPV6": "nf_defrag_ipv6", "CONFIG_NF_LOG_SYSLOG": "nf_log_syslog", "CONFIG_NF_FLOW_TABLE": "nf_flow_table",
		"CONFIG_NF_FLOW_TABLE_INET": "nf_flow_table_inet", "CONFIG_NETFILTER_NETLINK": "nfnetlink",
		"CONFIG_NETFILTER_NETLINK_QUEUE": "nfnetlink_queue", "CONFIG_NETFILTER_NETLINK_LOG": "nfnetlink_log",
		"CONFIG_NETFILTER_NETLINK_HOOK": "nfnetlink_hook", "CONFIG_NETFILTER_SYNPROXY": "nf_synproxy_core",
		"CONFIG_NETFILTER_CONNCOUNT": "nf_conncount", "CONFIG_NETFILTER_XTABLES": "x_tables", "CONFIG_NETFILTER_XT_NAT": "xt_nat",
		"CONFIG_BRIDGE_NETFILTER": "br_netfilter", "CONFIG_IP_VS": "ip_vs",
		"CONFIG_IP_NF_TARGET_REJECT": "ipt_REJECT", "CONFIG_IP6_NF_TARGET_REJECT": "ip6t_REJECT",
	}
	for _, table := range [...]string{"filter", "mangle", "nat", "raw", "security"} {
		m["CONFIG_IP_NF_"+strings.ToUpper(table)] = "iptable_" + table
		m["CONFIG_IP6_NF_"+strings.ToUpper(table)] = "ip6table_" + table
	}
	for _, match := range [...]string{"conntrack", "state", "comment", "mark", "multiport", "addrtype", "limit", "statistic", "recent", "physdev"} {
		m["CONFIG_NETFILTER_XT_MATCH_"+strings.ToUpper(match)] = "xt_" + match
	}
	for _, target := range [...]string{"CT", "MASQUERADE", "REDIRECT", "LOG", "NFQUEUE", "NFLOG", "TPROXY", "TCPMSS"} {
		m["CONFIG_NETFILTER_XT_TARGET_"+target] = "xt_" + target
	}
	for _, expr := range [...]string{"ct", "masq", "nat", "redir", "reject", "log", "limit", "queue", "compat", "fib", "numgen", "flow_offload"} {
		m["CONFIG_NFT_"+strings.ToUpper(expr)] = "nft_" + expr
	}
	return m
})
