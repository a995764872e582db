# METADATA
# description: |
#   Nodes for the tests of the controls: facts as internal/facts writes them. A test changes one thing with patch, which merges
#   objects and replaces lists.
package fixture

patch(base, change) := object.union(base, change)

outcomes(results) := {r.subject: r.outcome | some r in results}

severities(results) := {r.subject: r.severity | some r in results}

only(results) := r if {
	count(results) == 1
	some r in results
}

known(v) := {"known": true, "value": v}

absent(v) := {"known": true, "absent": true, "value": v}

unread := {"known": false, "why": "permission denied", "hint": "run as root"}

rule(chain, number, text) := {
	"backend": "iptables-nft",
	"family": "ip",
	"table": "filter",
	"chain": chain,
	"number": number,
	"text": text,
}

rule6(chain, number, text) := object.union(rule(chain, number, text), {"family": "ip6"})

nft(chain, number, text) := {
	"backend": "nftables",
	"family": "inet",
	"table": "firewall",
	"chain": chain,
	"number": number,
	"handle": number + 10,
	"text": text,
}

accept := rule("INPUT", 1, "-i eth0 -j ACCEPT")

input_drop := rule("INPUT", 2, "-m conntrack --ctstate INVALID -j DROP")

forward_drop := rule("FORWARD", 1, "-m conntrack --ctstate INVALID -j DROP")

drop(ref, hooks) := {
	"rule": ref,
	"hooks": hooks,
	"priority": 0,
	"action": "drop",
	"inInterfaces": [],
	"chainType": "filter",
	"catastrophic": false,
	"families": ["ip"],
}

masquerade := {
	"rule": object.union(rule("POSTROUTING", 1, "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"), {"table": "nat"}),
	"action": "masquerade",
	"sources": ["172.17.0.0/16"],
	"outInterface": "! docker0",
	"coversContainers": true,
	"egress": true,
	"own": true,
}

exposure(question, f, interface) := {
	"question": question,
	"family": f,
	"interface": interface,
	"verdict": "not-dropped",
	"reset": "yes",
	"protected": false,
	"exposed": true,
	"implicit": false,
	"decidedBy": null,
	"dependsOn": [],
	"witness": "in eth0 203.0.113.9:443 > 198.51.100.1:31000 ack",
	"shadowed": [],
}

exposed := exposure("A", "ip", "eth0")

protected := patch(exposed, {
	"verdict": "dropped",
	"reset": "no",
	"protected": true,
	"exposed": false,
	"decidedBy": input_drop,
})

undecided := patch(exposed, {
	"verdict": "depends",
	"reset": "depends",
	"exposed": false,
	"dependsOn": ["set blocklist (content not read)"],
})

shadow(ref, reason) := {"rule": ref, "reason": reason}

# A node with Docker, one uplink, IPv4 only, and nothing that drops INVALID packets, on a kernel before 6.1.
docker := {
	"host": "node1",
	"kernel": {
		"release": known("5.10.0-28-amd64"),
		"vendor": "debian",
		"fix": "none",
		"fixWhy": "Linux 5.10 answers every stale segment with a reset",
		"measured": false,
		"conntrackAtBoot": "builtin",
		"uptimeSeconds": known(864000),
	},
	"liberal": known(0),
	"sysctl": {
		"net.netfilter.nf_conntrack_tcp_be_liberal": known("0"),
		"net.netfilter.nf_conntrack_tcp_loose": known("1"),
		"net.netfilter.nf_conntrack_tcp_timeout_established": known("86400"),
		"net.netfilter.nf_conntrack_tcp_timeout_close_wait": known("60"),
		"net.netfilter.nf_conntrack_tcp_ignore_invalid_rst": known("0"),
	},
	"forwarding": {"ip": known(true), "ip6": known(false)},
	"conntrackUsed": known(true),
	"snat": {"ip": known([masquerade]), "ip6": known([])},
	"dnat": {"ip": known([]), "ip6": known([])},
	"services": {"ip": known(false), "ip6": known(false)},
	"serviceProxy": known("none"),
	"exposure": [exposed],
	"drops": [],
	"containers": [],
	"uplinks": [{"name": "eth0", "families": ["ip"]}],
	"conntrack": {
		"count": known(100),
		"max": known(262144),
		"buckets": known(65536),
		"sampled": false,
		"intervalSeconds": 0,
		"deltas": known({"invalid": 0, "insert_failed": 0, "drop": 0, "early_drop": 0, "chaintoolong": 0, "Tcp.OutRsts": 0}),
	},
	"persisted": {"known": true, "effective": {}, "all": []},
	"missing": [],
}

# The same with a drop in INPUT.
guarded := patch(docker, {"exposure": [protected], "drops": [drop(input_drop, ["input"])]})

liberal := patch(docker, {"liberal": known(1)})

# No container network: nothing is translated.
bare := patch(docker, {"snat": {"ip": known([])}})

# The rules could not be read.
blind := patch(docker, {
	"snat": {"ip": unread, "ip6": unread},
	"dnat": {"ip": unread, "ip6": unread},
	"services": {"ip": unread, "ip6": unread},
	"serviceProxy": unread,
	"conntrackUsed": unread,
	"exposure": [patch(undecided, {"dependsOn": ["ip filter: permission denied"]})],
	"missing": [{"collector": "nftables", "what": "ruleset", "why": "permission denied", "hint": "run as root"}],
})

# A kube-proxy node whose FORWARD drops INVALID packets; INPUT does not.
kubernetes := patch(docker, {
	"serviceProxy": known("kube-proxy-iptables"),
	"services": {"ip": known(true), "ip6": known(false)},
	"dnat": {"ip": known([{
		"rule": object.union(rule("KUBE-SEP-AAAA", 2, "-p tcp -j DNAT --to-destination 10.244.1.2:80"), {"table": "nat"}),
		"action": "dnat",
		"sources": ["0.0.0.0/0"],
		"to": "10.244.1.2:80",
		"coversContainers": true,
	}])},
	"exposure": [
		patch(exposed, {"shadowed": [shadow(forward_drop, "other-hook")]}),
		patch(protected, {"question": "B", "interface": "cni0", "decidedBy": forward_drop}),
	],
	"drops": [drop(forward_drop, ["forward"])],
})

# The same without the drop.
service_exposed := patch(kubernetes, {
	"exposure": [exposed, exposure("B", "ip", "cni0"), exposure("B", "ip", "veth1")],
	"drops": [],
})
